"""How long kube-proxy's rules take to the kernel: full syncs, one changed endpoint, and what the daemon weighs.

`python -m benchmarks.bench_sync [--large]`; ten endpoints a Service. The floors are iptables' own programs fed with the
same rules: in one piece (nft: 1.6 s for 1,000 Services, but 158 s for 5,000, which only --large waits for), in blocks
of 200 chains, and for the changed endpoint, of one rule only: the kernel walks all rules whatever was changed.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.bench_rules import ENDPOINTS, address, cluster
from benchmarks.report import large, line, memory, ratio
from k8snetlab.agent.proxy import ProxyPart
from k8snetlab.agent.tables import Table
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.client.client import Client
from k8snetlab.dataplane.rules import ChainKey, Rules, restore_payload
from k8snetlab.kernel import iptables, netns
from k8snetlab.kernel.iptables import command
from k8snetlab.lab import up
from k8snetlab.messages.changes import UP, Done, Up
from k8snetlab.messages.nodes import PAUSE, NodeName
from k8snetlab.messages.status import STATUS
from k8snetlab.messages.verb import Nothing
from k8snetlab.render.proxy import ProxyRules, Shared

CHANGES = 30
NODES = ("node1", "node2")
LOCK = Path("/run/xtables.lock")
ONE_RULE = "*nat\n-R KUBE-MARK-MASQ 1 -j MARK --or-mark 0x00004000\nCOMMIT"


def main() -> None:
    for services, goal, rounds in ((1000, 1.5, 3), (5000, 8.0, 3), *([(10_000, None, 1)] if large() else [])):
        full_nft(services, goal, rounds, in_one_piece=services == 1000 or (large() and services == 5000))
    for services, rounds in ((1000, 3), (5000, 3), *([(10_000, 1)] if large() else [])):
        full_legacy(services, rounds)
    one_change(5000)
    if large():
        one_change(10_000)


# --- full syncs -----------------------------------------------------------------------------------------------------


def full_nft(services: int, goal: float | None, rounds: int, in_one_piece: bool) -> None:
    snapshot = cluster(services)
    chains = dict(ProxyRules.build(snapshot, "node1", "ipv4").chains)
    ours, blocks, whole = [], [], []
    for number in range(rounds):
        ours.append(sync("nft", snapshot))
        blocks.append(restore("nft", in_blocks(chains, 200)))
        if in_one_piece and (number == 0 or services == 1000):
            whole.append(restore("nft", restore_payload(chains).splitlines()))
    what = f"nft: {services} Services, from objects to the kernel"
    print(line(what, ours, goal, blocks), "(floor: blocks of 200)", flush=True)
    if whole:
        print(line(f"nft: {services} Services, iptables-nft-restore in one piece", whole), flush=True)


def full_legacy(services: int, rounds: int) -> None:
    snapshot = cluster(services)
    text = restore_payload(ProxyRules.build(snapshot, "node1", "ipv4").chains).splitlines()
    ours, floor = [], []
    for _ in range(rounds):
        ours.append(sync("legacy", snapshot))
        floor.append(restore("legacy", text))
    what = f"legacy: {services} Services, from objects to the kernel"
    told = ratio(what, ours, 1.5, floor) if services == 5000 else line(what, ours, None, floor)
    print(told, "(floor: iptables-legacy-restore in one piece)", flush=True)


def sync(variant: iptables.Variant, snapshot: Snapshot) -> float:
    with namespace() as name:
        began = time.perf_counter()
        table = iptables.open(name, "ipv4", variant, LOCK.with_name(f"{name}.lock"))
        part = ProxyPart("kube-proxy", "node1", table, Shared(), counters=False)
        part.want(snapshot, ())
        Table(table, [part]).sync()
        took = time.perf_counter() - began
        LOCK.with_name(f"{name}.lock").unlink(missing_ok=True)
    return took


def restore(variant: iptables.Variant, text: Sequence[str]) -> float:
    with namespace() as name:
        began = time.perf_counter()
        feed(name, variant, text)
        return time.perf_counter() - began


def feed(name: str, variant: iptables.Variant, text: Sequence[str]) -> None:
    command.restore(name, [f"iptables-{variant}-restore", "-w", "5", "--noflush"], LOCK, text)


def in_blocks(chains: dict[ChainKey, Rules], size: int) -> list[str]:
    """Endpoints, then Services, then what jumps to them; `size` chains in a transaction."""
    rank = {"KUBE-MARK-MASQ": 0, "KUBE-NODEPORTS": 3, "KUBE-SERVICES": 4}
    kinds = {"SEP": 1, "SVC": 2}
    keys = sorted(chains, key=lambda key: (key.table, rank.get(key.chain, kinds.get(key.chain[5:8], 5))))
    parts = (keys[start : start + size] for start in range(0, len(keys), size))
    return "".join(restore_payload({key: chains[key] for key in part}) for part in parts).splitlines()


@contextmanager
def namespace() -> Iterator[str]:
    name = f"bench{secrets.token_hex(3)}"
    netns.create(name)
    try:
        yield name
    finally:
        netns.delete(name)


# --- one change, in a running lab -----------------------------------------------------------------------------------


def one_change(services: int) -> None:
    """An EndpointSlice is put through the REST API; each node's namespace tells when its rules have changed."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        os.environ["K8SNETLAB_RUN"] = directory
        lab = f"b{secrets.token_hex(3)}"
        stack.callback(
            subprocess.run,
            [sys.executable, "-m", "k8snetlab", "--lab", lab, "down"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        client = up.start(lab)
        began = time.perf_counter()
        done = [event for event in client.stream(UP, Up(objects=objects(lab, services))) if isinstance(event, Done)]
        assert done, "up has not come to its end"
        print(line(f"{services} Services: up of a lab of two nodes", [time.perf_counter() - began]), flush=True)
        if iptables.variant() == "nft":
            ears = [stack.enter_context(Ear(f"{lab}.{node}")) for node in NODES]
            changed = [change(client, ears, number) for number in range(CHANGES)]
            for node in NODES:
                client.call(PAUSE, NodeName(node))
            floor = [one_rule(lab, ears) for _ in range(CHANGES // 2)]
            what = f"{services} Services: one endpoint gone, until a node's kernel has it"
            goal = 0.06 if services == 5000 else None
            print(line(what, [*chain(*changed)], goal, [*chain(*floor)]), "(floor: one rule replaced)")
            print(line("  until both have it", [max(both) for both in changed]), flush=True)
        resident = rss(client.call(STATUS, Nothing()).daemon.pid)
        print(memory(f"{services} Services: the daemon's memory", resident, 400), flush=True)


def objects(lab: str, services: int) -> list[dict[str, Any]]:
    spec = {
        "nodes": len(NODES),
        "podCIDR": "10.244.0.0/14",
        "serviceCIDR": "10.96.0.0/14",
        "proxy": {"iptables": "auto"},
    }
    found: list[dict[str, Any]] = [
        {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "metadata": {"name": lab}, "spec": spec},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}},
    ]
    for i in range(services):
        name = f"service-{i}"
        ports = [{"port": 80, "name": "http"}]
        spec = {"clusterIP": address(i + 256, 96), "ports": ports}
        meta: dict[str, Any] = {"name": name, "namespace": "bench"}
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        endpoints = [
            {"addresses": [address(i * ENDPOINTS + e + 1024, 244)], "nodeName": NODES[e % 2]} for e in range(ENDPOINTS)
        ]
        meta = {"name": name, "namespace": "bench", "labels": {"kubernetes.io/service-name": name}}
        found.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": meta,
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8080}],
                "endpoints": endpoints,
            }
        )
    return found


def change(client: Client, ears: Sequence[Ear], number: int) -> list[float]:
    """Seconds from the request until each node's kernel has the rules without one endpoint of Service `number`."""
    piece = client.get("endpointslices", f"service-{number}", "bench")
    piece["endpoints"] = piece["endpoints"][1:]
    with listening(ears) as heard:
        began = time.perf_counter()
        client._json("PUT", client._path("endpointslices", "bench", piece["metadata"]["name"]), piece)
    return [one.result() - began for one in heard]


def one_rule(lab: str, ears: Sequence[Ear]) -> list[float]:
    """The same of a rule that is replaced by itself, in both nodes at once, as their agents write."""
    with listening(ears) as heard, ThreadPoolExecutor() as pool:
        began = time.perf_counter()
        for node in NODES:
            pool.submit(feed, f"{lab}.{node}", "nft", ONE_RULE.splitlines())
    return [one.result() - began for one in heard]


@contextmanager
def listening(ears: Sequence[Ear]) -> Iterator[list[Future[float]]]:
    """Afterwards: when each heard of the next transaction. What is still going on from the last one is let to end."""
    time.sleep(0.25)
    with ThreadPoolExecutor(len(ears)) as pool:
        yield [pool.submit(ear.next_generation) for ear in ears]


class Ear:
    """Hears nf_tables of one namespace say that a transaction is done: NFT_MSG_NEWGEN to group NFNLGRP_NFTABLES."""

    def __init__(self, name: str) -> None:
        with netns.inside(name):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self._socket.bind((0, 0))
        self._socket.setsockopt(270, 1, 7)

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next_generation(self) -> float:
        while True:
            data, at, offset = self._socket.recv(1 << 20), time.perf_counter(), 0
            while offset < len(data):
                length, kind = struct.unpack_from("=IH", data, offset)
                if kind == 10 << 8 | 15:
                    return at
                offset += length + 3 & ~3


def rss(pid: int) -> float:
    """Megabytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
