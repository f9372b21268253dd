"""What is seen of packets, and of connections, where there are many."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable

import pytest

from k8snetlab.dataplane.links import Device
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.kernel import netns, packets
from k8snetlab.kernel.execute import execute

MANY = 1000


@pytest.fixture
def busy(namespace: Callable[..., str]) -> str:
    """A namespace that knows connections."""
    name = namespace()
    execute([ItemOperation("set", name, Device("lo"))])
    rule = f"ip netns exec {name} iptables -A INPUT -m conntrack --ctstate NEW -j ACCEPT"
    subprocess.run(rule.split(), check=True)
    return name


def connect(name: str) -> None:
    with netns.inside(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for port in range(MANY):
            asker.sendto(b"", ("127.0.0.1", 1 + port))


def test_many_connections_between_two_looks_are_all_seen(busy: str) -> None:
    with packets.Watch([busy]) as watch:
        connect(busy)
        assert len(watch.connections()) == MANY


def test_connections_for_which_there_is_no_room_are_lost_and_no_error(
    busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packets, "_BUFFER", 1 << 14)
    with packets.Watch([busy]) as watch:
        connect(busy)
        assert 0 < len(watch.connections()) < MANY
