"""Ten thousand Services with ten endpoints each on one node: real packets to the first, the last and some between."""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from proxied import AloneProxy

from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.kernel import iptables, netns
from k8snetlab.testing.services import NODE1, endpoint, lab, node, service, slice_of

Make = Callable[..., str]

SERVICES, ENDPOINTS, PORT = 10_000, 10, 8080
ASKED = (0, 1, SERVICES // 3, SERVICES // 2, SERVICES - 2, SERVICES - 1)
CONNECTIONS = 12
PODS = "10.244.0.0/14"


def address(base: int, number: int) -> str:
    return f"10.{base + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def endpoints(number: int) -> list[str]:
    return [address(244, 1024 + number * ENDPOINTS + e) for e in range(ENDPOINTS)]


def cluster() -> Snapshot:
    objects: list[Object] = [node("node1", NODE1, podCIDRs=("10.244.1.0/24",)), lab(podCIDR=PODS)]
    for i in range(SERVICES):
        objects.append(service(f"s{i}", clusterIPs=[address(96, 256 + i)]))
        objects.append(slice_of(f"s{i}", *(endpoint(one) for one in endpoints(i))))
    return Snapshot.of(objects)


@pytest.fixture
def names(namespace: Make) -> tuple[str, str, str]:
    """A node between a client and someone who has every endpoint's address; only its rules lead to cluster IPs."""
    middle, client, pods = namespace("node"), namespace("client"), namespace("pods")
    for end, near, far, name in (("c", "10.10.0.1", "10.10.0.2", client), ("p", "10.20.0.1", "10.20.0.2", pods)):
        ip("-n", middle, "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", middle, "addr", "add", near, "peer", far, "dev", end)
        ip("-n", name, "addr", "add", far, "peer", near, "dev", "eth0")
        for space, device in ((middle, end), (name, "eth0"), (name, "lo")):
            ip("-n", space, "link", "set", device, "up")
        ip("-n", name, "route", "add", "default", "via", near)
    ip("-n", middle, "route", "add", PODS, "via", "10.20.0.2")
    ip("-n", pods, "route", "add", "local", PODS, "dev", "lo")
    ip("-n", middle, "route", "add", "unreachable", "10.96.0.0/14")
    ip("netns", "exec", middle, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    return middle, client, pods


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def answering(pods: str) -> Iterator[None]:
    """Every endpoint tells the address at which it was reached."""
    over = threading.Event()
    with netns.inside(pods):
        listener = socket.create_server(("0.0.0.0", PORT), backlog=64)

    def answer() -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(listener, selectors.EVENT_READ)
            while not over.is_set():
                if ready.select(0.1):
                    with listener.accept()[0] as end:
                        end.sendall(end.getsockname()[0].encode())

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        listener.close()


def reached(client: str, number: int) -> str:
    """The endpoint that a new connection to the Service of that number gets to."""
    with netns.inside(client):
        end = socket.socket()
    with end:
        end.settimeout(30)
        end.connect((address(96, 256 + number), 80))
        return end.recv(64).decode()


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_ten_thousand_services_lead_where_they_should(
    variant: iptables.Variant, names: tuple[str, str, str], tmp_path: Path
) -> None:
    middle, client, pods = names
    with answering(pods):
        with pytest.raises(OSError):
            reached(client, 0)
        proxy = AloneProxy(iptables.open(middle, "ipv4", variant, tmp_path / "lock"))
        proxy.sync(cluster())
        assert proxy.failure is None
        for number in ASKED:
            found = {reached(client, number) for _ in range(CONNECTIONS)}
            assert found <= {*endpoints(number)} and len(found) > 1
        with pytest.raises(OSError):
            reached(client, SERVICES)
