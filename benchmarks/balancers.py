"""Load balancers: requests through the cloud's haproxy beside one configured by hand; a takeover in l2 mode.

Whoever is asked in the end is an nginx that answers by itself, a pod with a NodePort on one node.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks.floors.nginx import THERE
from benchmarks.labs import Lab, lab, lab_object
from benchmarks.rows import Goal, Row
from benchmarks.run import CannotRunError, FailedError, Run
from benchmarks.tcp import in_turns
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.kernel import netns
from k8snetlab.render.lb.candidates import order

ADDRESS, PORT, HAND_PORT = "192.168.0.200", 30080, 8000
CONNECTIONS, PARTS = 1000, 4
"""CONNECTIONS in all, PARTS of them by turns."""
HAND = """
defaults
  mode tcp
  timeout connect 1s
  timeout client 350s
  timeout server 350s
listen hand
  bind 0.0.0.0:{port}
  balance roundrobin
  server node1 192.168.0.21:{node_port} check
  server node2 192.168.0.22:{node_port} check
"""


def rows(run: Run) -> Iterator[Row]:
    for program, package in (("nginx", "nginx-light"), ("haproxy", "haproxy")):
        if shutil.which(program) is None:
            raise CannotRunError(f"{program} is not installed: apt-get install {package}")
    with lab() as one:
        run.say("up, cloud")
        one.up([_lab("cloud"), *_served(one)])
        with _by_hand(one):
            ours, floor = _side_by_side(one, run)
        note = "the floor is haproxy in the router, configured by hand with the same NodePorts behind it"
        yield Row(f"{CONNECTIONS:,} connections by the cloud's balancer", ours, floor, note=note)
    with lab() as one:
        run.say("up, l2")
        one.up([_lab("l2"), *_served(one)])
        note = "from the loss of the announcing node's link until another one has answered a new connection"
        yield Row("l2: an address taken over", tuple(_takeovers(one, run)), goals=(Goal(2.0, ""),), note=note)


def _lab(mode: str) -> dict[str, Any]:
    return lab_object(nodes=2, loadBalancer={"mode": mode, "pool": [f"{ADDRESS}-{ADDRESS}"]})


def _served(one: Lab) -> list[dict[str, Any]]:
    """A pod that answers, on the node that is not the first to announce, and its Service."""
    file = one.directory / "there.conf"
    file.write_text(THERE.format(directory=one.directory, name="there"))
    container = {"name": "c", "command": ["nginx", "-e", "stderr", "-c", str(file)], "ports": [{"containerPort": 8080}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "there", "labels": {"app": "there"}},
        "spec": {"nodeName": order(ADDRESS, ("node1", "node2"))[1], "containers": [container]},
    }
    ports = [{"port": 80, "targetPort": 8080, "nodePort": PORT}]
    spec = {"type": "LoadBalancer", "selector": {"app": "there"}, "ports": ports}
    return [pod, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "there"}, "spec": spec}]


@contextmanager
def _by_hand(one: Lab) -> Iterator[None]:
    """haproxy in the router, besides the lab's own."""
    file = one.directory / "hand.cfg"
    file.write_text(HAND.format(port=HAND_PORT, node_port=PORT))
    command = ("ip", "netns", "exec", one.netns(ROUTER), "haproxy", "-db", "-f", str(file))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with netns.inside(one.netns("outside")):
                _until_answered("192.168.0.1", HAND_PORT)
            yield
        finally:
            process.terminate()


def _side_by_side(one: Lab, run: Run) -> tuple[tuple[float, ...], tuple[float, ...]]:
    ours, floor = [], []
    for number in range(run.scale.rounds):
        run.say(f"round {number + 1}")
        mine, hand = in_turns([partial(_asked, one, port) for port in (80, HAND_PORT)], PARTS)
        ours.append(sum(mine))
        floor.append(sum(hand))
    return tuple(ours), tuple(floor)


def _asked(one: Lab, port: int) -> float:
    """Seconds for one of the PARTS of connections, from outside, one after the other."""
    with netns.inside(one.netns("outside")):
        began = time.perf_counter()
        for _ in range(CONNECTIONS // PARTS):
            if not _answered("192.168.0.1" if port == HAND_PORT else ADDRESS, port, 10.0):
                raise FailedError(f"port {port} of the router does not answer")
        return time.perf_counter() - began


def _answered(address: str, port: int, patience: float) -> bool:
    try:
        with socket.create_connection((address, port), timeout=patience) as line:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"there" in line.recv(4096)
    except OSError:
        return False


def _takeovers(one: Lab, run: Run) -> Iterator[float]:
    first = order(ADDRESS, ("node1", "node2"))[0]
    for number in range(run.scale.rounds):
        run.say(f"takeover {number + 1}")
        with netns.inside(one.netns("outside")):
            _until_answered(ADDRESS, 80)
        one.timed("link", "down", first)
        began = time.perf_counter()
        with netns.inside(one.netns("outside")):
            took = _until_answered(ADDRESS, 80) - began
        yield took
        one.timed("link", "up", first)
        time.sleep(5)  # its neighbours have learned by then that it is back


def _until_answered(address: str, port: int) -> float:
    until = time.perf_counter() + 20
    while time.perf_counter() < until:
        if _answered(address, port, 0.1):
            return time.perf_counter()
    raise FailedError(f"nobody answers at {address}:{port} after 20 s")
