"""A node joins a lab of 100 nodes whose store is an etcd: until every other node has an answer to a ping from it.

The nodes are namespaces of one machine. Measured from the request that brings the node to the last of the first
answers; every node asks again and again until it has one. The floor: the entries that lead to one more node (a route,
a neighbour, a forwarding entry) written into 100 namespaces by netlink, or by one `ip` and one `bridge` for each.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.report import line
from k8snetlab.api.lab import StoreSpec
from k8snetlab.client.client import Client
from k8snetlab.dataplane.links import Address, Bridge, Vxlan
from k8snetlab.dataplane.operations import ItemOperation, Operation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.kernel import netns
from k8snetlab.kernel.execute import execute
from k8snetlab.lab import up
from k8snetlab.messages.changes import UP, ChangeEvent, Up
from k8snetlab.messages.progress import Warning
from k8snetlab.messages.status import STATUS
from k8snetlab.messages.verb import Nothing
from k8snetlab.store.serve import Member, serve

NODES = 100
JOINS = 7
AGAIN = 0.02
"""Seconds after which a node that has no answer asks once more."""
ECHO = struct.pack("!BBHHH", 8, 0, 0xFFFF - 0x0800 - 1, 0, 1)


def main() -> None:
    by_netlink, by_tools = floor()
    with lab() as (name, client):
        drain(client.stream(UP, Up(objects=objects(name, NODES))))
        joins = []
        for number in range(JOINS):
            forget_neighbours(name, NODES + number)
            be_quiet(client)
            joins.append(join(name, client, NODES + number))
    what = f"a node joins {NODES} others: reachable from every one"
    print(line(what, joins, 1.0, by_netlink), "(floor: the entries by netlink)")
    print(line("  the entries by ip and bridge", by_tools), flush=True)


def join(name: str, client: Client, others: int) -> float:
    """Seconds until each of `others` nodes has an answer from one more."""
    with ExitStack() as stack:
        asking = [stack.enter_context(echo_socket(f"{name}.node{n}")) for n in range(1, others + 1)]
        began = time.perf_counter()
        news = threading.Thread(target=drain, args=[client.stream(UP, Up(objects=objects(name, others + 1)))])
        news.start()
        took = answered(asking, f"10.244.{others + 1}.0") - began
        news.join()
    return took


def forget_neighbours(name: str, nodes: int) -> None:
    """Every join leaves 200 entries of the underlay in the machine's one table, which takes 1,024 (gc_thresh3)."""
    for number in range(1, nodes + 1):
        subprocess.run(["ip", "-n", f"{name}.node{number}", "neigh", "flush", "dev", "eth0"], check=True)


def be_quiet(client: Client) -> None:
    """Until the daemon has done what the last node brought, but for its looks once a second (a third of a core)."""
    pid, used = client.call(STATUS, Nothing()).daemon.pid, 0.0
    for _ in range(30):
        now = cpu(pid)
        if now - used < 0.5:
            return
        used = now
        time.sleep(1)


def cpu(pid: int) -> float:
    """Seconds of a core that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answered(asking: list[socket.socket], address: str) -> float:
    """When the last of them had its first answer."""
    waiting = set(asking)
    with selectors.DefaultSelector() as selector:
        for one in asking:
            selector.register(one, selectors.EVENT_READ)
        while waiting:
            for one in waiting:
                with suppress(OSError):
                    one.sendto(ECHO, (address, 0))
            until = time.perf_counter() + AGAIN
            while waiting and (left := until - time.perf_counter()) > 0:
                for key, _ in selector.select(left):
                    data, (sender, _) = key.fileobj.recvfrom(2048)  # type: ignore[union-attr]
                    if sender == address and data[(data[0] & 15) * 4] == 0:
                        waiting.discard(key.fileobj)  # type: ignore[arg-type]
    return time.perf_counter()


def echo_socket(namespace: str) -> socket.socket:
    with netns.inside(namespace):
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


def objects(name: str, count: int) -> list[dict[str, Any]]:
    nodes = [{"name": f"node{n}", "podCIDR": f"10.244.{n}.0/24"} for n in range(1, count + 1)]
    spec = {"nodes": nodes, "store": {"type": "etcd", "endpoints": [os.environ["BENCH_STORE"]]}}
    return [{"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "metadata": {"name": name}, "spec": spec}]


def drain(events: Iterable[ChangeEvent]) -> None:
    for event in events:
        if isinstance(event, Warning):
            print(event.message, file=sys.stderr)


@contextmanager
def lab() -> Iterator[tuple[str, Client]]:
    name = f"b{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        os.environ["K8SNETLAB_RUN"] = f"{directory}/run"
        ports = [free_port() for _ in range(3)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        etcd = serve(Path(directory, "etcd"), urls[0], member=Member(peer=urls[1]), metrics=urls[2])
        stack.callback(etcd.kill)
        etcd.wait_ready()
        os.environ["BENCH_STORE"] = urls[0]
        down = [sys.executable, "-m", "k8snetlab", "--lab", name, "down"]
        client = up.start(name, StoreSpec(type="etcd", endpoints=(urls[0],)))
        stack.callback(subprocess.run, down, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield name, client


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def floor() -> tuple[list[float], list[float]]:
    """Seconds to write the entries in 100 namespaces, by netlink and by tools."""
    prefix = f"floor{secrets.token_hex(3)}"
    names = [f"{prefix}.{n}" for n in range(NODES)]
    by_netlink, by_tools = [], []
    try:
        for name in names:
            netns.create(name)
            execute([ItemOperation("add", name, item) for item in node_items()])
        for number in range(JOINS):
            for direct, times in ((True, by_netlink), (False, by_tools)):
                operations = {name: entries(name, 101 + 2 * number + direct) for name in names}
                began = time.perf_counter()
                for each in operations.values():
                    execute(each) if direct else typed(each)
                times.append(time.perf_counter() - began)
    finally:
        for name in names:
            netns.delete(name)
    return by_netlink, by_tools


def node_items() -> tuple[Bridge | Address | Vxlan, ...]:
    tunnel = Vxlan("flannel.1", 1, "192.168.0.1", "eth0", mac="02:00:00:00:00:01")
    return Bridge("eth0"), Address("eth0", "192.168.0.1/24"), tunnel, Address("flannel.1", "10.244.1.0/32")


def entries(name: str, n: int) -> list[Operation]:
    mac, via = f"02:00:00:00:01:{n:02x}", f"10.244.{n}.0"
    items = (
        FdbEntry("flannel.1", mac, f"192.168.0.{n}"),
        Neighbour("flannel.1", via, mac),
        Route(f"{via}/24", "flannel.1", via, onlink=True),
    )
    return [ItemOperation("add", name, item) for item in items]


def typed(operations: list[Operation]) -> None:
    """As a person would: what the operations print."""
    for operation in operations:
        subprocess.run(str(operation).split(), check=True)


if __name__ == "__main__":
    main()
