"""What stands behind the address of a load balancer: a node that announces it, or haproxy and the nodes it sends to."""

from __future__ import annotations

import contextlib
import csv
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from k8snetlab.addons.announcers import announcers
from k8snetlab.addons.balancing import HAPROXY, SOCKET
from k8snetlab.api.core import Node, Service
from k8snetlab.api.selection import balanced
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.dataplane.routing import Route
from k8snetlab.dataplane.view import NeighbourEntry
from k8snetlab.diagnose import announced, balancers
from k8snetlab.diagnose.balancers import Server
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.paths import UsualPath
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain import daemons
from k8snetlab.kernel import netns, read
from k8snetlab.kernel.shot import shoot
from k8snetlab.render.lb import candidates, haproxy
from k8snetlab.speaker import frames
from k8snetlab.state.paths import LabPaths

LISTEN = 0.5
"""Seconds for which answers to ARP requests are waited for."""
LOOK = 1.0
"""Seconds that haproxy gets for an answer."""


def service_at(snapshot: Snapshot, address: str, port: int) -> Service | None:
    """The Service that a load balancer of the lab's serves there."""
    for service in snapshot.select(Service, balanced, True).values():
        given = any(one.ip == address for one in service.status.loadBalancer.ingress)
        if given and any(one.port == port for one in service.spec.ports):
            return service
    return None


def servers(paths: LabPaths) -> tuple[Server, ...]:
    """All that haproxy sends to; none where it does not answer."""
    file = paths.addons / ROUTER / HAPROXY / SOCKET
    with contextlib.suppress(OSError), _near(file) as line:
        line.settimeout(LOOK)
        line.sendall(b"show stat -1 4 -1\n")
        rows = csv.DictReader(line.makefile().read().removeprefix("# ").splitlines())
        return tuple(Server(r["pxname"], r["svname"], r["status"], r["last_chk"] or r["check_status"]) for r in rows)
    return ()


def node_behind(snapshot: Snapshot, paths: LabPaths, service: Service, port: int) -> str:
    """A node to which haproxy sends for that port now, "" where it has none."""
    name = haproxy.section(service, port)
    return next((one.node for one in servers(paths) if one.section == name and one.up), "")


def findings(snapshot: Snapshot, paths: LabPaths, known: Iterable[NeighbourEntry], ask: bool) -> Iterator[Finding]:
    """What is wrong with load balancers; `ask`: also by ARP requests from the router, whose neighbours are `known`."""
    yield from balancers.pending(snapshot)
    yield from balancers.unannounced(snapshot)
    mode = snapshot.lab.spec.loadBalancer.mode
    if mode == "l2" and ask:
        addresses = [one for one, order in candidates.announced(snapshot).items() if order and ":" not in one]
        with contextlib.suppress(OSError, K8sNetLabError):
            asked = who_has(names.node_netns(snapshot.lab.name, ROUTER), addresses)
            nodes = (node.name for node in snapshot.all(Node).values())
            for found in balancers.answered(snapshot, asked, known, announcers(paths.addons, nodes)):
                yield replace(found, broken=tuple(_unreached(snapshot, found.object)))
    if mode == "bgp":
        with contextlib.suppress(OSError, K8sNetLabError):
            sessions = {one.name: one for one in daemons.sessions_of(snapshot, paths, ROUTER)}
            yield from announced.untold(snapshot, _held(snapshot), sessions)
    if mode == "cloud":
        yield from balancers.unhealthy(snapshot, servers(paths))


def of_machines(snapshot: Snapshot) -> Iterator[Finding]:
    """In a lab of machines, which has no router to ask from. Of an address that nobody announces its agents tell."""
    if snapshot.lab.spec.loadBalancer.mode != "none":
        yield from balancers.pending(snapshot)
        yield from balancers.unannounced(snapshot)


def sought(snapshot: Snapshot) -> Iterator[UsualPath]:
    """What the router sends to nodes that should tell it of an address, and do not."""
    if snapshot.lab.spec.loadBalancer.mode == "bgp":
        with contextlib.suppress(K8sNetLabError):
            yield from announced.asked(snapshot, announced.silent(snapshot, _held(snapshot)))


def _held(snapshot: Snapshot) -> tuple[Route, ...]:
    """The routes that the router's daemon has made. Raises K8sNetLabError."""
    return read.learned(names.node_netns(snapshot.lab.name, ROUTER))


def _unreached(snapshot: Snapshot, name: str) -> Iterator[str]:
    """The doors of a Service that the host outside does not come through, tried for real, each with what it heard."""
    namespace, _, short = name.partition("/")
    service, outside = snapshot.get(Service, short, namespace), names.node_netns(snapshot.lab.name, names.OUTSIDE)
    for one in service.status.loadBalancer.ingress if service else ():
        for port in service.spec.ports if service else ():
            if port.protocol == "TCP" and ":" not in one.ip:
                shot = shoot(outside, one.ip, port.port, "tcp", LISTEN)
                if shot.fate != "answered":
                    yield f"outside {one.ip}:{port.port}: {shot.fate}"


def who_has(namespace: str, addresses: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The MACs that answer for each address, asked from the router by ARP. Raises OSError, K8sNetLabError."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(addresses, ())
    if not addresses:
        return found
    with netns.inside(namespace):
        line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with line:
        line.bind((names.UNDERLAY_BRIDGE, frames.ARP))
        own, until = line.getsockname()[4], time.monotonic() + LISTEN
        for address in addresses:
            line.send(frames.probe(address, own))
        while (left := until - time.monotonic()) > 0:
            line.settimeout(left)
            try:
                told = frames.answer(line.recv(2048))
            except TimeoutError:
                break
            if told and told[0] in found and told[1] not in found[told[0]]:
                found[told[0]] = (*found[told[0]], told[1])
    return found


def _near(file: Path) -> socket.socket:
    """A line to it; the path may be longer than a socket's may be. Raises OSError."""
    line = socket.socket(socket.AF_UNIX)
    directory = os.open(file.parent, os.O_PATH)
    try:
        line.connect(f"/proc/self/fd/{directory}/{file.name}")
    except OSError:
        line.close()
        raise
    finally:
        os.close(directory)
    return line
