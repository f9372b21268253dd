"""A node joins a lab of 100 whose store is an etcd: until every other node has an answer to a ping from it.

The nodes are namespaces of one machine. Measured from the request that brings the node to the last of the first
answers; every node asks again and again until it has one. The floor: the entries that lead to one more node (a route,
a neighbour, a forwarding entry) written into 100 namespaces by one `ip` and one `bridge` for each. A second row has the
same by netlink.
"""

from __future__ import annotations

import os
import secrets
import selectors
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.labs import Lab, lab
from benchmarks.rows import Goal, Row
from benchmarks.run import CannotRunError, FailedError, Run
from k8snetlab.api.lab import StoreSpec
from k8snetlab.client.client import Client
from k8snetlab.dataplane.links import Address, Bridge, Vxlan
from k8snetlab.dataplane.operations import ItemOperation, Operation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.kernel import netns
from k8snetlab.kernel.execute import execute
from k8snetlab.lab import up
from k8snetlab.messages.changes import UP, ChangeEvent, Up
from k8snetlab.messages.status import STATUS
from k8snetlab.messages.verb import Nothing
from k8snetlab.store.serve import Member, serve

AGAIN = 0.02
"""Seconds after which a node that has no answer asks once more."""
ECHO = struct.pack("!BBHHH", 8, 0, 0xFFFF - 0x0800 - 1, 0, 1)


def rows(run: Run) -> Iterator[Row]:
    if shutil.which("etcd") is None:
        raise CannotRunError("no etcd: apt-get install etcd-server")
    nodes, joins = run.scale.nodes, run.scale.rounds + 1
    with machine.lifted():
        run.say(f"the entries of one more node in {nodes} namespaces")
        by_netlink, by_tools = floor(nodes, joins)
        run.say(f"up of {nodes} nodes")
        with store() as url, lab() as one:
            os.environ["K8SNETLAB_RUN"] = one.environment["K8SNETLAB_RUN"]
            client = up.start(one.name, StoreSpec(type="etcd", endpoints=(url,), insecure=True))
            daemon = _ask(client, objects(one, url, nodes))
            found = []
            for number in range(joins):
                run.say(f"node {nodes + number + 1} joins")
                _be_quiet(daemon)
                found.append(join(one, client, url, nodes + number))
    machine.emptied()
    note = "the floor is the entries by ip and bridge"
    yield Row(f"a node joins {nodes}", tuple(found), by_tools, goals=(Goal(1.5),), apart=True, note=note)
    yield Row("the same entries by netlink", by_netlink, by_tools)


def _ask(client: Client, objects: list[dict[str, Any]]) -> int:
    """Brings the objects; the daemon's process."""
    drain(client.stream(UP, Up(objects=objects)))
    return client.call(STATUS, Nothing()).daemon.pid


def join(one: Lab, client: Client, url: str, others: int) -> float:
    """Seconds until each of `others` nodes has an answer from one more."""
    with ExitStack() as stack:
        asking = [stack.enter_context(_echo_socket(one.netns(f"node{n}"))) for n in range(1, others + 1)]
        began = time.perf_counter()
        news = threading.Thread(target=drain, args=[client.stream(UP, Up(objects=objects(one, url, others + 1)))])
        news.start()
        took = _answered(asking, f"10.244.{others + 1}.0") - began
        news.join()
    return took


def _be_quiet(daemon: int) -> None:
    """Until the daemon has done what the last node brought, but for its looks once a second (a third of a core)."""
    used = 0.0
    for _ in range(30):
        now = machine.cpu(daemon)
        if now - used < 0.5:
            return
        used = now
        time.sleep(1)


def _answered(asking: list[socket.socket], address: str) -> float:
    """When the last of them had its first answer."""
    waiting = set(asking)
    late = time.perf_counter() + 120
    with selectors.DefaultSelector() as selector:
        for one in asking:
            selector.register(one, selectors.EVENT_READ)
        while waiting:
            if time.perf_counter() > late:
                raise FailedError(f"{len(waiting)} nodes have no answer from {address}")
            for one in waiting:
                with suppress(OSError):
                    one.sendto(ECHO, (address, 0))
            until = time.perf_counter() + AGAIN
            while waiting and (left := until - time.perf_counter()) > 0:
                for key, _ in selector.select(left):
                    data, (sender, _) = key.fileobj.recvfrom(2048)  # type: ignore[union-attr]
                    if sender == address and data[(data[0] & 15) * 4] == 0:
                        waiting.discard(key.fileobj)
    return time.perf_counter()


def _echo_socket(namespace: str) -> socket.socket:
    with netns.inside(namespace):
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


def objects(one: Lab, url: str, count: int) -> list[dict[str, Any]]:
    nodes = [{"name": f"node{n}", "podCIDR": f"10.244.{n}.0/24"} for n in range(1, count + 1)]
    spec = {"nodes": nodes, "store": {"type": "etcd", "endpoints": [url], "insecure": True}, "dns": {"enabled": False}}
    return [{"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "metadata": {"name": one.name}, "spec": spec}]


def drain(events: Iterable[ChangeEvent]) -> None:
    for _ in events:
        pass


@contextmanager
def store() -> Iterator[str]:
    """The address of an etcd of our own."""
    with tempfile.TemporaryDirectory(prefix="k8snetlab-bench-") as directory:
        urls = [f"http://127.0.0.1:{_free_port()}" for _ in range(3)]
        etcd = serve(Path(directory, "etcd"), urls[0], member=Member(peer=urls[1]), metrics=urls[2])
        try:
            etcd.wait_ready()
            yield urls[0]
        finally:
            etcd.kill()
            etcd.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def floor(nodes: int, rounds: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds to write the entries in as many namespaces, by netlink and by tools."""
    prefix = f"floor{secrets.token_hex(3)}"
    names = [f"{prefix}.{n}" for n in range(nodes)]
    by_netlink: list[float] = []
    by_tools: list[float] = []
    try:
        for name in names:
            netns.create(name)
            execute([ItemOperation("add", name, item) for item in _node_items()])
        for number in range(rounds):
            for direct, times in ((True, by_netlink), (False, by_tools)):
                operations = {name: _entries(name, 101 + 2 * number + direct) for name in names}
                began = time.perf_counter()
                for each in operations.values():
                    execute(each) if direct else _typed(each)
                times.append(time.perf_counter() - began)
    finally:
        for name in names:
            netns.delete(name)
    machine.emptied()
    return tuple(by_netlink), tuple(by_tools)


def _node_items() -> tuple[Bridge | Address | Vxlan, ...]:
    tunnel = Vxlan("flannel.1", 1, "192.168.0.1", "eth0", mac="02:00:00:00:00:01")
    return Bridge("eth0"), Address("eth0", "192.168.0.1/24"), tunnel, Address("flannel.1", "10.244.1.0/32")


def _entries(name: str, n: int) -> list[Operation]:
    mac, via = f"02:00:00:00:01:{n:02x}", f"10.244.{n}.0"
    items = (
        FdbEntry("flannel.1", mac, f"192.168.0.{n}"),
        Neighbour("flannel.1", via, mac),
        Route(f"{via}/24", "flannel.1", via, onlink=True),
    )
    return [ItemOperation("add", name, item) for item in items]


def _typed(operations: list[Operation]) -> None:
    """As a person would: what the operations print."""
    for operation in operations:
        subprocess.run(str(operation).split(), check=True)
