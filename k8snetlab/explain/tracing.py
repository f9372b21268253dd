"""A packet followed through the lab: predicted from what the kernel holds, and one real packet watched. Blocking."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from k8snetlab.api.addressing import split
from k8snetlab.api.core import Service
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster import nearby
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import family_of, parted
from k8snetlab.dataplane.frames import Connection, Frame
from k8snetlab.diagnose.policy_rules import PolicyRules
from k8snetlab.diagnose.wanted import Wanted
from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.explain import balanced, passed
from k8snetlab.explain.namespaces import Namespaces
from k8snetlab.explain.passed import Passing
from k8snetlab.explain.places import Place, find_place, within
from k8snetlab.explain.recognition import Recognition, flow_of
from k8snetlab.explain.targets import ICMP, Target, find_targets, no_echo
from k8snetlab.kernel import netns
from k8snetlab.kernel.packets import Watch
from k8snetlab.kernel.shot import Shot, shoot
from k8snetlab.messages.trace import Observation, Trace, TraceQuestion, Translation
from k8snetlab.peers.remote import RemoteKernels, aligned
from k8snetlab.render.lb import haproxy
from k8snetlab.state.paths import LabPaths
from k8snetlab.trace.compare import Sighting, compare
from k8snetlab.trace.owners import Owners
from k8snetlab.trace.path import predict
from k8snetlab.trace.way import Flow, Way
from k8snetlab.wording import nearest

PACKET_TIMEOUT = 0.5
"""Seconds that an observed packet may take."""
SOURCE_PORT, VXLAN_PORT = 40000, 8472
"""The port of a packet that is only predicted; flannel's, where no tunnel says its own."""
PROTOCOLS = ("tcp", "udp", "icmp", "sctp")


def trace(snapshot: Snapshot, paths: LabPaths, question: TraceQuestion, remote: RemoteKernels | None = None) -> Trace:
    """`remote` are the other machines of a lab that has them. Raises NotFoundError, InputError, KernelError."""
    if question.protocol not in PROTOCOLS:
        raise InputError(f"{question.protocol!r} cannot be traced", f"use {', '.join(PROTOCOLS)}")
    question = replace(
        question,
        source=within(snapshot, question.source, question.namespace),
        target=within(snapshot, question.target, question.namespace),
    )
    place, target = find_place(snapshot, question.source), _target(snapshot, question)
    if not netns.exists(place.netns):
        raise NotFoundError(f"{place.name} has no network namespace (yet)", "`k8snetlab status` tells what is wrong")
    kernel = Namespaces(snapshot, paths, family_of(target.address), remote.here if remote else "", remote)
    asked = _Asked(snapshot, kernel, place, target, question.protocol)
    ways = asked.predicted()
    chosen = _by_endpoint(ways, question.endpoint) if question.endpoint else 0
    observation: Observation | None = None
    if not question.predictOnly:
        ways, chosen, observation = asked.observed(ways, remote)
    refused = _refused(snapshot, target, ways[chosen])
    passing = _passing(snapshot, question, ways[chosen])
    return Trace(
        source=place.name,
        sourceNode=place.node,
        target=target.name,
        kind=target.kind,
        address=target.address,
        port=target.port,
        protocol=question.protocol,
        ways=ways,
        chosen=chosen,
        observed=observation,
        note=_note(snapshot, target) or refused or (passing.note if passing else ""),
        behind=None
        if refused
        else _behind(snapshot, paths, question, target) or _next(snapshot, paths, question, passing),
    )


def _refused(snapshot: Snapshot, target: Target, way: Way) -> str:
    """Why haproxy closes a connection that it has taken, "" where it does not."""
    service = balanced.service_at(snapshot, target.address, target.port)
    if service is None or target.address not in haproxy.addresses(snapshot) or not way.hops:
        return ""
    client = way.there[-1]
    if client.place != names.ROUTER or haproxy.lets_in(service, client.packet.src):
        return ""
    return (
        f"haproxy in the router closes the connection at once: loadBalancerSourceRanges of service {service.namespace}/"
        f"{service.name} ({', '.join(service.spec.loadBalancerSourceRanges)}) has not {client.packet.src}"
    )


def _behind(snapshot: Snapshot, paths: LabPaths, question: TraceQuestion, target: Target) -> Trace | None:
    """The connection of haproxy's own, where that is what the packet meets."""
    listens = target.address in haproxy.addresses(snapshot) and question.protocol == "tcp"
    service = balanced.service_at(snapshot, target.address, target.port) if listens else None
    if service is None or (find_place(snapshot, question.source).kind == "pod" and _is_vip(service)):
        return None
    node = balanced.node_behind(snapshot, paths, service, target.port)
    if not node:
        return None
    name = f"{service.namespace}/{service.name}"
    asked = replace(question, source=names.ROUTER, target=name, port=target.port, node=node, endpoint="", namespace="")
    return trace(snapshot, paths, asked)


def _passing(snapshot: Snapshot, question: TraceQuestion, way: Way) -> Passing | None:
    """The nginx of a Gateway that takes the connection, to pass it on."""
    if question.protocol != "tcp" or way.fate != "answered" or not way.there:
        return None
    return passed.at(snapshot, way.there[-1].packet.dst, way.there[-1].packet.dport)


def _next(snapshot: Snapshot, paths: LabPaths, question: TraceQuestion, passing: Passing | None) -> Trace | None:
    """The connection that it then opens."""
    if passing is None or passing.endpoint is None:
        return None
    pod, (address, port) = passing.pod, passing.endpoint
    asked = replace(
        question, source=f"{pod.namespace}/{pod.name}", target=address, port=port, endpoint="", namespace=""
    )
    return trace(snapshot, paths, replace(asked, node=""))


def _is_vip(service: Service) -> bool:
    """Whether kube-proxy leads pods to its address by itself."""
    return any(one.here for one in service.status.loadBalancer.ingress)


def _note(snapshot: Snapshot, target: Target) -> str:
    """Why it cannot be answered, where the target alone tells it."""
    if target.protocol == ICMP:
        return no_echo(snapshot, target.address)
    return nearby.port(snapshot, target.address, target.port, target.protocol)


def _target(snapshot: Snapshot, question: TraceQuestion) -> Target:
    name, port = question.target, question.port
    if question.node:
        return _node_port(snapshot, question)
    if name == names.OUTSIDE:
        outside = split(snapshot.lab.spec.underlay.outside)
        if snapshot.lab.spec.machines or not outside:
            raise NotFoundError("this lab has no host outside", "name an address: 203.0.113.10:80")
        where, protocol = outside[0].partition("/")[0], question.protocol.upper()
        return Target(name, "address", where, 0 if protocol == ICMP else port or 80, protocol)
    if question.protocol == "icmp":
        return find_targets(snapshot, name, None, ICMP)[0]
    return find_targets(snapshot, name, port, question.protocol.upper())[0]


def _node_port(snapshot: Snapshot, question: TraceQuestion) -> Target:
    node = snapshot.node(question.node)
    namespace, _, name = question.target.rpartition("/")
    service = snapshot.get(Service, name, namespace or "default")
    ports = [
        p.nodePort
        for p in (service.spec.ports if service else ())
        if p.nodePort and question.port in (None, p.port, p.nodePort) and p.protocol == question.protocol.upper()
    ]
    if not ports:
        raise InputError(
            f"{question.target} is no Service with a {question.protocol} node port",
            nearest(name, (s.name for s in snapshot.all(Service).values()))
            or "--node enters a Service of type NodePort or LoadBalancer by that node",
        )
    return Target(f"{question.target}@{node.name}", "nodePort", node.addresses[0], ports[0], question.protocol.upper())


def _by_endpoint(ways: tuple[Way, ...], endpoint: str) -> int:
    for number, way in enumerate(ways):
        if endpoint in (way.endpoint, parted(way.endpoint)[0]):
            return number
    known = ", ".join(dict.fromkeys(way.endpoint for way in ways if way.endpoint))
    raise InputError(
        f"no way leads to endpoint {endpoint}",
        f"endpoints: {known}" if known else "no way has one: leave --endpoint out",
    )


# --- one packet -------------------------------------------------------------------------------------------------------


class _Watched(NamedTuple):
    """What was seen of a packet: its frames on all machines, what conntrack made of it, and the nodes that could not be
    watched, with the reason."""

    shot: Shot
    frames: list[Frame]
    connections: list[Connection]
    unwatched: dict[str, str]


class _Observed(NamedTuple):
    """The ways, that of them which the packet went as it was seen, and what is to be said of it."""

    ways: tuple[Way, ...]
    chosen: int
    observation: Observation


class _Asked:
    """A packet of `protocol` from `place` to `target`, among the namespaces of `kernel`."""

    def __init__(self, snapshot: Snapshot, kernel: Namespaces, place: Place, target: Target, protocol: str) -> None:
        self._snapshot, self._kernel, self._protocol = snapshot, kernel, protocol
        self._place, self._target = place, target
        self._origin = kernel.name_of(place.netns)

    def predicted(self, port: int = SOURCE_PORT) -> tuple[Way, ...]:
        source, destination = (0, 0) if self._protocol == "icmp" else (port, self._target.port)
        flow = Flow("", self._target.address, self._protocol, source, destination)
        owners = Owners(self._snapshot, Wanted(self._snapshot), PolicyRules(self._snapshot))
        return predict(self._kernel, owners, self._origin, flow)

    def observed(self, ways: tuple[Way, ...], remote: RemoteKernels | None) -> _Observed:
        """The packet, sent for real, against the `ways` that were predicted."""
        kernel, end = self._kernel, (self._target.address, self._target.port)
        passed = {hop.netns for way in ways for hop in way.hops} | {self._origin}
        passed |= {where.netns for where in kernel.places.values() if where.kind != "pod"}
        shot, frames, connections, unwatched = self._watched(passed, remote)
        found = Recognition(shot, self._origin, end, self._protocol, connections)
        if shot.sport and self._protocol != "icmp":
            ways = self.predicted(shot.sport)
        sightings = list(_sightings(kernel, frames, found))
        blind = {namespace for namespace in passed if kernel.node_of(namespace) in unwatched}
        bridges = {(v.netns, i.name) for v in kernel.read.values() for i in v.interfaces.values() if i.kind == "bridge"}
        fate = (found.icmp_error(frames) if shot.fate == "lost" else None) or shot.fate
        verdict, remark = compare(ways, sightings, fate, bridges, blind), ""
        predicted = verdict.way.fate
        if fate == "lost" and predicted in ("refused", "unreachable") and sightings and found.silenced(frames):
            remark = "nobody said so: a kernel sends few ICMP errors, one a second to each address (icmp_ratelimit)"
            verdict = compare(ways, sightings, predicted, bridges, blind)
        observation = Observation(
            fate=fate,
            agrees=not verdict.differences,
            differences=verdict.differences,
            remark=remark,
            milliseconds=round(shot.milliseconds, 3),
            error=shot.error,
            connections=tuple(
                Translation(kernel.places[c.netns].place, c.original, c.reply) for c in found.connections(frames)
            ),
            unwatched=tuple(unwatched.values()),
        )
        ways = (*ways[: verdict.chosen], verdict.way, *ways[verdict.chosen + 1 :])
        return _Observed(ways, verdict.chosen, observation)

    def _watched(self, namespaces: set[str], remote: RemoteKernels | None) -> _Watched:
        """Sends it while all of `namespaces` are watched, each by its own machine."""
        kernel, target = self._kernel, self._target
        ports = {i.port for view in kernel.read.values() for i in view.interfaces.values() if i.kind == "vxlan"}
        ports = ports or {VXLAN_PORT}
        distant: dict[str, list[str]] = {}
        for namespace in namespaces:
            if node := kernel.node_of(namespace):
                distant.setdefault(node, []).append(namespace)
        unwatched: dict[str, str] = {}
        with remote.watch(distant, ports) if remote and distant else contextlib.nullcontext() as remote_watch:
            with Watch(kernel.present(namespaces), ports) as watch:
                shot = shoot(self._place.netns, target.address, target.port, self._protocol, PACKET_TIMEOUT)
                here = kernel.seen(watch)
            there = remote_watch.seen() if remote_watch else {}
            unwatched = remote_watch.failed if remote_watch else {}
        frames = aligned({"": here.frames} | {node: seen.frames for node, seen in there.items()}, "")
        connections = [c for seen in (here, *there.values()) for c in seen.connections]
        return _Watched(shot, frames, connections, unwatched)


def _sightings(kernel: Namespaces, frames: list[Frame], found: Recognition) -> Iterator[Sighting]:
    began = 0
    for frame, back in found.of(frames):
        began = began or frame.nanoseconds
        packet, outer = frame.packet.inner or frame.packet, frame.packet if frame.packet.inner else None
        view = kernel.read.get(frame.netns)
        device = view.interfaces.get(frame.interface) if view else None
        yield Sighting(
            netns=frame.netns,
            place=kernel.places[frame.netns].place,
            interface=frame.interface,
            direction="out" if frame.outgoing else "in",
            packet=flow_of(packet),
            microseconds=round((frame.nanoseconds - began) / 1000, 1),
            back=back,
            outer=flow_of(outer) if outer else None,
            vni=outer.vni if outer else 0,
            astray=frame.astray and not (device and device.master),  # a bridge's port takes in frames for everyone
        )
