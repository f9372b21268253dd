"""Who takes connections at an end: one question for each agrees with the list of all sockets."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable

import pytest

from k8snetlab.dataplane.view import View
from k8snetlab.kernel import listeners, netns

Make = Callable[..., str]
V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
OWN = {socket.AF_INET: ("10.9.9.1", "10.9.9.2"), socket.AF_INET6: ("fd00::1", "fd00::2")}
OPENED = [
    ("0.0.0.0", 0),
    ("10.9.9.1", 0),
    ("127.0.0.1", 0),
    ("::", 0),
    ("::", 1),
    ("fd00::1", 1),
]


@pytest.fixture
def pod(namespace: Make) -> str:
    made = namespace("pod")
    subprocess.run(f"ip -n {made} link add eth0 type veth peer name other".split(), check=True)
    for device in ("lo", "eth0", "other"):
        subprocess.run(f"ip -n {made} link set {device} up".split(), check=True)
    for address in (*OWN[socket.AF_INET], *OWN[socket.AF_INET6]):
        subprocess.run(f"ip -n {made} addr add {address} dev eth0 nodad".split(), check=True)
    return made


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(("address", "only"), OPENED)
def test_one_question_finds_what_the_list_has(pod: str, protocol: str, address: str, only: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.inside(pod):
        sock = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    with sock:
        if family == socket.AF_INET6:
            sock.setsockopt(*V6ONLY, only)
        sock.bind((address, 8080))
        if protocol == "tcp":
            sock.listen()
        view = View(pod, "pod", "pod", listening=listeners.read(pod))
        asked = [(p, ip, port) for p in ("tcp", "udp") for ips in OWN.values() for ip in ips for port in (8080, 8081)]
        found = listeners.takers(pod, asked)
        assert found == {end for end in asked if view.listens(*end)}
        assert bool(found) == (address != "127.0.0.1")


def test_a_connection_is_no_listener(pod: str) -> None:
    """One that was accepted stays when who accepted it goes: nobody else is answered."""
    with contextlib.ExitStack() as stack:
        with netns.inside(pod):
            server, client = (stack.enter_context(socket.socket()) for _ in range(2))
        server.bind(("10.9.9.1", 8080))
        server.listen()
        client.connect(("10.9.9.1", 8080))
        stack.enter_context(server.accept()[0])
        assert listeners.takers(pod, [("tcp", "10.9.9.1", 8080)])
        server.close()
        assert not listeners.takers(pod, [("tcp", "10.9.9.1", 8080)])


def test_another_namespaces_socket_is_not_found(pod: str, namespace: Make) -> None:
    with netns.inside(namespace("other")):
        sock = socket.socket()
    with sock:
        sock.bind(("0.0.0.0", 8080))
        sock.listen()
        assert not listeners.takers(pod, [("tcp", "10.9.9.1", 8080), ("tcp", "127.0.0.1", 8080)])
