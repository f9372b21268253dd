"""What can be wrong with a NetworkPolicy.

Source: Kubernetes pkg/apis/networking/validation, whose words these are.
"""

from __future__ import annotations

from k8snetlab.api import addressing
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from k8snetlab.api.problems import Report, port_name
from k8snetlab.api.rules import forbidden, invalid, label_selector, name_problem, port_number, required
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path

TYPES = 2


def network_policy(report: Report, obj: NetworkPolicy, _: Snapshot) -> None:
    spec = obj.spec
    label_selector(report, obj, ("spec", "podSelector"), spec.podSelector)
    for number, ingress in enumerate(spec.ingress):
        _rule(report, obj, ("spec", "ingress", number), "from", (ingress.ports, ingress.from_))
    for number, egress in enumerate(spec.egress):
        _rule(report, obj, ("spec", "egress", number), "to", (egress.ports, egress.to))
    if len(spec.policyTypes) > TYPES:
        said = f"[{','.join(spec.policyTypes)}]"
        report.error(obj, ("spec", "policyTypes"), f"Invalid value: {said}: may not specify more than two policyTypes")


def _rule(
    report: Report,
    obj: Object,
    path: Path,
    field: str,
    rule: tuple[tuple[NetworkPolicyPort, ...], tuple[NetworkPolicyPeer, ...]],
) -> None:
    ports, peers = rule
    for number, port in enumerate(ports):
        _port(report, obj, (*path, "ports", number), port)
    for number, peer in enumerate(peers):
        _peer(report, obj, (*path, field, number), peer)


def _port(report: Report, obj: Object, path: Path, port: NetworkPolicyPort) -> None:
    end: Path = (*path, "endPort")
    if port.port is None:
        if port.endPort is not None:
            report.error(obj, end, invalid(port.endPort, "may not be specified when `port` is not specified"))
    elif isinstance(port.port, str):
        if port.endPort is not None:
            report.error(obj, end, invalid(port.endPort, "may not be specified when `port` is non-numeric"))
        name_problem(report, obj, (*path, "port"), port.port, port_name)
    else:
        port_number(report, obj, (*path, "port"), port.port)
        if port.endPort is not None:
            if port.endPort < port.port:
                report.error(obj, end, invalid(port.endPort, "must be greater than or equal to `port`"))
            port_number(report, obj, end, port.endPort)


def _peer(report: Report, obj: Object, path: Path, peer: NetworkPolicyPeer) -> None:
    if peer.podSelector is not None:
        label_selector(report, obj, (*path, "podSelector"), peer.podSelector)
    if peer.namespaceSelector is not None:
        label_selector(report, obj, (*path, "namespaceSelector"), peer.namespaceSelector)
    if peer.ipBlock is not None:
        _block(report, obj, (*path, "ipBlock"), peer.ipBlock)
        if peer.podSelector is not None or peer.namespaceSelector is not None:
            report.error(obj, path, forbidden("may not specify both ipBlock and another peer"))
    elif peer.podSelector is None and peer.namespaceSelector is None:
        report.error(obj, path, required("must specify a peer"))


def _block(report: Report, obj: Object, path: Path, block: IPBlock) -> None:
    if not block.cidr:
        report.error(obj, (*path, "cidr"), required())
        return
    whole = _network(report, obj, (*path, "cidr"), block.cidr)
    for number, text in enumerate(block.except_):
        where: Path = (*path, "except", number)
        part = _network(report, obj, where, text)
        if whole is None or part is None:
            continue
        if part.version != whole.version or part == whole or not part.subnet_of(whole):  # type: ignore[arg-type]
            report.error(obj, where, invalid(text, "must be a strict subset of `cidr`"))


def _network(report: Report, obj: Object, path: Path, text: str) -> addressing.IPNetwork | None:
    try:
        return addressing.api_network(text)
    except ValueError as error:
        report.error(obj, path, str(error))
        return None
