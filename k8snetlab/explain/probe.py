"""Connectivity by trying it: a real TCP connection or UDP datagram from one place of the lab to another."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import time
from collections.abc import Iterable

from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster import nearby
from k8snetlab.errors import K8sNetLabError, KernelError
from k8snetlab.explain.intended import Intents
from k8snetlab.explain.places import Place
from k8snetlab.explain.targets import ICMP, Target, no_echo
from k8snetlab.explain.verdicts import judged, seen
from k8snetlab.kernel import netns
from k8snetlab.kernel.shot import shoot
from k8snetlab.messages.probe import ProbeResult

TIMEOUT = 2.0
"""Seconds a probe waits for an answer."""
PARALLEL = 64
"""Probes under way at a time."""
DNS = 53
"""The port of names."""


async def probe(
    snapshot: Snapshot, pairs: Iterable[tuple[Place, Target]], timeout: float = TIMEOUT
) -> list[ProbeResult]:
    """Tries every pair, many at a time; the results are in the order of the pairs, each with a verdict."""
    limit, intents = asyncio.Semaphore(PARALLEL), Intents(snapshot)

    async def tried(place: Place, target: Target) -> ProbeResult:
        async with limit:
            result = await _probe(place, target, snapshot, timeout)
            return judged(snapshot, place, target, result, intents.of(place, target))

    return list(await asyncio.gather(*(tried(place, target) for place, target in pairs)))


def untried(place: Place, target: Target, why: str) -> ProbeResult:
    """The result of a probe that could not be sent."""
    return replace(_not_tried(place, target), verdict="broken", ok=False, why=why, error=f"not tried: {why}")


def _not_tried(place: Place, target: Target) -> ProbeResult:
    return ProbeResult(
        source=place.name,
        sourceNode=place.node,
        target=target.name,
        kind=target.kind,
        address=target.address,
        port=target.port,
        protocol=target.protocol,
        reached=False,
        seen="not tried",
    )


async def _probe(place: Place, target: Target, snapshot: Snapshot, timeout: float) -> ProbeResult:
    began = time.perf_counter()
    error, answer = "", None
    try:
        if target.protocol == ICMP:
            answer = await _ping(place.netns, target.address, snapshot)
        else:
            async with asyncio.timeout(timeout):
                answer = await _exchange(place.netns, target)
    except TimeoutError:
        error = f"no answer within {timeout:g} s"
    except OSError as refused:
        error = os.strerror(refused.errno).lower() if refused.errno else str(refused)
    except K8sNetLabError as missing:
        error = missing.message
    how = seen(answer is not None, error)
    if error and target.protocol == ICMP:
        error = no_echo(snapshot, target.address) or error
    elif error and (instead := nearby.port(snapshot, target.address, target.port, target.protocol)):
        error = f"{error}: {instead}"
    said = answer or {}
    return replace(
        _not_tried(place, target),
        reached=answer is not None,
        seen=how,
        answeredBy=str(said.get("pod", "")),
        answeredNamespace=str(said.get("namespace", "")),
        answeredNode=str(said.get("node", "")),
        answeredIP=str(said.get("ip", "")),
        client=str(said.get("client", "")),
        milliseconds=round((time.perf_counter() - began) * 1000, 3),
        error=error,
    )


async def _exchange(place: str, target: Target) -> dict[str, object]:
    """Sends a request from namespace `place`; what the responder said, or {} from something that is none of ours."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if target.protocol == "UDP" else socket.SOCK_STREAM
    with netns.inside(place):
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, 132 if target.protocol == "SCTP" else 0)
    with sock:
        await loop.sock_connect(sock, (target.address, target.port))
        if target.protocol == "UDP":
            await loop.sock_sendall(sock, b"k8snetlab probe")
            return _parse(await loop.sock_recv(sock, 2048))
        request = f"GET / HTTP/1.1\r\nHost: {target.address}\r\nUser-Agent: k8snetlab\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(sock, request.encode())
        if target.port == DNS:
            sock.shutdown(socket.SHUT_WR)  # a server of names waits for more, unless it is told that nothing comes
        return _parse(await _read_all(sock))


async def _read_all(sock: socket.socket) -> bytes:
    """What the other side says until it closes; the connection itself is the proof, so silence is no failure."""
    loop = asyncio.get_running_loop()
    data = b""
    try:
        async with asyncio.timeout(TIMEOUT / 4):
            while len(data) < 65536 and (part := await loop.sock_recv(sock, 4096)):
                data += part
    except TimeoutError:
        pass
    except OSError as error:
        if error.errno != errno.ECONNRESET or not data:
            raise
    return data


def _parse(data: bytes) -> dict[str, object]:
    body = data.partition(b"\r\n\r\n")[2] or data
    try:
        said = json.loads(body.splitlines()[0])
    except (ValueError, IndexError):
        return {}
    return said if isinstance(said, dict) else {}


async def _ping(place: str, address: str, snapshot: Snapshot) -> dict[str, object]:
    """One echo request; its answer says nothing of who gave it, but the lab's objects do."""
    shot = await asyncio.to_thread(shoot, place, address, 0, "icmp", TIMEOUT)
    if shot.fate == "lost":
        raise TimeoutError
    if shot.fate != "answered":
        raise KernelError(shot.error)
    for pod in snapshot.all(Pod).values():
        if address in pod.ips and not pod.spec.hostNetwork:
            return {"pod": pod.short_name, "node": pod.spec.nodeName, "ip": address}
    node = next((node.name for node in snapshot.all(Node).values() if address in node.addresses), "")
    return {"pod": node, "ip": address}
