"""One endpoint more of a large Service, written into every node by iptables-nft-restore: its own chain, and that of the
Service, whose probabilities are all others then. Two processes at a time, as there are cores."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from benchmarks import machine
from benchmarks.generate import address
from benchmarks.sync import feed
from k8snetlab.api.core import Service, ServicePort, ServiceSpec
from k8snetlab.api.discovery import SERVICE_NAME, Endpoint, EndpointSlice, EndpointSlicePort
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey, Rules, restore_payload
from k8snetlab.render.proxy import ProxyRules


def one_more(nodes: int, endpoints: int, rounds: int) -> Iterator[float]:
    """Seconds for each round, one after another, in namespaces that have the rules of so many endpoints."""
    before = _chains(endpoints)
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        names = [stack.enter_context(machine.namespace()) for _ in range(nodes)]
        _write(pool, names, before)
        for number in range(rounds):
            now = _chains(endpoints + number + 1)
            changed = {key: rules for key, rules in now.items() if before.get(key) != rules}
            began = time.perf_counter()
            _write(pool, names, changed)
            yield time.perf_counter() - began
            before = now


def _write(pool: ThreadPoolExecutor, names: list[str], chains: Mapping[ChainKey, Rules]) -> None:
    text = restore_payload(chains).splitlines()
    for writing in [pool.submit(feed, name, "nft", text) for name in names]:
        writing.result()


def _chains(endpoints: int) -> Mapping[ChainKey, Rules]:
    spec = ServiceSpec(ports=(ServicePort(port=80, name="http"),), clusterIP="10.96.0.50")
    service = Service(metadata=ObjectMeta(name="web", namespace="default"), spec=spec)
    meta = ObjectMeta(name="web-1", namespace="default", labels={SERVICE_NAME: "web"})
    found = tuple(Endpoint(addresses=(address(n + 256, 244),), nodeName="node1") for n in range(endpoints))
    ports = (EndpointSlicePort(name="http", port=8080),)
    piece = EndpointSlice(metadata=meta, endpoints=found, ports=ports)
    return dict(ProxyRules.build(Snapshot.of([service, piece], revision=1), "node1", "ipv4").chains)
