"""Felix's rules of the nat table, and the ipsets that they look into.

Source: Calico felix/rules/nat.go, static.go (StaticNATPostroutingChains), felix/ipsets (names).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from k8snetlab.api.lab import IPPool
from k8snetlab.dataplane.names import CALI_CHAIN
from k8snetlab.dataplane.rules import ChainKey, Hook, RuleSet
from k8snetlab.dataplane.sets import IPSet, halves
from k8snetlab.render.blocks import Holder
from k8snetlab.render.felix.hashed import hashed

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


def nat(tunnels: Iterable[str], *, masquerades: bool) -> RuleSet:
    """`tunnels` are the node's devices. What it sends by one from another address would not come back. `masquerades`:
    there are pools with natOutgoing."""
    through = (
        f"--out-interface {device} -m addrtype ! --src-type LOCAL --limit-iface-out "
        "-m addrtype --src-type LOCAL --jump MASQUERADE --random-fully"
        for device in tunnels
    )
    chains = {**_NAT, "cali-POSTROUTING": (*_POSTROUTING, *through)}
    if not masquerades:
        chains["cali-nat-outgoing"] = ()
    return RuleSet(
        "ipv4",
        {ChainKey("nat", name): hashed(name, fragments) for name, fragments in chains.items()},
        (CALI_CHAIN,),
        _HOOKS,
    )


def _hooks() -> tuple[Hook, ...]:
    """Put first, as Felix does (ChainInsertMode)."""
    return tuple(
        Hook("nat", chain, hashed(chain, (f"--jump {CALI_CHAIN}{chain}",))[0])
        for chain in ("PREROUTING", "OUTPUT", "POSTROUTING")
    )


_HOOKS = _hooks()
