"""Five thousand Services in a lab of two nodes: `up` beside its restores, one endpoint gone beside one rule replaced.

Ten endpoints a Service. The floor of `up`: the same rules by iptables-restore, both nodes' at once, in blocks of 200
chains with nft. The floor of a change is one rule replaced by itself in both nodes: the kernel walks all rules whatever
was changed.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

from benchmarks import machine
from benchmarks.generate import ENDPOINTS, address, cluster
from benchmarks.labs import Lab, lab, lab_object
from benchmarks.rows import Goal, Row
from benchmarks.run import Run
from benchmarks.sync import feed, in_blocks
from k8snetlab.client.client import Client
from k8snetlab.dataplane.rules import restore_payload
from k8snetlab.kernel import iptables, netns
from k8snetlab.messages.nodes import PAUSE, NodeName
from k8snetlab.render.proxy import ProxyRules

CHANGES = 20
NODES = ("node1", "node2")
ONE_RULE = "*nat\n-R KUBE-MARK-MASQ 1 -j MARK --or-mark 0x00004000\nCOMMIT"


def rows(run: Run) -> Iterator[Row]:
    for services in (run.scale.services, *([run.scale.services * 2] if run.scale.large else [])):
        run.say(f"{services} Services: the restores of two nodes")
        floor = restores(services)
        with lab() as one:
            run.say(f"{services} Services: up")
            took = one.up(objects(services))
            note = "the floor of up is both nodes' iptables-restore at once"
            yield Row(f"{services} Services: up", (took,), (floor,), goals=(Goal(1.3),), note=note)
            if iptables.variant() == "nft":
                run.say(f"{services} Services: one endpoint gone")
                yield from _changes(one, services)
            daemon, _ = one.pids()
            yield Row(f"{services} Services: the daemon's memory", (machine.resident(daemon),), unit="MB")
        machine.emptied()


def restores(services: int) -> float:
    """Seconds until two namespaces have the rules, written by as many processes."""
    chains = dict(ProxyRules.build(cluster(services), "node1", "ipv4").chains)
    variant = iptables.variant()
    text = in_blocks(chains, 200) if variant == "nft" else restore_payload(chains).splitlines()
    with machine.namespace() as one, machine.namespace() as other, ThreadPoolExecutor() as pool:
        began = time.perf_counter()
        for writing in [pool.submit(feed, name, variant, text) for name in (one, other)]:
            writing.result()
        return time.perf_counter() - began


def _changes(one: Lab, services: int) -> Iterator[Row]:
    """An EndpointSlice is put through the REST API; each node's namespace tells when its rules have changed."""
    client = one.client
    with ExitStack() as stack:
        listeners = [stack.enter_context(Generations(one.netns(node))) for node in NODES]
        changed = [_change(client, listeners, number) for number in range(min(CHANGES, services))]
        for node in NODES:
            client.call(PAUSE, NodeName(node))
        floor = [_one_rule(one, listeners) for _ in changed]
    note = "the floor of one endpoint gone is one rule replaced by itself, in both nodes at once"
    what = f"{services} Services: one endpoint gone"
    yield Row(what, tuple(chain(*changed)), tuple(chain(*floor)), goals=(Goal(1.1),), note=note)
    yield Row(f"{what} in both nodes", tuple(map(max, changed)), tuple(map(max, floor)))


def objects(services: int) -> list[dict[str, Any]]:
    """A lab of two nodes, and Services with endpoints that nobody is."""
    found = [lab_object(nodes=len(NODES), podCIDR="10.244.0.0/14", serviceCIDR="10.96.0.0/14")]
    found.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}})
    for i in range(services):
        name = f"service-{i}"
        spec = {"clusterIP": address(i + 256, 96), "ports": [{"port": 80, "name": "http"}]}
        meta: dict[str, Any] = {"name": name, "namespace": "bench"}
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        endpoints = [
            {"addresses": [address(i * ENDPOINTS + e + 1024, 244)], "nodeName": NODES[e % 2]} for e in range(ENDPOINTS)
        ]
        found.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**meta, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8080}],
                "endpoints": endpoints,
            }
        )
    return found


def _change(client: Client, listeners: Sequence[Generations], number: int) -> list[float]:
    """Seconds from the request until each node's kernel has the rules without one endpoint of Service `number`."""
    piece = client.get("endpointslices", f"service-{number}", "bench")
    piece["endpoints"] = piece["endpoints"][1:]
    with _listening(listeners) as heard:
        began = time.perf_counter()
        client._json("PUT", client._path("endpointslices", "bench", piece["metadata"]["name"]), piece)
    return [one.result() - began for one in heard]


def _one_rule(one: Lab, listeners: Sequence[Generations]) -> list[float]:
    """The same of a rule that is replaced by itself, in both nodes at once, as their agents write."""
    with _listening(listeners) as heard, ThreadPoolExecutor() as pool:
        began = time.perf_counter()
        for node in NODES:
            pool.submit(feed, one.netns(node), "nft", ONE_RULE.splitlines())
    return [each.result() - began for each in heard]


@contextmanager
def _listening(listeners: Sequence[Generations]) -> Iterator[list[Future[float]]]:
    """Afterwards: when each heard of the next transaction. What is still going on from the last one is let to end."""
    for each in listeners:
        each.settle()
    with ThreadPoolExecutor(len(listeners)) as pool:
        yield [pool.submit(each.next_one) for each in listeners]


class Generations:
    """Hears nf_tables of one namespace say that a transaction is done: NFT_MSG_NEWGEN to group NFNLGRP_NFTABLES."""

    def __init__(self, name: str) -> None:
        with netns.inside(name):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self._socket.settimeout(60)
        self._socket.bind((0, 0))
        self._socket.setsockopt(270, 1, 7)

    def __enter__(self) -> Generations:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def settle(self) -> None:
        """Forgets what was told, until nothing has been for a quarter of a second (so many rules that the kernel could
        not keep all that it had to tell are forgotten, too).
        """
        self._socket.settimeout(0.25)
        while True:
            try:
                self._socket.recv(1 << 20)
            except TimeoutError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
        self._socket.settimeout(60)

    def next_one(self) -> float:
        """When the next transaction was done, on time.perf_counter()'s clock."""
        while True:
            data, at, offset = self._socket.recv(1 << 20), time.perf_counter(), 0
            while offset < len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == 10 << 8 | 15:
                    return at
                offset += length + 3 & ~3
