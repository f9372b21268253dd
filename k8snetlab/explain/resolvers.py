"""Whether pods ask whom they should, and are answered. Blocking: reads files, asks DNS pods and caches, each once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from k8snetlab.api.core import Pod
from k8snetlab.api.dns import LOCAL, PORT
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.diagnose import resolving
from k8snetlab.diagnose.finding import Finding
from k8snetlab.dns import addon, asking, nodelocal, resolv
from k8snetlab.dns import etc as contents
from k8snetlab.dns.resolv import Resolv
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain.both_families import Kernels
from k8snetlab.kernel import asking as sockets
from k8snetlab.kernel import etc
from k8snetlab.render.pods import sandbox_name

PATIENCE = 2.0
"""Seconds in which a server that works answers, however busy the machine is."""


def wrong(snapshot: Snapshot, kernel: Kernels, *, ask: bool) -> Iterator[Finding]:
    """Of this machine's pods; `ask`: queries are sent. Files are compared where they are to lead to kube-dns."""
    if not snapshot.lab.spec.dns.enabled:
        return
    here, servers = set(kernel.nodes), contents.servers(snapshot)
    for pod in snapshot.all(Pod).values():
        if pod.spec.nodeName not in here or not pod.ready:
            continue
        if ask and snapshot.lab.spec.dns.nodeLocal and nodelocal.is_cache(pod):
            node = names.namespace_of(snapshot.lab.name, pod.spec.nodeName, snapshot.lab.spec.machines)
            yield from _unheard(node, LOCAL, pod, snapshot)
        if pod.spec.hostNetwork:
            continue
        wanted = resolv.read(contents.of(pod, snapshot, Resolv()).resolv_conf)
        netns = sandbox_name(snapshot.lab, pod)
        with contextlib.suppress(OSError):
            text = etc.read(netns, "resolv.conf") if wanted.nameservers[:1] == servers[:1] else None
            if text is not None:
                yield from resolving.edited(pod, netns, resolv.read(text), wanted)
        if ask and addon.is_server(pod):
            yield from _unheard(netns, pod.ips[0], pod, snapshot)


def servers(snapshot: Snapshot, kernel: Kernels) -> list[Pod]:
    """The DNS pods of this machine that are ready."""
    if not snapshot.lab.spec.dns.enabled:
        return []
    pods = snapshot.all(Pod).values()
    here = {*kernel.nodes}
    own = [pod for pod in pods if addon.is_server(pod) and pod.spec.nodeName in here]
    return [pod for pod in own if pod.ready and not pod.spec.hostNetwork]


def _unheard(netns: str, address: str, pod: Pod, snapshot: Snapshot) -> Iterator[Finding]:
    """Asks for what a server itself refuses, and need ask nobody else for: the cluster's whole zone."""
    domain = snapshot.lab.spec.dns.domain
    query = asking.query(1, f"{domain}.", "AXFR")
    with contextlib.suppress(K8sNetLabError):  # a namespace that is gone is a finding already
        (heard,) = sockets.by_udp(netns, [(address, PORT)], [query], asking.belongs, PATIENCE)
        if not heard.octets:
            yield resolving.silent(pod, netns, address, domain, PATIENCE)
