"""Which UDP connections the kernel is told to forget: those that nothing serving answers, and never another."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from k8snetlab.dataplane.links import Device
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.dataplane.rules import Family
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import conntrack, nfacct
from k8snetlab.kernel import netns as namespaces
from k8snetlab.kernel.execute import execute
from k8snetlab.kernel.nfnetlink import Nfnetlink

LOOPBACK: dict[Family, str] = {"ipv4": "127.0.0.1", "ipv6": "::1"}


@pytest.fixture(params=["ipv4", "ipv6"])
def connected(request: pytest.FixtureRequest, namespace: Callable[..., str]) -> Iterator[tuple[str, Family]]:
    """A namespace with UDP connections to ports 7001, 7002 and 7003 of loopback, and a TCP one to 7001.

    7001 and 7003 are translated to 8001 and 8003.
    """
    name, family = namespace(), request.param
    tool = "iptables" if family == "ipv4" else "ip6tables"
    execute([ItemOperation("add", name, Device("lo"))])
    for port in (7001, 7003):
        rule = f"-t nat -A OUTPUT -p udp --dport {port} -j REDIRECT --to-ports {port + 1000}"
        subprocess.run(["ip", "netns", "exec", name, tool, *rule.split()], check=True)
    kind = socket.AF_INET if family == "ipv4" else socket.AF_INET6
    with namespaces.inside(name):
        listener = socket.create_server((LOOPBACK[family], 7001), family=kind)
        sender, client = socket.socket(kind, socket.SOCK_DGRAM), socket.socket(kind)
    with listener, sender, client:
        client.connect((LOOPBACK[family], 7001))
        for port in (7001, 7002, 7003):
            sender.sendto(b"x", (LOOPBACK[family], port))
        yield name, family


def known(name: str, family: Family) -> dict[int, str]:
    """The ports that connections were sent to, with the port that answers."""
    return {c.destination[1]: c.answers.rpartition(":")[2] for c in conntrack.udp(name, family)}


def test_connections_are_read_with_who_answers(connected: tuple[str, Family]) -> None:
    name, family = connected
    assert known(name, family) == {7001: "8001", 7002: "7002", 7003: "8003"}
    host = "127.0.0.1" if family == "ipv4" else "[::1]"
    assert {c.answers for c in conntrack.udp(name, family)} == {f"{host}:{port}" for port in (8001, 7002, 8003)}


def test_the_kernel_tells_of_no_other_protocol_and_no_other_port(
    connected: tuple[str, Family], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, family = connected
    told: list[int] = []
    dump = Nfnetlink.dump

    def counted(self: Nfnetlink, *args: Any) -> Iterator[bytes]:
        for one in dump(self, *args):
            told.append(len(one))
            yield one

    monkeypatch.setattr(Nfnetlink, "dump", counted)
    assert len(conntrack.udp(name, family)) == 3
    chooses = tuple(map(int, os.uname().release.split(".")[:2])) >= (5, 8)  # Linux before that tells of all
    assert len(told) == (3 if chooses else 4)
    told.clear()
    assert (7003, "8003") in {(c.destination[1], c.answers[-4:]) for c in conntrack.udp(name, family, [7003])}
    assert len(told) == (1 if chooses else 4)
    told.clear()
    assert {7001, 7003} <= {c.destination[1] for c in conntrack.udp(name, family, [7001, 7003])}
    assert len(told) == (3 if chooses else 4)


def test_only_those_that_nothing_serving_answers_are_forgotten(connected: tuple[str, Family]) -> None:
    name, family = connected
    address = LOOPBACK[family]
    host = "127.0.0.1" if family == "ipv4" else "[::1]"
    serving = {(address, 7001): {f"{host}:8001"}, (address, 7003): {f"{host}:9"}, ("192.0.2.1", 7002): set()}
    assert conntrack.forget_udp(name, family, serving) == 1
    assert known(name, family) == {7001: "8001", 7002: "7002"}
    assert conntrack.forget_udp(name, family, serving) == 0
    tcp = subprocess.run(
        ["ip", "netns", "exec", name, "conntrack", "-L", "-p", "tcp", "-f", family], capture_output=True, text=True
    )
    assert "dport=7001" in tcp.stdout


def test_a_namespace_without_connections_is_not_gone_through(
    namespace: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("the kernel was asked for what it counts none of")

    name = namespace()
    monkeypatch.setattr(Nfnetlink, "dump", asked)
    assert conntrack.udp(name, "ipv4") == []


def test_a_port_on_any_address(connected: tuple[str, Family]) -> None:
    name, family = connected
    assert conntrack.forget_udp(name, family, {("", 7001): frozenset()}) == 1
    assert known(name, family) == {7002: "7002", 7003: "8003"}


def test_many_connections_are_forgotten_at_once(namespace: Callable[..., str]) -> None:
    name = namespace()
    execute([ItemOperation("add", name, Device("lo"))])
    rule = "-A OUTPUT -m conntrack --ctstate NEW -j ACCEPT"
    subprocess.run(["ip", "netns", "exec", name, "iptables", *rule.split()], check=True)
    with namespaces.inside(name):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for port in range(20000, 21000):
            sender.sendto(b"x", ("127.0.0.1", port))
    assert len(conntrack.udp(name, "ipv4")) == 1000
    stale = {("127.0.0.1", port): frozenset[str]() for port in range(20000, 20900)}
    assert conntrack.forget_udp(name, "ipv4", stale) == 900
    assert len(conntrack.udp(name, "ipv4")) == 100


def test_a_namespace_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFoundError):
        conntrack.udp("no-such-namespace", "ipv4")


def test_counters_are_made_once_where_the_kernel_has_them(namespace: Callable[..., str]) -> None:
    name = namespace()
    if not nfacct.ensure(name, ("one", "two")):
        pytest.skip("this kernel has no nfacct")
    assert nfacct.ensure(name, ("one", "two", "three"))
    for counter in ("one", "two", "three"):
        rule = ["-A", "OUTPUT", "-m", "nfacct", "--nfacct-name", counter]
        subprocess.run(["ip", "netns", "exec", name, "iptables", *rule], check=True)
    rule = ["-A", "OUTPUT", "-m", "nfacct", "--nfacct-name", "four"]
    assert subprocess.run(["ip", "netns", "exec", name, "iptables", *rule], capture_output=True).returncode
