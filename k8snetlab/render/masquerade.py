"""flannel's iptables rules: they masquerade pod traffic that leaves the cluster, and no traffic inside it.

Source: flannel pkg/trafficmngr/iptables (masqRules, forwardRules).
"""

from __future__ import annotations

from k8snetlab.dataplane import names
from k8snetlab.dataplane.names import FLANNEL_FWD, FLANNEL_POSTRTG, MASQUERADE_MARK
from k8snetlab.dataplane.rules import ChainKey, Family, Hook, RuleSet

MULTICAST = {"ipv4": "224.0.0.0/4", "ipv6": "ff00::/8"}


def render(cluster: str, subnet: str, family: Family) -> RuleSet:
    """The rules of a node with pod subnet `subnet` in pod network `cluster`, for one family."""
    masq = '-m comment --comment "flanneld masq"'
    forward = '-m comment --comment "flanneld forward"'
    return RuleSet(
        family=family,
        chains={
            ChainKey("nat", FLANNEL_POSTRTG): (
                f"-m mark --mark {MASQUERADE_MARK:#x}/{MASQUERADE_MARK:#x} {masq} -j RETURN",
                f"-s {subnet} -d {cluster} {masq} -j RETURN",
                f"-s {cluster} -d {subnet} {masq} -j RETURN",
                f"! -s {cluster} -d {subnet} {masq} -j RETURN",
                f"-s {cluster} ! -d {MULTICAST[family]} {masq} -j MASQUERADE --random-fully",
                f"! -s {cluster} -d {cluster} {masq} -j MASQUERADE --random-fully",
            ),
            ChainKey("filter", FLANNEL_FWD): (
                f"-s {cluster} {forward} -j ACCEPT",
                f"-d {cluster} {forward} -j ACCEPT",
            ),
        },
        hooks=(
            Hook("nat", "POSTROUTING", f"{masq} -j {FLANNEL_POSTRTG}", prepend=False),
            Hook("filter", "FORWARD", f"{forward} -j {FLANNEL_FWD}", prepend=False),
        ),
        prefixes=names.FLANNEL_CHAINS,
    )
