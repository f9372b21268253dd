"""How long kube-proxy's rules take to generate, and what they weigh: ten endpoints a Service, no kernel.

The floor of a full generation: the same rules copied into one text.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator

import msgspec

from benchmarks.rows import Goal, Row
from benchmarks.run import Run
from k8snetlab.api.core import (
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from k8snetlab.api.discovery import SERVICE_NAME, Endpoint, EndpointSlice, EndpointSlicePort
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import restore_payload
from k8snetlab.kernel.iptables.payload import Payload
from k8snetlab.render.proxy import ProxyRules, Shared

ENDPOINTS = 10
CHANGES = 100


def rows(run: Run) -> Iterator[Row]:
    for services in (
        run.scale.services // 5,
        run.scale.services,
        *([run.scale.services * 2] if run.scale.large else []),
    ):
        run.say(f"{services} Services")
        yield from _measured(services, run.scale.rounds)
    yield from _weighed(run.scale.services)


def address(number: int, base: int) -> str:
    """The address of that number from 10.BASE.0.0 on."""
    return f"10.{base + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def cluster(services: int) -> Snapshot:
    """`services` cluster-IP Services with ten endpoints each, on two nodes."""
    objects: list[Object] = []
    for node in (1, 2):
        status = NodeStatus(addresses=(NodeAddress(type="InternalIP", address=f"192.168.0.{20 + node}"),))
        subnet = NodeSpec(podCIDRs=(f"10.244.{node}.0/24",))
        objects.append(Node(metadata=ObjectMeta(name=f"node{node}"), spec=subnet, status=status))
    for i in range(services):
        spec = ServiceSpec(ports=(ServicePort(port=80, name="http"),), clusterIP=address(i, 96))
        objects.append(Service(metadata=ObjectMeta(name=f"service-{i}", namespace="bench"), spec=spec))
        endpoints = tuple(
            Endpoint(addresses=(address(i * ENDPOINTS + e, 244),), nodeName=f"node{1 + e % 2}")
            for e in range(ENDPOINTS)
        )
        meta = ObjectMeta(name=f"service-{i}-abcde", namespace="bench", labels={SERVICE_NAME: f"service-{i}"})
        ports = (EndpointSlicePort(name="http", port=8080),)
        objects.append(EndpointSlice(metadata=meta, endpoints=endpoints, ports=ports))
    return Snapshot.of(objects, revision=1)


def _measured(services: int, rounds: int) -> Iterator[Row]:
    snapshot = cluster(services)
    rules = ProxyRules.build(snapshot, "node1", "ipv4")
    chains = dict(rules.chains)
    gc.collect()
    full, floor = [], []
    for _ in range(rounds):
        full.append(_seconds(lambda: ProxyRules.build(snapshot, "node1", "ipv4")))
        floor.append(_seconds(lambda: restore_payload(chains)))
    note = "the floor is the same rules copied into one text"
    yield Row(f"{services} Services: all rules", tuple(full), tuple(floor), note=note)
    updates = []
    later = snapshot
    for i in range(min(CHANGES, services)):
        later = _without_an_endpoint(later, i, i + 2)
        began = time.perf_counter()
        rules, delta = rules.update(later)
        str(Payload(delta))
        updates.append(time.perf_counter() - began)
        assert len(delta.write) == 1 and len(delta.delete) == 1, delta
    yield Row(f"{services} Services: one endpoint gone", tuple(updates), goals=(Goal(0.005, ""),))


def _without_an_endpoint(snapshot: Snapshot, service: int, revision: int) -> Snapshot:
    key = ("bench", f"service-{service}-abcde")
    old = snapshot.all(EndpointSlice)[key]
    new = msgspec.structs.replace(old, endpoints=old.endpoints[1:])
    return snapshot.changed([(EndpointSlice, key, new)], revision)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _weighed(services: int) -> Iterator[Row]:
    snapshot = cluster(services)
    gc.collect()
    tracemalloc.start()
    try:
        shared = Shared()
        held = []
        for node, what in (("node1", "rules of one node"), ("node2", "with those of a second")):
            held.append(ProxyRules.build(snapshot, node, "ipv4", shared=shared))
            weight = tracemalloc.get_traced_memory()[0] / 1e6
            yield Row(f"{services} Services: {what}", (weight,), unit="MB")
    finally:
        tracemalloc.stop()
