"""What machines of a lab write into their etcd: counted, and weighed, by a watch of all its keys."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from benchmarks.growth.measured import StoreCost
from benchmarks.labs import deployment, lab_object, service
from benchmarks.run import CannotRunError, Run
from k8snetlab.kernel import netns
from k8snetlab.testing.machines import PORT, Machine, Wire, namespaces, store_on, take_down, url
from k8snetlab.testing.waiting import eventually

MACHINES = 3
IDLE = 30.0
PODS = 5
CALM = 3.0
"""Seconds after which what a change brings is in the store."""


def cost(run: Run) -> StoreCost:
    """Three machines, each a namespace with a daemon of its own, on one etcd."""
    if shutil.which("etcd") is None:
        raise CannotRunError("no etcd: apt-get install etcd-server")
    # The path of a socket has at most 107 octets: not in TMPDIR, which may be long.
    with tempfile.TemporaryDirectory(prefix="k8snetlab-bench-", dir="/tmp") as place, namespaces() as namespace:
        directory = Path(place)
        wire = Wire(namespace, directory)
        machines = [wire.machine() for _ in range(MACHINES)]
        first, last = machines[0], machines[-1]
        file = directory / "lab.yaml"
        objects = [lab_object(machines=True), deployment("web", 1), service("web")]
        file.write_text("".join(f"---\n{json.dumps(obj)}\n" for obj in objects))
        with store_on(first, directory), Writes(first) as writes:
            try:
                shared = ("--store", url(first), "--insecure", "--iface", "eth1")
                run.say(f"the store: {MACHINES} machines")
                first.run("up", str(file), "--node", first.node, *shared)
                for other in machines[1:-1]:
                    _join(other, first, shared)
                join = writes.during(lambda: _join(last, first, shared))
                run.say(f"the store: {IDLE:.0f} s in which nothing happens")
                time.sleep(CALM)
                idle = writes.during(lambda: time.sleep(IDLE))
                run.say(f"the store: {PODS} pods more")
                pods = writes.during(lambda: _scale(first))
            finally:
                take_down(machines[::-1])
    rate = idle.count / idle.seconds
    return StoreCost(
        machines=MACHINES,
        idle_writes=rate / MACHINES,
        idle_bytes=idle.octets / idle.count if idle.count else 0.0,
        pod_writes=max(pods.count - rate * pods.seconds, 0.0) / PODS,
        pod_bytes=max(pods.octets - idle.octets / idle.seconds * pods.seconds, 0.0) / PODS,
        join_writes=max(join.count - rate * join.seconds, 0.0),
        join_bytes=max(join.octets - idle.octets / idle.seconds * join.seconds, 0.0),
    )


def _join(machine: Machine, first: Machine, shared: tuple[str, ...]) -> None:
    machine.run("node", "join", *shared, "--name", machine.node)
    eventually(lambda: all(node["agent"]["synced"] for node in first.json("status")["nodes"]))
    time.sleep(CALM)


def _scale(first: Machine) -> None:
    for number in range(PODS):
        first.run("scale", "deployment/web", "--replicas", str(number + 2))
        time.sleep(CALM)


class Counted:
    """What came in some seconds."""

    def __init__(self, count: int, octets: int, seconds: float) -> None:
        self.count, self.octets, self.seconds = count, octets, seconds


class Writes:
    """A watch of every key of the etcd that runs on a machine."""

    def __init__(self, machine: Machine) -> None:
        self.count = self.octets = 0
        self._connection = http.client.HTTPConnection(machine.address, PORT, timeout=600)
        with netns.inside(machine.namespace):
            self._connection.connect()
        everything = base64.b64encode(b"\0").decode()
        body = json.dumps({"create_request": {"key": everything, "range_end": everything}})
        self._connection.request("POST", "/v3/watch", body)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Writes:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._connection.close()

    def during(self, work: Callable[[], None]) -> Counted:
        """What was written while something was done."""
        count, octets, began = self.count, self.octets, time.monotonic()
        work()
        return Counted(self.count - count, self.octets - octets, time.monotonic() - began)

    def _read(self) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError):
            answer = self._connection.getresponse()
            while line := answer.readline():
                for event in json.loads(line)["result"].get("events", ()):
                    held = event["kv"]
                    self.count += 1
                    self.octets += sum(len(base64.b64decode(held.get(part, ""))) for part in ("key", "value"))
