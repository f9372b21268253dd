"""Felix's rules of the nat table, and the ipsets that they look into.

Source: Calico felix/rules/nat.go, static.go (StaticNATPostroutingChains), felix/ipsets (names),
felix/iptables/rules (RuleHashes): the comment of a rule is a hash of it, of its chain's name and of all rules before.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence

from k8snetlab.api.lab import IPPool
from k8snetlab.dataplane.names import CALI_CHAIN
from k8snetlab.dataplane.rules import ChainKey, Hook, Rules, RuleSet
from k8snetlab.dataplane.sets import IPSet, halves
from k8snetlab.render.blocks import Holder

MASQ_POOLS, ALL_POOLS = "cali40masq-ipam-pools", "cali40all-ipam-pools"
_NAT = {
    "cali-PREROUTING": ("--jump cali-fip-dnat",),
    "cali-OUTPUT": ("--jump cali-fip-dnat",),
    "cali-fip-dnat": (),
    "cali-fip-snat": (),
    "cali-nat-outgoing": (
        f"-m set --match-set {MASQ_POOLS} src -m set ! --match-set {ALL_POOLS} dst --jump MASQUERADE --random-fully",
    ),
}
_POSTROUTING = ("--jump cali-fip-snat", "--jump cali-nat-outgoing")


def sets(pools: Sequence[IPPool], nodes: Iterable[Holder]) -> tuple[IPSet, ...]:
    """The addresses that are masqueraded outside of all pools, and those pools."""
    return (
        IPSet(MASQ_POOLS, "hash:net", "ipv4", frozenset(x for p in pools if p.natOutgoing for x in halves(p.cidr))),
        IPSet(ALL_POOLS, "hash:net", "ipv4", frozenset(x for p in pools for x in halves(p.cidr))),
    )


def nat(tunnels: Iterable[str]) -> RuleSet:
    """`tunnels` are the node's devices. What it sends by one from another address would not come back."""
    through = (
        f"--out-interface {device} -m addrtype ! --src-type LOCAL --limit-iface-out "
        "-m addrtype --src-type LOCAL --jump MASQUERADE --random-fully"
        for device in tunnels
    )
    chains = {**_NAT, "cali-POSTROUTING": (*_POSTROUTING, *through)}
    return RuleSet(
        "ipv4",
        {ChainKey("nat", name): hashed(name, fragments) for name, fragments in chains.items()},
        (CALI_CHAIN,),
        _HOOKS,
    )


def hashed(chain: str, fragments: Iterable[str]) -> Rules:
    """Rules of a chain, each with its hash as its comment; `fragments` are in the words that Felix writes."""
    before = hashlib.sha224(chain.encode()).digest()
    rules = []
    for fragment in fragments:
        before = hashlib.sha224(before + f"-A {chain} HASH {fragment}".encode()).digest()
        name = urlsafe_b64encode(before).decode()[:16]
        rules.append(_saved(fragment, f'-m comment --comment "cali:{name}"'))
    return tuple(rules)


def _saved(fragment: str, comment: str) -> str:
    """As iptables-save prints it: a device before all matches."""
    words = fragment.split()
    leading = ["-o", *words[1:2]] if words[0] == "--out-interface" else []
    rest = ["-j" if word == "--jump" else word for word in words[len(leading) :]]
    return " ".join([*leading, comment, *rest])


def _hooks() -> tuple[Hook, ...]:
    """Put first, as Felix does (ChainInsertMode)."""
    return tuple(
        Hook("nat", chain, hashed(chain, (f"--jump {CALI_CHAIN}{chain}",))[0])
        for chain in ("PREROUTING", "OUTPUT", "POSTROUTING")
    )


_HOOKS = _hooks()
