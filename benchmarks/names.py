"""Cluster DNS: `up` with it, 2,000 queries a second from 50 pods at once, how soon a changed endpoint is answered.

The floor is a server that reads each query with the same library and answers a fixed record; the peers are dnsmasq and
unbound with the same names. All of them are pods of one lab, asked by the same pods through Services of their own.
"""

from __future__ import annotations

import asyncio
import selectors
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import dns.message
from msgspec.structs import replace

from benchmarks import machine
from benchmarks.labs import Lab, deployment, lab, lab_object, service
from benchmarks.rows import Goal, Row
from benchmarks.run import FailedError, Run
from benchmarks.wire import Door
from k8snetlab.kernel import netns

SCENARIO = Path("scenarios/two-nodes")
PODS, RATE, SECONDS = 50, 2000, 5.0
LATE = 2.0
"""Seconds after the last query until what is not answered is lost."""
CHANGES = 40
ADDRESSES = {"ours": "10.96.0.10", "floor": "10.96.0.81", "dnsmasq": "10.96.0.82", "unbound": "10.96.0.83"}
"""The Services' own, by who answers."""
ZONE = "default.svc.cluster.local"
ASKED = ((f"web.{ZONE}.", "A"), (f"web.{ZONE}.", "AAAA"), (f"moves.{ZONE}.", "A"), (f"nobody.{ZONE}.", "A"))
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
UNBOUND = """
server:
  interface: 0.0.0.0
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  local-zone: "cluster.local." static
  local-data: "web.{zone}. 5 A 10.96.0.20"
  local-data: "moves.{zone}. 5 A 192.0.2.1"
remote-control:
  control-enable: no
"""
Asked = tuple[tuple[float, ...], float]
"""Seconds that each reply took, and seconds of a core that the server used."""


def rows(run: Run) -> Iterator[Row]:
    yield _ups(run)
    with lab() as one:
        servers = _servers(one.directory)
        run.say(f"{PODS} pods")
        one.up(_objects(servers))
        _answered(one, servers)
        took: dict[str, list[Asked]] = {name: [] for name in ("ours", *servers)}
        for number in range(run.scale.rounds):
            for name in took:
                run.say(f"{RATE} queries a second of {name}, round {number + 1}")
                took[name].append(_crowd(one, name))
        yield from _crowds(took)
        run.say("changed endpoints")
        changed, told = asyncio.run(_changes(one))
        note = "that of a changed endpoint is until a watch tells of it; both are counted from the write's beginning"
        yield Row("a changed endpoint in the answers", changed, told, goals=(Goal(0.05, ""),), note=note)


def _ups(run: Run) -> Row:
    """`up` of the smallest scenario with cluster DNS, beside it without."""
    ups, floor = list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="k8snetlab-bench-") as directory:
        plain = Path(shutil.copytree(SCENARIO, Path(directory, "plain")))
        file = next(file for file in plain.glob("*.yaml") if "kind: Lab" in file.read_text())
        file.write_text(file.read_text().replace("spec: {", "spec: {dns: {enabled: false}, "))
        for number in range(run.scale.rounds + 2):
            run.say(f"up with and without, round {number + 1}")
            for took, source in ((floor, plain), (ups, SCENARIO)):
                with lab() as one:
                    took.append(one.timed("up", str(source)))
    note = "that of up is up without cluster DNS"
    return Row("up two-nodes until names are answered", tuple(ups), tuple(floor), goals=(Goal(1.2),), note=note)


def _crowds(took: Mapping[str, list[Asked]]) -> Iterator[Row]:
    slow, middle, core = (
        f"a reply at {RATE}/s: the 99th of 100",
        f"a reply at {RATE}/s: the median",
        f"to serve {RATE}/s",
    )
    yield from _beside(took, slow, _slow, Row(slow, (), goals=(Goal(0.01, ""), Goal(2.0))))
    yield from _beside(took, middle, _middle, Row(middle, (), goals=(Goal(1.5),)))
    yield from _beside(took, core, _core, Row(core, (), goals=(Goal(1.5),), unit="% of a core"))


def _beside(took: Mapping[str, list[Asked]], what: str, of: Callable[[Asked], float], row: Row) -> Iterator[Row]:
    """The row, and one for each peer."""
    ours, floor = (tuple(map(of, took[name])) for name in ("ours", "floor"))
    yield replace(row, ours=ours, floor=floor)
    for peer in ("dnsmasq", "unbound"):
        if peer in took:
            yield Row(f"{what}, beside {peer}", ours, peer=tuple(map(of, took[peer])), unit=row.unit)


def _slow(asked: Asked) -> float:
    return sorted(asked[0])[len(asked[0]) * 99 // 100]


def _middle(asked: Asked) -> float:
    return statistics.median(asked[0])


def _core(asked: Asked) -> float:
    return 100 * asked[1] / SECONDS


# --- the lab --------------------------------------------------------------------------------------------------------


def _servers(directory: Path) -> dict[str, list[str]]:
    """The command lines of floor and peers."""
    found = {"floor": [sys.executable, "-m", "benchmarks.floors.names"]}
    if dnsmasq := shutil.which("dnsmasq", path="/usr/sbin:/usr/bin"):
        hosts = [f"--host-record=web.{ZONE},10.96.0.20,5", f"--host-record=moves.{ZONE},192.0.2.1,5"]
        quiet = ["-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file="]
        found["dnsmasq"] = [dnsmasq, *quiet, "--local=/cluster.local/", *hosts]
    if unbound := shutil.which("unbound", path="/usr/sbin:/usr/bin"):
        file = directory / "unbound.conf"
        file.write_text(UNBOUND.format(directory=directory, zone=ZONE))
        found["unbound"] = [unbound, "-d", "-c", str(file)]
    return found


def _objects(servers: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    made = [lab_object(nodes=2, dns={"enabled": True, "pods": "insecure"}), deployment("ask", PODS)]
    made.append(service("web") | {"spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 80}]}})
    made.append(service("moves") | {"spec": {"clusterIP": "None", "ports": [{"port": 80}]}})
    for name, command in servers.items():
        container = {"name": "c", "command": command, "workingDir": str(Path(__file__).parents[1])}
        labels = {"app": name}
        pod = {"nodeName": "node2", "containers": [container]}
        made.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": pod})
        spec = {"clusterIP": ADDRESSES[name], "selector": labels, "ports": [{"port": 53, "protocol": "UDP"}]}
        made.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    return made


def _answered(one: Lab, servers: Mapping[str, list[str]]) -> None:
    """Until each of them answers."""
    with netns.inside(_askers(one)[0]):
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.settimeout(0.2)
        for name in ("ours", *servers):
            until = time.monotonic() + 10
            while time.monotonic() < until:
                asking.sendto(_query(0, *ASKED[0]), (ADDRESSES[name], 53))
                with suppress(OSError):
                    if asking.recvfrom(4096)[1][0] == ADDRESSES[name]:
                        break
            else:
                raise FailedError(f"{name} does not answer")


def _askers(one: Lab) -> list[str]:
    return [name for name in netns.names() if name.startswith(one.netns("default", "ask-"))]


def _server(one: Lab, name: str) -> int:
    """The process that answers."""
    _, kubelet = one.pids()
    children = Path(f"/proc/{kubelet}/task/{kubelet}/children").read_text().split()
    marks = {"ours": "k8snetlab.nameserver", "floor": "benchmarks.floors.names"}
    mark = marks.get(name, f"/usr/sbin/{name}").encode()
    return next(int(pid) for pid in children if mark in Path(f"/proc/{pid}/cmdline").read_bytes())


# --- what is asked --------------------------------------------------------------------------------------------------


def _query(number: int, name: str, type_: str) -> bytes:
    return dns.message.make_query(name, type_, id=number).to_wire()


def _crowd(one: Lab, name: str) -> Asked:
    """All pods ask at once, each its share of the queries, evenly. Raises FailedError where one of ours is lost; of
    others it has taken so long."""
    pid, queries = _server(one, name), [_query(0, *asked)[2:] for asked in ASKED]
    count, took = int(RATE * SECONDS), list[float]()
    sent = [0.0] * count
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        sockets = [stack.enter_context(_asking(where, ADDRESSES[name])) for where in _askers(one)]
        for each in sockets:
            selector.register(each, selectors.EVENT_READ)
        before, began, number = machine.cpu(pid), time.perf_counter(), 0
        while len(took) < count:
            now = time.perf_counter()
            while number < count and now >= began + number / RATE:
                sent[number] = time.perf_counter()
                sockets[number % len(sockets)].send(number.to_bytes(2, "big") + queries[number % len(queries)])
                number += 1
            if now > began + SECONDS + LATE:
                if name == "ours":
                    raise FailedError(f"{name}: {count - len(took)} of {count} queries are lost")
                took += [LATE] * (count - len(took))
                break
            for key, _ in selector.select(max(0.0, began + number / RATE - time.perf_counter())):
                with suppress(BlockingIOError):
                    while reply := key.fileobj.recv(4096):  # type: ignore[union-attr]
                        took.append(time.perf_counter() - sent[int.from_bytes(reply[:2], "big")])
        return tuple(took), machine.cpu(pid) - before


def _asking(namespace: str, server: str) -> socket.socket:
    with netns.inside(namespace):
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.setblocking(False)
    asking.connect((server, 53))
    return asking


async def _changes(one: Lab) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds from a write's beginning until the answer has it, and until a watch tells of it."""
    door, changed, told = Door(one), list[float](), list[float]()
    come: asyncio.Queue[float] = asyncio.Queue()
    asking = _asking(_askers(one)[0], ADDRESSES["ours"])
    query = _query(1, f"moves.{ZONE}.", "A")
    with asking:
        async with door.connection() as connection, door.watch(lambda _: come.put_nowait(time.perf_counter())) as watch:
            await connection.ask("POST", SLICES, _slice(1))
            await watch.begin(f"{SLICES}?watch=true")
            await asyncio.sleep(0.5)
            while not come.empty():
                come.get_nowait()
            for number in range(2, CHANGES + 2):
                began = time.perf_counter()
                writing = asyncio.create_task(connection.ask("PUT", f"{SLICES}/moves-1", _slice(number)))
                changed.append(await _shown(asking, query, f"192.0.2.{number}") - began)
                told.append(await come.get() - began)
                await writing
    return tuple(changed), tuple(told)


async def _shown(asking: socket.socket, query: bytes, address: str) -> float:
    """When an answer has this address and no other."""
    loop, until = asyncio.get_running_loop(), time.perf_counter() + 10
    while time.perf_counter() < until:
        await loop.sock_sendall(asking, query)
        async with asyncio.timeout(5):
            reply = dns.message.from_wire(await loop.sock_recv(asking, 4096))
        if [rdata.to_text() for rrset in reply.answer for rdata in rrset] == [address]:
            return time.perf_counter()
        await asyncio.sleep(0.001)
    raise FailedError(f"{address} is in no answer after 10 s")


def _slice(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "moves-1", "labels": {"kubernetes.io/service-name": "moves"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [f"192.0.2.{number}"], "conditions": {"ready": True}}],
        "ports": [{"port": 80, "protocol": "TCP"}],
    }
