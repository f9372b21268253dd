"""How long kube-proxy's rules take to generate, and what they weigh: `python benchmarks/bench_rules.py [SERVICES …]`.

Ten endpoints a Service. Beside each full generation stands its floor: the same rules copied into one text.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable

import msgspec

from k8snetlab.api.core import Node, NodeAddress, NodeSpec, NodeStatus, Service, ServicePort, ServiceSpec
from k8snetlab.api.discovery import SERVICE_NAME, Endpoint, EndpointSlice, EndpointSlicePort
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import restore_payload
from k8snetlab.render.proxy import ProxyRules, Shared

ENDPOINTS = 10


def cluster(services: int) -> Snapshot:
    """`services` cluster-IP Services with ten endpoints each, on two nodes."""

    def address(number: int, base: int) -> str:
        return f"10.{base + (number >> 16)}.{number >> 8 & 255}.{number & 255}"

    objects = []
    for node in (1, 2):
        status = NodeStatus(addresses=(NodeAddress(type="InternalIP", address=f"192.168.0.{20 + node}"),))
        spec = NodeSpec(podCIDRs=(f"10.244.{node}.0/24",))
        objects.append(Node(metadata=ObjectMeta(name=f"node{node}"), spec=spec, status=status))
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


def without_an_endpoint(snapshot: Snapshot, service: int, revision: int) -> Snapshot:
    key = ("bench", f"service-{service}-abcde")
    old = snapshot.all(EndpointSlice)[key]
    new = msgspec.structs.replace(old, endpoints=old.endpoints[1:])
    return snapshot.changed([(EndpointSlice, key, new)], revision)


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def measure(services: int) -> str:
    snapshot = cluster(services)
    gc.collect()
    full = min(milliseconds(lambda: ProxyRules.build(snapshot, "node1", "ipv4")) for _ in range(3))
    rules = ProxyRules.build(snapshot, "node1", "ipv4")
    chains = rules.chains
    floor = min(milliseconds(lambda: restore_payload(chains)) for _ in range(3))
    updates = []
    later = snapshot
    for i in range(100):
        later = without_an_endpoint(later, i, i + 2)
        start = time.perf_counter()
        rules, delta = rules.update(later)
        updates.append((time.perf_counter() - start) * 1000)
        assert len(delta.write) == 1 and len(delta.delete) == 1, delta
    rules, delta, chains = ProxyRules.build(Snapshot(), "node1", "ipv4"), None, {}
    gc.collect()
    tracemalloc.start()
    shared = Shared()
    held = [ProxyRules.build(snapshot, "node1", "ipv4", shared=shared)]
    one = tracemalloc.get_traced_memory()[0] / 1e6
    held.append(ProxyRules.build(snapshot, "node2", "ipv4", shared=shared))
    two = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    return (
        f"{services} Services: generate {full:.0f} ms (as text {floor:.0f} ms), one endpoint gone"
        f" {statistics.median(updates):.2f} ms (worst {max(updates):.2f}),"
        f" memory {one:.0f} MB, with a second node {two:.0f} MB"
    )


def main() -> None:
    for services in map(int, sys.argv[1:] or ("1000", "5000", "10000")):
        print(measure(services), flush=True)


if __name__ == "__main__":
    main()
