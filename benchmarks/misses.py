"""The first ping over a path that nobody has resolved, beside the same ping where every entry is there already.

A ping is an ICMP echo from a pod on node1 to a pod on node2, answered by the kernel; before each first ping node1
forgets all it knows of node2. The floor: the same pings (and the same pauses) with `resolve: proactive`.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import machine
from benchmarks.labs import Lab, lab, lab_object
from benchmarks.rows import Goal, Row
from benchmarks.run import FailedError, Run
from k8snetlab.dataplane.operations import ItemOperation, Operation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour
from k8snetlab.kernel import netns
from k8snetlab.kernel.execute import execute
from k8snetlab.kernel.read import read
from k8snetlab.messages.nodes import MISSES, AnsweredMiss, MissesQuestion

FLOOD = 20_000


def rows(run: Run) -> Iterator[Row]:
    pings = run.scale.rounds * 100
    with lab() as one:
        _up(one, {})
        run.say("pings where every entry is there")
        floor = tuple(_pings(one, [], pings))
        for routes in ("per-node", "flat"):
            run.say(f"first pings, on-miss, {routes}")
            _up(one, {"resolve": "on-miss", "routes": routes})
            told = _told(one, pings)
            first = tuple(_pings(one, _entries(one, told[0]), pings))
            note = "the floor is a ping where every entry is there"
            yield Row(f"first ping, on-miss, {routes}", first, floor, goals=(Goal(500e-6, ""),), note=note)
            answers = tuple(miss.microseconds / 1e6 for miss in told)
            yield Row(f"a miss heard to answered, {routes}", answers, goals=(Goal(200e-6, ""),))
        run.say(f"{FLOOD} packets to unknown addresses")
        yield Row(f"{FLOOD} unknown addresses: of a core, in the daemon", (_flood(one),))


def _up(one: Lab, network: dict[str, str]) -> None:
    objects = [lab_object(podCIDR="172.30.0.0/16", network=network, nodes=2), _pod("a", "node1"), _pod("b", "node2")]
    one.up(objects)
    time.sleep(1)  # pods become ready, their news is stored: all that has an end of its own


def _pod(name: str, node: str) -> dict[str, Any]:
    spec = {"nodeName": node, "containers": [{"name": "c"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _told(one: Lab, pings: int) -> list[AnsweredMiss]:
    """What node1 was told for as many first pings as are measured."""
    told: list[AnsweredMiss] = []
    stream: Any = one.client.stream(MISSES, MissesQuestion("node1"))
    next(stream)
    thread = threading.Thread(target=lambda: told.extend(next(stream) for _ in range(pings)), daemon=True)
    thread.start()
    _pings(one, None, pings)
    thread.join(10)
    if not told:
        raise FailedError("no miss was answered")
    return told


def _entries(one: Lab, told: AnsweredMiss) -> list[Operation]:
    """What makes node1 forget what it was told."""
    tunnel, mac, node = told.device, told.lladdr, one.netns("node1")
    entries = (Neighbour(tunnel, told.address, mac), FdbEntry(tunnel, mac, told.dst))
    return [ItemOperation("del", node, entry) for entry in entries]


def _pings(one: Lab, forget: list[Operation] | None, pings: int) -> list[float]:
    """The times of pings, before each of which `forget` is done; None: whatever there is to be forgotten."""
    target = one.json("get", "pod", "b")["status"]["podIP"]
    times = []
    with netns.inside(one.netns("default", "a")):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with sock:
        sock.settimeout(5)
        _ping(sock, target, 0)
        for number in range(pings):
            execute(forget if forget is not None else _all(one))
            time.sleep(0.002)
            times.append(_ping(sock, target, number + 1))
    return times


def _all(one: Lab) -> list[Operation]:
    node = read(one.netns("node1"))
    held: tuple[Neighbour | FdbEntry, ...] = (*node.neighbours, *node.fdb)
    entries = [entry for entry in held if entry.dev == "flannel.1"]
    return [ItemOperation("del", node.name, entry) for entry in entries]


def _ping(sock: socket.socket, target: str, number: int) -> float:
    header = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, number & 0xFFFF)
    total = sum(struct.unpack("!4H", header))
    packet = header[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + header[4:]
    began = time.perf_counter()
    sock.sendto(packet, (target, 0))
    while True:
        reply = sock.recv(2048)[20:]
        if reply[:1] == b"\0" and reply[4:8] == header[4:8]:
            return time.perf_counter() - began


def _flood(one: Lab) -> float:
    """Seconds of a core that the daemon needs for packets to unknown addresses, until all are dealt with."""
    daemon, _ = one.pids()
    with netns.inside(one.netns("default", "a")):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    before, began = machine.cpu(daemon), time.perf_counter()
    with sock:
        for number in range(FLOOD):
            sock.sendto(b"?", (f"172.30.{100 + number // 250 % 100}.{number % 250 + 1}", 9))
    time.sleep(max(1.0 - (time.perf_counter() - began), 0.0))
    return machine.cpu(daemon) - before
