"""The first ping over a path that nobody has resolved, beside the same ping where every entry is there already.

A ping is an ICMP echo from a pod on node1 to a pod on node2, answered by the kernel; before each first ping node1
forgets all it knows of node2. The floor: the same pings (and the same pauses) with `resolve: proactive`.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from k8snetlab.client.client import Client
from k8snetlab.dataplane.operations import ItemOperation, Operation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour
from k8snetlab.kernel import netns
from k8snetlab.kernel.execute import execute
from k8snetlab.messages.nodes import MISSES, AnsweredMiss, MissesQuestion

PINGS = 300
FLOOD = 20_000
COMMAND = [sys.executable, "-m", "k8snetlab"]
POD = "{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {nodeName: %s, containers: [{name: c}]}}"


def main() -> None:
    lab = f"b{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory() as directory:
        os.environ["K8SNETLAB_RUN"], os.environ["K8SNETLAB_LAB"] = f"{directory}/run", lab
        file = Path(directory, "lab.yaml")
        try:
            _up(file, "{}")
            floor = _pings(lab, [])
            for routes in ("per-node", "flat"):
                _up(file, f"{{resolve: on-miss, routes: {routes}}}")
                told = _told(lab)
                first = _pings(lab, _entries(lab, told[0]))
                print(_line(f"first ping, on-miss, {routes}", first, 500, floor))
                answers = [miss.microseconds / 1e6 for miss in told]
                print(_line(f"  from hearing a miss to having answered it, {routes}", answers, 200))
            print(_flood(lab))
        finally:
            subprocess.run([*COMMAND, "down"], check=True, stdout=subprocess.DEVNULL)


def _line(what: str, seconds: Sequence[float], goal: float, floor: Sequence[float] = ()) -> str:
    """One row, in microseconds: the median, the 90th and 99th of a hundred, the goal, the floor's median."""
    median, *others = (statistics.quantiles(seconds, n=100)[n - 1] * 1e6 for n in (50, 90, 99))
    text = f"{what:<58} {median:7.0f} µs  (p90 {others[0]:.0f}, p99 {others[1]:.0f}, n={len(seconds)})"
    text += f"  goal {goal:.0f} µs {'met' if median <= goal else 'MISSED'}"
    return text + (f"  floor {statistics.median(floor) * 1e6:.0f} µs" if floor else "")


def _up(file: Path, network: str) -> None:
    lab = f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {{podCIDR: 172.30.0.0/16, network: {network}}}}}"
    file.write_text("\n---\n".join([lab, POD % ("a", "node1"), POD % ("b", "node2")]))
    subprocess.run([*COMMAND, "up", str(file)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)  # pods become ready, their news is stored: all that has an end of its own


def _told(lab: str) -> list[AnsweredMiss]:
    """What node1 was told for as many first pings as are measured."""
    told: list[AnsweredMiss] = []
    stream: Any = Client(lab).stream(MISSES, MissesQuestion("node1"))
    next(stream)
    thread = threading.Thread(target=lambda: told.extend(next(stream) for _ in range(PINGS)), daemon=True)
    thread.start()
    _pings(lab, None)
    thread.join(10)
    return told


def _entries(lab: str, told: AnsweredMiss) -> list[Operation]:
    """What makes node1 forget what it was told."""
    tunnel, mac, node = told.device, told.lladdr, f"{lab}.node1"
    entries = (Neighbour(tunnel, told.address, mac), FdbEntry(tunnel, mac, told.dst))
    return [ItemOperation("del", node, entry) for entry in entries]


def _pings(lab: str, forget: list[Operation] | None) -> list[float]:
    """The times of pings, before each of which `forget` is done; None: whatever there is to be forgotten."""
    target = json.loads(subprocess.check_output([*COMMAND, "get", "pod", "b", "-o", "json"]))["status"]["podIP"]
    times = []
    with netns.inside(f"{lab}.default.a"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with sock:
        sock.settimeout(5)
        _ping(sock, target, 0)
        for number in range(PINGS):
            execute(forget if forget is not None else _all(lab))
            time.sleep(0.002)
            times.append(_ping(sock, target, number + 1))
    return times


def _all(lab: str) -> list[Operation]:
    from k8snetlab.kernel.read import read

    node = read(f"{lab}.node1")
    entries = [entry for entry in (*node.neighbours, *node.fdb) if entry.dev == "flannel.1"]
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


def _flood(lab: str) -> str:
    """The daemon's share of a core while 20,000 packets to unknown addresses arrive, and until all are dealt with."""
    pid = json.loads(subprocess.check_output([*COMMAND, "status", "-o", "json"]))["daemon"]["pid"]
    with netns.inside(f"{lab}.default.a"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    before, began = _cpu(pid), time.perf_counter()
    with sock:
        for number in range(FLOOD):
            sock.sendto(b"?", (f"172.30.{100 + number // 250 % 100}.{number % 250 + 1}", 9))
        sent = time.perf_counter() - began
    time.sleep(max(1.0 - sent, 0.0))
    used = _cpu(pid) - before
    return f"{FLOOD} packets to unknown addresses in {sent:.2f} s: {used:.2f} s of a core in the daemon"


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
