"""Whether the servers that DNS pods ask for names outside answer them. Blocking: each is asked once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
from msgspec.structs import replace

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Pod, Service
from k8snetlab.api.dns import LOCAL, PORT
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import end
from k8snetlab.diagnose import resolving
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.paths import UsualPath
from k8snetlab.diagnose.usual import CLIENT_PORT
from k8snetlab.dns import addon, asking, corefile, nodelocal, resolv
from k8snetlab.dns.lines import CorefileError
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import asking as sockets
from k8snetlab.kernel import etc
from k8snetlab.render.pods import sandbox_name
from k8snetlab.trace.way import Flow

PATIENCE = 2.0
AT_ONCE, MOST = 8, 32
"""Servers that are asked at a time, and in all."""


class Silent(msgspec.Struct, frozen=True):
    """An upstream server that has not answered, and the way of what it was asked."""

    finding: Finding
    path: UsualPath


class _Asked(msgspec.Struct, frozen=True):
    pod: Pod
    netns: str
    server: tuple[str, int]
    zone: str
    tcp: bool


def looping(snapshot: Snapshot) -> Iterator[Finding]:
    """Servers of `forward` that are the cluster's own; and Corefiles that cannot be read."""
    if snapshot.lab.spec.dns.nodeLocal:
        yield from _of_caches(snapshot)
    try:
        blocks = _blocks(snapshot)
    except CorefileError as error:
        yield resolving.misread(error)
        return
    own, pods = _own(snapshot), [pod for pod in snapshot.all(Pod).values() if addon.is_server(pod) and pod.ips]
    for netns in ("", *(sandbox_name(snapshot.lab, pod) for pod in pods)):
        for server, (zone, _) in _servers(blocks, netns).items():
            if server[1] == PORT and (whose := own.get(server[0])):
                yield resolving.looping(server, zone, whose)
    for pod in pods:
        if said := _loop_said(pod):
            yield resolving.looped(pod, said)


def _of_caches(snapshot: Snapshot) -> Iterator[Finding]:
    """The same of nodes' caches, which ask the cluster's DNS, but not themselves."""
    try:
        blocks = _blocks(snapshot, nodelocal.NAME)
    except CorefileError as error:
        yield resolving.misread(error, nodelocal.NAME)
        return
    for server, (zone, _) in _servers(blocks, "").items():
        if server == (LOCAL, PORT):
            yield resolving.looping(server, zone, "which is each node's cache itself", nodelocal.NAME)


def silent(snapshot: Snapshot, pods: Iterable[Pod]) -> list[Silent]:
    """Servers that do not answer, from where they are asked; `pods` are the DNS pods of this machine."""
    try:
        blocks = _blocks(snapshot)
    except CorefileError:
        return []
    own = _own(snapshot)
    homes = [(pod, sandbox_name(snapshot.lab, pod)) for pod in pods]
    every = [_Asked(pod, netns, to, *how) for pod, netns in homes for to, how in _servers(blocks, netns).items()]
    asked = [one for one in every if one.server[0] not in own][:MOST]
    if not asked:
        return []
    with ThreadPoolExecutor(AT_ONCE) as several:
        heard = [*several.map(_heard, asked)]
    return [_silent(one, error) for one, error in zip(asked, heard, strict=True) if error is not None]


def explained(found: Iterable[Finding], silent: Iterable[Silent]) -> list[Finding]:
    """The findings that break the way to such a server say what that means for names."""
    said = [(one.path.words, one.finding.message) for one in silent]
    return [
        replace(finding, explains=(*finding.explains, *more)) if more else finding
        for finding in found
        for more in [[message for words, message in said if any(b.startswith(words) for b in finding.broken)]]
    ]


def _blocks(snapshot: Snapshot, config: str = addon.NAME) -> tuple[corefile.Block, ...]:
    held = snapshot.get(ConfigMap, config, addon.NAMESPACE)
    text = held.data.get(addon.COREFILE, "") if held else ""
    if config == nodelocal.NAME:
        text = nodelocal.filled(text, snapshot, nodelocal.UPSTREAM)
    return corefile.parse(text) if text else ()


def _loop_said(pod: Pod) -> str:
    """What the pod's server has said as it ended, where that was for a loop."""
    states = [state for status in pod.status.containerStatuses for state in (status.state, status.lastState)]
    messages = (state.terminated.message for state in states if state.terminated and not pod.ready)
    return next((message for message in messages if resolving.LOOP in message), "")


def _own(snapshot: Snapshot) -> dict[str, str]:
    """The addresses of the cluster's DNS, with whose they are."""
    service = snapshot.get(Service, addon.SERVICE, addon.NAMESPACE)
    own = {
        ip: f"which is pod {pod.namespace}/{pod.name} itself"
        for pod in snapshot.all(Pod).values()
        if addon.is_server(pod)
        for ip in pod.ips
    }
    cluster = service.clusterIPs if service else ()
    return own | dict.fromkeys(cluster, f"which is Service {addon.NAMESPACE}/{addon.SERVICE}")


def _servers(blocks: Iterable[corefile.Block], netns: str) -> dict[tuple[str, int], tuple[str, bool]]:
    """Each server once, with the first zone for which it is asked, and whether by TCP only; those of resolv.conf where
    `netns` has one."""
    found: dict[tuple[str, int], tuple[str, bool]] = {}
    for block in blocks:
        for forward in block.forwards:
            zone = block.zones[0] if forward.zone == "." else forward.zone
            for server in (*forward.to, *(_of_file(netns) if forward.own and netns else ())):
                found.setdefault(server, (zone, forward.tcp))
    return found


def _of_file(netns: str) -> list[tuple[str, int]]:
    try:
        text = etc.read(netns, "resolv.conf") or ""
    except OSError:
        return []
    return [(address, PORT) for address in resolv.read(text).servers]


def _heard(one: _Asked) -> str | None:
    """None where there was a reply, whatever it says; else what was heard, "" for nothing."""
    try:
        query = asking.query(1, ".", "NS")  # as CoreDNS' forward asks whether a server is there
        if one.tcp:
            heard = sockets.by_tcp(one.netns, one.server, query, PATIENCE)
        else:
            (heard,) = sockets.by_udp(one.netns, [one.server], [query], asking.belongs, PATIENCE)
    except K8sNetLabError:  # a namespace that is gone is a finding already
        return None
    return None if heard.octets else heard.error


def _silent(one: _Asked, error: str) -> Silent:
    address, port = one.server
    protocol = "tcp" if one.tcp else "udp"
    words = f"{one.pod.namespace}/{one.pod.name} {end(address, port)} --protocol {protocol}"
    path = UsualPath(one.netns, Flow("", address, protocol, CLIENT_PORT, port), words)
    return Silent(resolving.upstream_silent(one.pod, one.netns, one.server, one.zone, error, tcp=one.tcp), path)
