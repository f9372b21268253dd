"""In by an Ingress: requests beside the same nginx configured by hand, a changed endpoint, 1,000 hosts.

Whoever is asked in the end is an nginx that answers by itself, so that it is nobody's bottleneck; all of them are pods
of one lab, and the client is its node.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import asking
from benchmarks.asking import Door, seconds, seconds_of_a_core, worker
from benchmarks.floors.nginx import HAND, THERE
from benchmarks.labs import Lab, lab, lab_object
from benchmarks.rows import Goal, Row
from benchmarks.run import CannotRunError, FailedError, Run
from benchmarks.tcp import joined
from k8snetlab.dataplane import names
from k8snetlab.kernel import netns, processes
from k8snetlab.messages.changes import APPLY, Change

HOST = "there.example"
REQUESTS, PAIRS = 20_000, 100
"""The requests that a row tells of, and how often some of each kind are measured in a round."""
HOSTS, CHANGES = 1000, 10


def rows(run: Run) -> Iterator[Row]:
    if shutil.which("nginx") is None:
        raise CannotRunError("nginx is not installed: apt-get install nginx-light")
    with the_lab() as one:
        yield from _requests(one, run)
        run.say("changed endpoints")
        yield Row("a changed endpoint is served", tuple(_changes(one)), goals=(Goal(0.2, ""),))
        run.say(f"{HOSTS} hosts")
        note = "the floor: the same nginx.conf copied, nginx -t, a reload, and its last host asked until it answers"
        every, more, floor = _hosts(one, run)
        yield Row(f"{HOSTS:,} hosts, applied and in use", (every,), (floor[0],), goals=(Goal(2.0, ""),), note=note)
        yield Row(f"{HOSTS:,} hosts, one more of them in use", more, floor, goals=(Goal(2.0, ""),), note=note)


def _requests(one: Lab, run: Run) -> Iterator[Row]:
    ways = doors(one)
    together, alone = [], []
    for number in range(run.scale.rounds):
        run.say(f"round {number + 1}")
        together.append(seconds(ways, PAIRS))
        alone.append(seconds_of_a_core(ways, PAIRS))
    note = "the floor is the same nginx, configured by hand for that one Service: the same headers, the same log"
    yield _row(f"{REQUESTS:,} requests", together, note)
    note = "on one core: processor time of who asks, of nginx and of who answers"
    yield _row(f"{REQUESTS:,} requests, on one core", alone, note)


def _row(what: str, rounds: Sequence[Sequence[Sequence[float]]], note: str) -> Row:
    ours, hand = (tuple(one * REQUESTS / asking.REQUESTS for one in found) for found in joined(rounds))
    return Row(what, ours, hand, goals=(Goal(1 / 0.9),), note=note)


@contextmanager
def the_lab() -> Iterator[Lab]:
    """An Ingress for there.example leads to the pod `there`, and so does the pod `hand`."""
    with lab() as one:
        _built(one)
        yield one


def doors(one: Lab) -> tuple[Door, Door]:
    """Of the controller and of the pod `hand`."""
    there = worker(_inside(one, "there"))
    by_hand = Door(one.netns("node1"), address_of(one, "hand"), HOST, (worker(_inside(one, "hand")), there))
    pod = controller_of(one)["metadata"]["name"]
    own = worker(names.pod_netns(one.name, "ingress-nginx", pod))
    return by_hand._replace(address=front(one), pids=(own, there)), by_hand


def _built(one: Lab) -> None:
    spec = lab_object(nodes=1, ingress={"controller": "nginx"})
    objects = [spec, *(_pod(one, name, THERE) for name in ("there", "other"))]
    objects += [_service("there"), _ingress(HOST, "there")]
    one.up(objects)
    point(one, "there")
    by_hand(one, "hand", "there")
    _until(one, front(one), HOST, b"there")
    _until(one, address_of(one, "hand"), HOST, b"there")


def by_hand(one: Lab, name: str, there: str) -> None:
    """Makes a pod whose nginx leads to the pod `there`."""
    file = one.directory / f"{name}.json"
    file.write_text(json.dumps(_pod(one, name, HAND, there=address_of(one, there))))
    one.timed("apply", "-f", str(file))


def _pod(one: Lab, name: str, text: str, **more: str) -> dict[str, Any]:
    file = one.directory / f"{name}.conf"
    file.write_text(text.format(directory=one.directory, name=name, **more))
    container = {"name": "c", "command": ["nginx", "-e", "stderr", "-c", str(file)]}
    spec = {"nodeName": "node1", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _service(name: str) -> dict[str, Any]:
    spec = {"ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _slices(name: str, address: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"port": 8080, "protocol": "TCP"}],
    }


def _ingress(host: str, name: str) -> dict[str, Any]:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": host.replace(".", "-")},
        "spec": {"ingressClassName": "nginx", "rules": [rule]},
    }


def address_of(one: Lab, name: str) -> str:
    address: str = one.json("get", "pod", name)["status"]["podIP"]
    return address


def _inside(one: Lab, name: str) -> str:
    return names.pod_netns(one.name, "default", name)


def controller_of(one: Lab) -> Any:
    (pod,) = one.json("get", "pods", "-n", "ingress-nginx")["items"]
    return pod


def front(one: Lab) -> str:
    address: str = controller_of(one)["status"]["podIP"]
    return address


def point(one: Lab, name: str) -> None:
    """Has the Service lead to the pod `name`."""
    file = one.directory / "slice.json"
    file.write_text(json.dumps(_slices("there", address_of(one, name))))
    one.timed("apply", "-f", str(file))


def _get(one: Lab, address: str, host: str) -> bytes:
    with netns.inside(one.netns("node1")):
        line = socket.create_connection((address, 80), timeout=10)
    with line:
        line.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := line.recv(4096):
            answer += piece
    return answer


def _until(one: Lab, address: str, host: str, wanted: bytes) -> float:
    until = time.perf_counter() + 20
    while time.perf_counter() < until:
        try:
            if wanted in _get(one, address, host).partition(b"\r\n\r\n")[2]:
                return time.perf_counter()
        except OSError:
            pass
        time.sleep(0.002)
    raise FailedError(f"{host} is not answered by {wanted.decode()} after 20 s")


def _changes(one: Lab) -> Iterator[float]:
    """From the request to write it until nginx serves by it."""
    controller, client = front(one), one.client
    addresses = {name: address_of(one, name) for name in ("there", "other")}
    for number in range(CHANGES):
        name = ("other", "there")[number % 2]
        changed = Change(objects=[_slices("there", addresses[name])], wait=False)
        began = time.perf_counter()
        for _ in client.stream(APPLY, changed):
            pass
        yield _until(one, controller, HOST, name.encode()) - began


def _hosts(one: Lab, run: Run) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Seconds of `apply`, at whose end they are answered: of all, of one more, and of the same by hand."""
    controller = front(one)

    def applied(*hosts: str) -> float:
        file = one.directory / "hosts.json"
        file.write_text("\n---\n".join(json.dumps(_ingress(host, "there")) for host in hosts))
        took = one.timed("apply", "-f", str(file))
        if b"there" not in _get(one, controller, hosts[-1]):
            raise FailedError(f"apply ended, and {hosts[-1]} is not answered")
        return took

    every = applied(*(f"h{n}.example" for n in range(HOSTS - 1)))
    more, floor = [], []
    by_hand = _Copy(one)
    for number in range(run.scale.rounds):
        run.say(f"round {number + 1}")
        more.append(applied(f"last{number}.example"))
        floor.append(by_hand.taken_up(f"last{number}.example"))
    return every, tuple(more), tuple(floor)


class _Copy:
    """A pod whose nginx serves by a copy of what the controller's does."""

    def __init__(self, one: Lab) -> None:
        self._one, self._home = one, one.directory / "copy"
        self._home.mkdir()
        self._command = ("nginx", "-p", f"{self._home}/", "-e", "stderr", "-c", "nginx.conf")
        self._write()
        made = _pod(one, "copy", "")
        made["spec"]["containers"][0]["command"] = list(self._command)
        file = one.directory / "copy.json"
        file.write_text(json.dumps(made))
        one.timed("apply", "-f", str(file))
        _until(one, address_of(one, "copy"), HOST, b"there")

    def taken_up(self, host: str) -> float:
        """Seconds until a host answers that is new."""
        address, inside = address_of(self._one, "copy"), _inside(self._one, "copy")
        began = time.perf_counter()
        self._write()
        subprocess.run(("ip", "netns", "exec", inside, *self._command, "-t", "-q"), check=True, capture_output=True)
        os.kill(self._master(inside), signal.SIGHUP)
        return _until(self._one, address, host, b"there") - began

    @staticmethod
    def _master(namespace: str) -> int:
        """What nginx.pid names is a number of the pod's own."""
        titles = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes.pids_in(namespace)}
        return next(pid for pid, title in titles.items() if title.startswith(b"nginx: master"))

    def _write(self) -> None:
        (made,) = self._one.directory.glob("run/*/ingress/*/conf/")
        for file in made.iterdir():
            (self._home / file.name).write_bytes(file.read_bytes())
