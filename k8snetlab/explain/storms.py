"""Whether names outside are looked for all the time in domains in which they are not: counted by the DNS pods' servers,
and, where there are many, looked at packet by packet. Blocking."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from k8snetlab.api.core import Pod, Service
from k8snetlab.api.dns import METRICS
from k8snetlab.api.selection import pods_by_ip
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names, packet
from k8snetlab.diagnose import resolving
from k8snetlab.diagnose.finding import Finding
from k8snetlab.dns import asking, resolv
from k8snetlab.dns import etc as contents
from k8snetlab.dns.resolv import Resolv
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import netns
from k8snetlab.kernel.capture import Capture
from k8snetlab.render.pods import sandbox_name

PATIENCE = 1.0
LOOK = 0.5
"""Seconds for which replies are looked at."""
SNAPLEN = 600
_DENIED = re.compile(r'^coredns_dns_responses_total\{[^}]*rcode="NXDOMAIN"[^}]*\} (\d+)', re.MULTILINE)


class Storms:
    """Looks once at its creation, and again in `found`: what was counted in between is a rate."""

    def __init__(self, snapshot: Snapshot, pods: Iterable[Pod]) -> None:
        """`pods` are the DNS pods of this machine."""
        self._snapshot, self._began = snapshot, time.monotonic()
        self._denied = {pod.metadata.uid: (pod, _denied(snapshot, pod)) for pod in pods}

    def found(self) -> Iterator[Finding]:
        seconds = time.monotonic() - self._began
        for pod, before in self._denied.values():
            now = _denied(self._snapshot, pod)
            if before is not None and now is not None and now - before > resolving.STORM * seconds:
                with contextlib.suppress(K8sNetLabError, OSError):
                    yield from resolving.storm(pod, _looked(self._snapshot, pod))


def _denied(snapshot: Snapshot, pod: Pod) -> int | None:
    """How often the pod's server has said NXDOMAIN; None where it does not tell."""
    line = http.client.HTTPConnection(pod.ips[0], METRICS, timeout=PATIENCE)
    try:
        with netns.inside(sandbox_name(snapshot.lab, pod)):
            line.sock = socket.socket(socket.AF_INET6 if ":" in pod.ips[0] else socket.AF_INET)
        line.sock.settimeout(PATIENCE)
        line.sock.connect((pod.ips[0], METRICS))
        line.request("GET", "/metrics")
        text = line.getresponse().read().decode(errors="replace")
    except (OSError, http.client.HTTPException, K8sNetLabError):
        return None
    finally:
        line.close()
    return sum(int(number) for number in _DENIED.findall(text))


def _looked(snapshot: Snapshot, pod: Pod) -> resolving.Storm:
    """The replies that leave the pod, for a while."""
    replies, searched, example, meant = 0, Counter[str](), "", ""
    with Capture([(sandbox_name(snapshot.lab, pod), names.ETH0)], SNAPLEN) as capture:
        end = time.monotonic() + LOOK
        while (left := end - time.monotonic()) > 0:
            for seen in capture.read(left)[0]:
                found = packet.ethernet(seen.data) if seen.outgoing else None
                if found is None or found.protocol != "udp" or found.sport != 53:
                    continue
                replies += 1
                name, status = asking.denied(found.payload)
                client = next(iter(snapshot.select(Pod, pods_by_ip, found.dst).values()), None)
                if client is not None and status and (outside := searched_for(name, client, snapshot)):
                    searched[f"{client.namespace}/{client.name}"] += 1
                    example, meant = name, outside
    often = {c: round(n / LOOK) for c, n in searched.most_common()}
    return resolving.Storm(round(replies / LOOK), often, example, meant)


def searched_for(name: str, client: Pod, snapshot: Snapshot) -> str:
    """The name with a dot in it that a domain of the client's search list has made longer; "" where there is none, and
    where a Service is meant, of another namespace."""
    searches = resolv.read(contents.of(client, snapshot, Resolv()).resolv_conf).searches
    domains = [domain.rstrip(".") for domain in searches if name.lower().endswith(f".{domain.rstrip('.')}.")]
    if not domains:
        return ""
    begin = name.lower().removesuffix(f".{max(domains, key=len)}.")
    services = (snapshot.get(Service, *two) for two in pairwise(begin.split(".")))
    return begin if "." in begin and not any(services) else ""
