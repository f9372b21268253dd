"""Upgrades to SPDY at the API's TLS socket, as a client on the wire sees them."""

from __future__ import annotations

import base64
import json
import os
import random
import socket
import ssl
from collections.abc import Iterator

import kubectl
import pytest
import spdied
from face import PODS
from kubectl import serving
from spdied import Client

from k8snetlab.apiserver.listener import Listener

CONTAINERS = "[{name: one, image: i}, {name: two, image: i}]"
BOTH = f"{{apiVersion: v1, kind: Pod, metadata: {{name: both}}, spec: {{containers: {CONTAINERS}}}}}"
FORWARD = f"{PODS}/web/portforward"


class Server:
    def __init__(self, listener: Listener, token: str) -> None:
        self._listener, self.token = listener, token

    def connect(self, user: str | None = "admin") -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self._listener.authority.ca))
        if user:
            pair = self._listener.pair(user)
            context.load_cert_chain(pair.cert, pair.key)
        host, _, port = self._listener.address.rpartition(":")
        return context.wrap_socket(socket.create_connection((host, int(port)), timeout=30), server_hostname=host)

    def upgrade(
        self, path: str, *protocols: str, user: str | None = "admin", method: str = "POST"
    ) -> tuple[ssl.SSLSocket, bytes]:
        """The connection, and the head of the answer (with a body where it is refused)."""
        one = self.connect(user)
        offered = "".join(f"X-Stream-Protocol-Version: {name}\r\n" for name in protocols)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{offered}\r\n"
        one.sendall(head.encode())
        said = b""
        while b"\r\n\r\n" not in said:
            said += _some(one)
        if not said.startswith(b"HTTP/1.1 101"):
            said += _rest(one)
        return one, said

    def alive(self) -> bool:
        with self.connect() as one:
            one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b"200" in one.recv(100)


def _some(one: ssl.SSLSocket) -> bytes:
    more = one.recv(65536)
    assert more
    return more


def _rest(one: ssl.SSLSocket) -> bytes:
    """All until the server closes, which it does: else the socket's patience ends in an error."""
    return b"".join(iter(lambda: one.recv(65536), b""))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program = kubectl.found()
    if program is None:
        pytest.skip(kubectl.NOWHERE)
    directory = tmp_path_factory.mktemp("upgrades")
    with serving(directory) as (_, listener, _loop):
        k = kubectl.Kubectl(program, directory, kubectl.kubeconfig(listener, "admin", directory / "config"))
        k.run("run", "web", "--image=nginx")
        k.run("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
        k.run("create", "serviceaccount", "asker")
        k.run("create", "-f", "-", stdin=BOTH)
        yield Server(listener, k.run("create", "token", "asker").strip())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_protocol_that_both_speak_is_chosen(server: Server, method: str) -> None:
    one, said = server.upgrade(FORWARD, "other", "portforward.k8s.io", method=method)
    with one:
        head = said.lower()
        assert head.startswith(b"http/1.1 101 ") and b"upgrade: spdy/3.1\r\n" in head
        assert b"x-stream-protocol-version: portforward.k8s.io\r\n" in head


@pytest.mark.parametrize(
    ("path", "protocol", "user", "code", "message"),
    [
        (FORWARD, "portforward.k8s.io", None, 401, "Unauthorized"),
        (FORWARD, "portforward.k8s.io", "view", 403, 'cannot create resource "pods/portforward"'),
        (FORWARD, "v4.channel.k8s.io", "admin", 400, "unable to upgrade"),
        (FORWARD, "", "admin", 400, "is spoken by the client (none)"),
        (f"{PODS}/nobody/portforward", "portforward.k8s.io", "admin", 404, 'pods "nobody" not found'),
        (f"{PODS}/web/exec", "v4.channel.k8s.io", "admin", 400, "at least one command"),
        (f"{PODS}/web/exec?command=x&container=y", "v4.channel.k8s.io", "admin", 400, "y is not valid for pod web"),
        (f"{PODS}/both/exec?command=x", "v4.channel.k8s.io", "admin", 400, "for pod both, choose one of: [one two]"),
        (f"{PODS}/web/exec?command=x&wrong=1", "v4.channel.k8s.io", "admin", 400, "unknown query parameter"),
        (f"{PODS}/web/attach", "v4.channel.k8s.io", "admin", 400, "has no command to attach to"),
        (f"{PODS}/web/log", "v4.channel.k8s.io", "admin", 404, "could not find"),
        ("/nothing", "v4.channel.k8s.io", "admin", 404, "could not find"),
    ],
)
def test_what_is_refused_is_answered_with_a_status(
    server: Server, path: str, protocol: str, user: str | None, code: int, message: str
) -> None:
    one, said = server.upgrade(path, *([protocol] if protocol else []), user=user)
    with one:
        head, _, body = said.partition(b"\r\n\r\n")
        status = json.loads(body)
        assert head.startswith(b"HTTP/1.1 %d " % code) and status["code"] == code and message in status["message"]


def test_an_exec_without_an_upgrade_is_told_what_it_lacks(server: Server) -> None:
    with server.connect() as one:
        one.sendall(f"POST {PODS}/web/exec?command=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        said = _rest(one)
    assert b"400 Bad Request" in said and b"Upgrade request required" in said


def test_nonsense_after_the_upgrade_ends_that_connection_alone(server: Server) -> None:
    chance = random.Random(3)
    for _ in range(int(os.environ.get("FUZZ", "400")) // 10):
        one, _ = server.upgrade(FORWARD, "portforward.k8s.io")
        client = Client()
        with one:
            frames = [
                client.open(1, streamType="error", port="80", requestID="0"),
                client.open(3, streamType="data", port=chance.choice(["x", "0", "70000", "٣", ""]), requestID="0"),
                spdied.data(3, chance.randbytes(50), last=True),
                chance.randbytes(chance.randrange(1, 200)),
            ]
            one.sendall(b"".join(frames[chance.randrange(4) :]))
    one, _ = server.upgrade(FORWARD, "portforward.k8s.io")
    with one:
        one.sendall(b"\xff" * 16)  # a control frame of version 32767
        assert _rest(one) == spdied.control(7, bytes(8))
    assert server.alive()


def test_a_port_that_is_none_is_said_on_its_error_stream(server: Server) -> None:
    one, _ = server.upgrade(FORWARD, "portforward.k8s.io")
    client = Client()
    with one:
        one.sendall(client.open(1, streamType="error", port="x", requestID="0"))
        one.sendall(client.open(3, streamType="data", port="x", requestID="0"))
        said = b""
        while b"no port" not in said:
            said += _some(one)
    assert b"'x' is no port" in said
    assert server.alive()


@pytest.mark.parametrize(
    ("offered", "code"),
    [
        ("v4.channel.k8s.io", 401),
        ("base64url.bearer.authorization.k8s.io.{token}, v4.channel.k8s.io", 101),
        ("base64url.bearer.authorization.k8s.io.{token}", 401),
        ("base64url.bearer.authorization.k8s.io.{token}, base64url.bearer.authorization.k8s.io.{token}, x", 401),
        ("base64url.bearer.authorization.k8s.io.bm9uZQ, v4.channel.k8s.io", 401),
        ("base64url.bearer.authorization.k8s.io.a, v4.channel.k8s.io", 401),
        ("base64url.bearer.authorization.k8s.io.%%%, v4.channel.k8s.io", 401),
    ],
)
def test_a_browsers_websocket_brings_its_token_as_a_subprotocol(server: Server, offered: str, code: int) -> None:
    token = base64.urlsafe_b64encode(server.token.encode()).decode().rstrip("=")
    lines = (
        f"GET {PODS}/web/exec?command=x HTTP/1.1",
        *("Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
        f"Sec-WebSocket-Protocol: {offered.format(token=token)}",
    )
    with server.connect(None) as one:
        one.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        said = _some(one)
    assert said.startswith(b"HTTP/1.1 %d " % code), said
