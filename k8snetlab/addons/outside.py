"""What answers on the ports of the hosts of `spec.outside`: the kubelet's own responder, as in pods."""

from __future__ import annotations

from k8snetlab.addons.program import HOST, Program
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import ROUTER


def programs(snapshot: Snapshot, node: str) -> tuple[Program, ...]:
    """Those of the router, by which all such hosts are reached."""
    hosts = snapshot.lab.spec.hosts if node == ROUTER else ()
    return tuple(
        Program(f"{HOST}{host.name}", ports=host.ports, host=host.name, addresses=host.addresses)
        for host in hosts
        if host.ports
    )
