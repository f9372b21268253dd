"""The rules around the Services: the fixed chains, and the jumps to them from the built-in chains."""

from __future__ import annotations

from k8snetlab.dataplane.names import KUBE_FIREWALL, KUBE_FORWARD, KUBE_MARK_MASQ, KUBE_POSTROUTING, KUBE_PROXY_CANARY
from k8snetlab.dataplane.rules import ChainKey, Hook, Rules
from k8snetlab.render.proxy.service import (
    DISPATCH,
    FIREWALL,
    HEALTH_CHECKS,
    NODE_PORTS,
    REFUSE_CLUSTER,
    REFUSE_EXTERNAL,
)
from k8snetlab.render.proxy.settings import INVALID_DROPPED, LOOPBACK, Settings

POSTROUTING = ChainKey("nat", KUBE_POSTROUTING)
MARK_MASQ = ChainKey("nat", KUBE_MARK_MASQ)
FORWARD = ChainKey("filter", KUBE_FORWARD)
MARTIANS = ChainKey("filter", KUBE_FIREWALL)
CANARY = KUBE_PROXY_CANARY

LAST = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'


def fixed_chains(settings: Settings) -> dict[ChainKey, Rules]:
    """The chains that hold no Service, in the order in which they can be written."""
    mark = f"{settings.mark}/{settings.mark}"
    invalid = "" if not settings.counters else f" -m nfacct --nfacct-name {INVALID_DROPPED}"
    forward = [
        f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {mark} -j ACCEPT',
        '-m comment --comment "kubernetes forwarding conntrack rule"'
        " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ]
    if not settings.tcp_be_liberal:
        forward.insert(0, f"-m conntrack --ctstate INVALID{invalid} -j DROP")
    # route_localnet, which makes NodePorts answer on localhost, would let neighbours reach the node's own 127.0.0.1.
    martians = (
        '-m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8'
        " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    )
    return {
        MARK_MASQ: (f"-j MARK --or-mark {settings.mark}",),
        POSTROUTING: (
            f"-m mark ! --mark {mark} -j RETURN",
            f"-j MARK --xor-mark {settings.mark}",
            '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
        ),
        FORWARD: tuple(forward),
        MARTIANS: martians if settings.localhost_node_ports else (),
        **{ChainKey(table, CANARY): () for table in ("mangle", "nat", "filter")},
    }


def last_rows(settings: Settings) -> dict[ChainKey, Rules]:
    """What ends a shared chain, after all Services: local destinations go on to the NodePorts."""
    addresses = settings.node_port_addresses
    if addresses is None:
        loopback = ""
        if settings.family == "ipv6":
            loopback = " ! -d ::1/128"
        elif not settings.localhost_node_ports:
            loopback = " ! -d 127.0.0.0/8"
        return {DISPATCH: (f"{LAST} -m addrtype --dst-type LOCAL{loopback} -j {NODE_PORTS.chain}",)}
    usable = [a for a in addresses if a != LOOPBACK[settings.family] or settings.localhost_node_ports]
    return {DISPATCH: tuple(f"{LAST} -d {address} -j {NODE_PORTS.chain}" for address in usable)}


def jump(chain: str, to: ChainKey, comment: str, new: bool = False) -> Hook:
    """Into `to` from the built-in `chain`; `new` for the first packets of connections only."""
    state = "-m conntrack --ctstate NEW " if new else ""
    return Hook(to.table, chain, f'{state}-m comment --comment "{comment}" -j {to.chain}')


HOOKS = (
    jump("INPUT", REFUSE_EXTERNAL, "kubernetes externally-visible service portals", new=True),
    jump("FORWARD", REFUSE_EXTERNAL, "kubernetes externally-visible service portals", new=True),
    jump("INPUT", HEALTH_CHECKS, "kubernetes health check service ports"),
    jump("FORWARD", REFUSE_CLUSTER, "kubernetes service portals", new=True),
    jump("OUTPUT", REFUSE_CLUSTER, "kubernetes service portals", new=True),
    jump("FORWARD", FORWARD, "kubernetes forwarding rules"),
    jump("INPUT", FIREWALL, "kubernetes load balancer firewall", new=True),
    jump("OUTPUT", FIREWALL, "kubernetes load balancer firewall", new=True),
    jump("FORWARD", FIREWALL, "kubernetes load balancer firewall", new=True),
    jump("OUTPUT", DISPATCH, "kubernetes service portals"),
    jump("PREROUTING", DISPATCH, "kubernetes service portals"),
    jump("POSTROUTING", POSTROUTING, "kubernetes postrouting rules"),
    Hook("filter", "INPUT", f"-j {KUBE_FIREWALL}"),
    Hook("filter", "OUTPUT", f"-j {KUBE_FIREWALL}"),
)
"""In the order in which kube-proxy puts each first in its chain, so that the last of a chain ends on top."""
