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
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType

import msgspec

from benchmarks.growth.measured import StoreCost
from benchmarks.labs import deployment, lab_object, service
from benchmarks.run import CannotRunError, Run
from k8snetlab.kernel import netns
from k8snetlab.store.serve import serve
from k8snetlab.testing.machines import PORT, Machine, Wire, namespaces, take_down, url
from k8snetlab.testing.waiting import eventually

MACHINES = 3
IDLE = 30.0
PODS = 5
METRICS = 2381
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
        with _etcd(first, directory), Writes(first) as writes:
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
    return StoreCost(
        machines=MACHINES,
        idle_writes=idle.objects / idle.seconds / MACHINES,
        renewals=idle.renewals / idle.seconds / MACHINES,
        pod_writes=pods.objects / PODS,
        pod_bytes=pods.octets / PODS,
        talk_writes=pods.talk / PODS / (MACHINES - 1),
        join_writes=join.objects,
        join_bytes=join.octets,
    )


@contextmanager
def _etcd(machine: Machine, directory: Path) -> Iterator[None]:
    with netns.inside(machine.namespace):
        etcd = serve(directory / "etcd", url(machine), metrics=f"http://127.0.0.1:{METRICS}")
        try:
            etcd.wait_ready()
        except BaseException:
            etcd.kill()
            raise
    try:
        yield
    finally:
        etcd.kill()


def _join(machine: Machine, first: Machine, shared: tuple[str, ...]) -> None:
    machine.run("node", "join", *shared, "--name", machine.node)
    eventually(lambda: all(node["agent"]["synced"] for node in first.json("status")["nodes"]))
    time.sleep(CALM)


def _scale(first: Machine) -> None:
    for number in range(PODS):
        first.run("scale", "deployment/web", "--replicas", str(number + 2))
        time.sleep(CALM)


class Counted(msgspec.Struct):
    """What came."""

    objects: int = 0
    """Writes below /registry/ and flannel's prefix, which every machine watches."""
    octets: int = 0
    """Of their keys and values."""
    talk: int = 0
    """Writes of what machines ask and answer each other."""
    renewals: float = 0.0
    seconds: float = 0.0

    def since(self, before: Counted) -> Counted:
        return Counted(*(getattr(self, name) - getattr(before, name) for name in self.__struct_fields__))


class Writes:
    """A watch of every key of the etcd that runs on a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._counted = Counted()
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
        before = self._now()
        work()
        return self._now().since(before)

    def _now(self) -> Counted:
        return msgspec.structs.replace(self._counted, renewals=self._renewals(), seconds=time.monotonic())

    def _renewals(self) -> float:
        """How many leases etcd has renewed, as its metrics say."""
        connection = http.client.HTTPConnection("127.0.0.1", METRICS, timeout=10)
        with netns.inside(self._machine.namespace):
            connection.request("GET", "/metrics")
        with closing(connection):
            lines = connection.getresponse().read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("etcd_debugging_lease_renewed_total "))

    def _read(self) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError):
            answer = self._connection.getresponse()
            while line := answer.readline():
                for event in json.loads(line)["result"].get("events", ()):
                    self._count(*(base64.b64decode(event["kv"].get(part, "")) for part in ("key", "value")))

    def _count(self, key: bytes, value: bytes) -> None:
        if key.startswith(b"/k8snetlab/"):
            self._counted.talk += 1
        else:
            self._counted.objects += 1
            self._counted.octets += len(key) + len(value)
