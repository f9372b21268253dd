"""What can be wrong with a Lab whose network is Calico's."""

from __future__ import annotations

from collections.abc import Sequence

from k8snetlab.api import addressing
from k8snetlab.api.addressing import IPNetwork
from k8snetlab.api.lab import IPPool, Lab
from k8snetlab.api.pools import pools, selects
from k8snetlab.api.problems import Report, dns_label
from k8snetlab.api.words import Path, shorten

_POOLS: Path = ("spec", "network", "ipPools")
_LARGEST = 1 << 20
"""Blocks of one pool."""


def calico(report: Report, lab: Lab) -> None:
    network = lab.spec.network
    if not network.calico:
        _elsewhere(report, lab)
        return
    if lab.spec.machines:
        where = ("spec", "network", "backend")
        report.error(lab, where, "calico is for labs of namespaces; machines take vxlan or host-gw")
    if ":" in lab.spec.podCIDR:
        report.error(lab, ("spec", "podCIDR"), "pools of IPv6 addresses are not supported; give one IPv4 network")
        return
    if lab.spec.daemon == "frr":
        report.error(lab, ("spec", "network", "routing", "daemon"), "Calico brings bird; leave it out")
    _blocks(report, lab, _pools(report, lab))


def _pools(report: Report, lab: Lab) -> list[tuple[IPPool, IPNetwork]]:
    """Those of which blocks can be made, with their networks."""
    given = lab.spec.network.ipPools
    found: list[tuple[IPPool, IPNetwork]] = []
    names: set[str] = set()
    for number, pool in enumerate(pools(lab)):
        path: Path = (*_POOLS, number) if given else ("spec", "podCIDR")
        cidr = _pool(report, lab, path, pool)
        if problem := dns_label(pool.name):
            report.error(lab, (*path, "name"), problem)
        if pool.name in names:
            report.error(lab, (*path, "name"), f'"{shorten(pool.name)}" names another pool already')
        names.add(pool.name)
        for other, theirs in found if cidr else ():
            if cidr and cidr.overlaps(theirs):
                message = f"{cidr} overlaps {theirs} of {shorten(other.name)}; give each pool a range of its own"
                report.error(lab, (*path, "cidr"), message)
        found += [(pool, cidr)] if cidr else []
    return found


def _elsewhere(report: Report, lab: Lab) -> None:
    """Settings that are Calico's, in a lab without it."""
    network = lab.spec.network
    for field, given in (("ipPools", network.ipPools), ("strictAffinity", network.strictAffinity)):
        if given:
            words = f"means nothing with backend {network.backend}; calico has it"
            report.warn(lab, ("spec", "network", field), words)
    for number, node in enumerate(lab.spec.nodes if isinstance(lab.spec.nodes, tuple) else ()):
        if node.blocks:
            words = f"means nothing with backend {network.backend}; calico has it"
            report.warn(lab, ("spec", "nodes", number, "blocks"), words)


def _pool(report: Report, lab: Lab, path: Path, pool: IPPool) -> IPNetwork | None:
    """Its network, where that is one that blocks can be made of."""
    where: Path = (*path, "cidr") if path[:2] != ("spec", "podCIDR") else path
    try:
        cidr = addressing.parse_network(pool.cidr)
        whole = addressing.parse_networks(lab.spec.podCIDR)
    except ValueError as error:
        report.error(lab, where, str(error))
        return None
    if not any(cidr.version == one.version and cidr.subnet_of(one) for one in whole):  # type: ignore[arg-type]
        report.error(lab, where, f"{cidr} is not inside spec.podCIDR {shorten(lab.spec.podCIDR)}")
        return None
    if cidr.prefixlen > pool.blockSize:
        report.error(lab, where, f"{cidr} is smaller than a block of it, a /{pool.blockSize}")
        return None
    if cidr.num_addresses >> (32 - pool.blockSize) > _LARGEST:
        report.error(lab, where, f"{cidr} has more than {_LARGEST:,} blocks; use a larger blockSize")
    if pool.ipipMode != "Never" and pool.vxlanMode != "Never":
        words = f"is {pool.ipipMode}, and vxlanMode is {pool.vxlanMode}: a pool has one tunnel; make one of them Never"
        report.error(lab, (*path, "ipipMode"), words)
    try:
        selects(pool.nodeSelector, {})
    except ValueError as error:
        report.error(lab, (*path, "nodeSelector"), str(error))
    return cidr


def _blocks(report: Report, lab: Lab, found: Sequence[tuple[IPPool, IPNetwork]]) -> None:
    """The blocks that are given to nodes, and subnets, of which Calico has none."""
    holders: dict[IPNetwork, str] = {}
    for number, node in enumerate(lab.spec.nodes if isinstance(lab.spec.nodes, tuple) else ()):
        path: Path = ("spec", "nodes", number)
        if node.podCIDR:
            report.warn(lab, (*path, "podCIDR"), "means nothing with backend calico; blocks: [CIDR] fixes blocks")
        for place, text in enumerate(node.blocks):
            where = (*path, "blocks", place)
            try:
                block = addressing.parse_network(text)
            except ValueError as error:
                report.error(lab, where, str(error))
                continue
            pool = next((one for one, cidr in found if block.version == 4 and block.subnet_of(cidr)), None)  # type: ignore[arg-type]
            if pool is None:
                report.error(lab, where, f"{block} is inside none of the pools")
            elif block.prefixlen != pool.blockSize:
                report.error(lab, where, f"{block} is no block of {shorten(pool.name)}, which has /{pool.blockSize}s")
            elif block in holders:
                report.error(lab, where, f"{block} is a block of {shorten(holders[block])} already; give each its own")
            else:
                holders[block] = node.name
