"""Whether processes listen where their pods say they do. Blocking: reads the sockets of every pod's namespace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import end
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.view import View
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.objects import silent as of_pod
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain.both_families import Kernels
from k8snetlab.kernel import listeners
from k8snetlab.render.pods import sandbox_name
from k8snetlab.trace.listener import no_listener

PROTOCOLS = ("TCP", "UDP")


def silent(snapshot: Snapshot, kernel: Kernels) -> Iterator[Finding]:
    """A finding for each port of a ready pod of this machine at which no process answers, with the reason."""
    here = set(kernel.nodes)
    for pod in snapshot.all(Pod).values():
        if pod.ready and not pod.metadata.deletionTimestamp and pod.spec.nodeName in here:
            for endpoint, why in _silent(snapshot, pod):
                yield of_pod(snapshot, pod, endpoint, why)


def _silent(snapshot: Snapshot, pod: Pod) -> Iterator[tuple[str, str]]:
    """("ip:port", why), each port once."""
    ports = [p for p in pod.own_ports if p.protocol in PROTOCOLS]
    netns, held = sandbox_name(snapshot.lab, pod), View("", "", "pod")
    ends = {(p.protocol.lower(), ip, p.containerPort) for p in ports for ip in pod.ips}
    if ports:
        with contextlib.suppress(K8sNetLabError):  # a namespace that is gone is a finding already
            if listeners.takers(netns, ends) == ends:
                return
            held = View(netns, pod.short_name, "pod", listening=listeners.read(netns))
    for port in ports if held.netns or is_host(netns) else ():
        protocol = port.protocol.lower()
        closed = [ip for ip in pod.ips if not held.listens(protocol, ip, port.containerPort)]
        if closed:
            yield end(closed[0], port.containerPort), no_listener(held, protocol, closed[0], port.containerPort)
