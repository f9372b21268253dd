"""While thousands of chains are written in blocks, and when that ends half-way, no Service that worked may fail."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from proxied import AloneProxy

from k8snetlab.api.core import Service
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import KernelError
from k8snetlab.kernel import iptables, netns
from k8snetlab.kernel.iptables import Iptables
from k8snetlab.render.proxy import ProxyRules, Settings, Shared
from k8snetlab.render.proxy.service import DISPATCH, ServiceRules, Slices
from k8snetlab.testing.services import NODE1, endpoint, lab, node, service, slice_of

Make = Callable[..., str]

SERVICES, ENDPOINTS, CHUNK = 400, 10, 50
VIP, SERVER, PORT = "10.96.0.10", "10.244.1.5", 8080
HELD = 4


def cluster(services: int) -> Snapshot:
    """`web`, which works, and so many Services that only have rules."""
    objects: list[Object] = [
        node("node1", NODE1, podCIDRs=("10.244.1.0/24",)),
        lab(podCIDR="10.244.0.0/16"),
        service("web", clusterIPs=[VIP]),
        slice_of("web", endpoint(SERVER, "node1"), name="web-1"),
    ]
    for i in range(services):
        ends = [endpoint(f"10.244.{2 + i // 25}.{i % 25 * 10 + e}") for e in range(ENDPOINTS)]
        objects += [service(f"s{i}", clusterIPs=[f"10.96.{1 + i // 250}.{i % 250}"]), slice_of(f"s{i}", *ends)]
    return Snapshot.of(objects)


class Traffic:
    """A pod that holds connections to the Service and goes on opening new ones, and the pod that echoes behind it."""

    def __init__(self, client: str, server: str) -> None:
        self.client, self.done, self.failures = client, 0, list[str]()
        self._stop, self._over = threading.Event(), threading.Event()
        with netns.inside(server):
            self._listener = socket.create_server((SERVER, PORT), backlog=256)
        self._server = threading.Thread(target=self._serve)
        self._clients = [threading.Thread(target=work) for work in (self._hold, self._open)]

    def __enter__(self) -> Traffic:
        for thread in (self._server, *self._clients):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._clients:
            thread.join()
        self._over.set()
        self._server.join()

    def _serve(self) -> None:
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in ready.select(0.1):
                    self._answer(ready, key.fileobj)  # type: ignore[arg-type]
            for key in [*ready.get_map().values()]:
                key.fileobj.close()  # type: ignore[union-attr]

    def _answer(self, ready: selectors.BaseSelector, end: socket.socket) -> None:
        if end is self._listener:
            with contextlib.suppress(BlockingIOError):
                ready.register(end.accept()[0], selectors.EVENT_READ)
            return
        data = b""
        with contextlib.suppress(ConnectionError):
            data = end.recv(64)
        if data:
            end.send(data)
        else:
            ready.unregister(end)
            end.close()

    def _connection(self) -> socket.socket:
        """Nothing but the Service's rules leads to the address: without them the node says at once that it is none."""
        with netns.inside(self.client):
            client = socket.socket()
        client.settimeout(30)
        client.connect((VIP, 80))
        return client

    def _says(self, client: socket.socket) -> None:
        client.sendall(b"hello")
        assert client.recv(64) == b"hello"
        self.done += 1

    def _hold(self) -> None:
        with contextlib.ExitStack() as stack:
            try:
                held = [stack.enter_context(self._connection()) for _ in range(HELD)]
                while not self._stop.wait(0.002):
                    for client in held:
                        self._says(client)
            except (OSError, AssertionError) as error:
                self.failures.append(f"held: {error!r}")

    def _open(self) -> None:
        while not self._stop.wait(0.002):
            try:
                with self._connection() as client:
                    self._says(client)
            except (OSError, AssertionError) as error:
                self.failures.append(f"new: {error!r}")


@pytest.fixture
def names(namespace: Make) -> tuple[str, str, str]:
    """A node with two pods, client and server, and no way to cluster IPs but its rules."""
    names = namespace("node"), namespace("client"), namespace("server")
    ip("-n", names[0], "link", "set", "lo", "up")
    for name, gateway, address in ((names[1], "10.244.1.1", "10.244.1.4"), (names[2], "10.244.1.2", SERVER)):
        end = "v" + address[-1]
        ip("-n", names[0], "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", names[0], "addr", "add", gateway, "peer", address, "dev", end)
        ip("-n", name, "addr", "add", address, "peer", gateway, "dev", "eth0")
        ip("-n", names[0], "link", "set", end, "up")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "route", "add", "default", "via", gateway)
    ip("-n", names[0], "route", "add", "unreachable", "10.96.0.0/16")
    ip("netns", "exec", names[0], "sysctl", "-qw", "net.ipv4.ip_forward=1")
    return names


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Node:
    """kube-proxy of a node that is started again for every sync, and so knows nothing of what the last one did."""

    def __init__(self, table: Iptables) -> None:
        self.table = table
        self.shot = 0

    def sync(self, snapshot: Snapshot) -> AloneProxy:
        proxy = AloneProxy(self.table, Refusing())
        proxy.sync(snapshot)
        return proxy

    def shoot(self, snapshot: Snapshot, blocks: int) -> None:
        """Begins a sync and kills its iptables-restore with SIGKILL when that has written so many blocks."""
        begun = self.table.generation()
        refused: list[KernelError] = []

        def run() -> None:
            try:
                self.sync(snapshot)
            except KernelError as error:
                refused.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            for pid in restores():
                if self.table.variant == "legacy" or self.table.generation() >= begun + blocks:  # type: ignore[operator]
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        thread.join()
        self.shot += len(refused)


class Refusing(Shared):
    """Gives every Service named "bad" a rule that no kernel takes."""

    def render(
        self,
        service: Service,
        slices: Slices,
        settings: Settings,
        *,
        anywhere: Settings,
        brief: bool,
        known: ServiceRules | None = None,
    ) -> ServiceRules:
        rules = super().render(service, slices, settings, anywhere=anywhere, brief=brief, known=known)
        if service.name != "bad":
            return rules
        chains = {chain: (*held, "-m statistic --mode impossible") for chain, held in rules.chains.items()}
        return msgspec.structs.replace(rules, chains=chains)


def restores() -> Iterator[int]:
    """This process's children that are an iptables-restore."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for pid in map(int, (task / "children").read_text().split()):
                with contextlib.suppress(OSError):
                    if b"-restore" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        yield pid


@pytest.fixture(params=["nft", "legacy"])
def table(request: pytest.FixtureRequest, names: tuple[str, str, str], tmp_path: Path) -> Iptables:
    return iptables.open(names[0], "ipv4", request.param, tmp_path / "lock", CHUNK if request.param == "nft" else 0)


def test_a_sync_in_blocks_breaks_nothing_even_when_it_dies_half_way(
    table: Iptables, names: tuple[str, str, str]
) -> None:
    few, many = cluster(3), cluster(SERVICES)
    assert [ProxyRules.build(snapshot, "node1", "ipv4").brief for snapshot in (few, many)] == [False, True], (
        "the comments of endpoints go, so that the chains of `web` are written anew among all the others"
    )
    node1 = Node(table)
    node1.sync(few)
    with Traffic(*names[1:]) as traffic:
        for snapshot in (many, few):
            for blocks in (1, 20, 60):
                node1.shoot(snapshot, blocks)
            assert not node1.sync(snapshot).drift()
        assert node1.shot >= 3
        assert traffic.done > 100
    assert not traffic.failures


def test_a_refused_service_takes_none_with_it_where_the_agent_has_just_begun(
    table: Iptables, names: tuple[str, str, str]
) -> None:
    node1 = Node(table)
    node1.sync(cluster(3))
    bad = [service("bad", clusterIPs=["10.96.9.9"]), slice_of("bad", endpoint("10.244.9.9"))]
    snapshot = cluster(5).changed([(type(obj), obj.key, obj) for obj in bad], 2)
    with Traffic(*names[1:]) as traffic:
        for _ in range(3):
            failure = node1.sync(snapshot).failure
            assert failure and "default/bad" in failure.message and "impossible" in failure.operation
        held = table.save()
        assert traffic.done
    assert not traffic.failures
    assert sum("cluster IP" in rule for rule in held[DISPATCH]) == 6  # web and five others
