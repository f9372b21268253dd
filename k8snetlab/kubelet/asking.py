"""One question to a container, asked inside its pod: by HTTP, by a TCP connection, by gRPC, or by a command.

Source: Kubernetes pkg/probe (http, tcp, exec) and pkg/kubelet/prober/prober.go; the words of failures are Go's. A
redirection is success, wherever it leads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence

import msgspec

from k8snetlab.api.probes import GRPCAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import launch, netns
from k8snetlab.kubelet import health_service
from k8snetlab.kubelet.instance import exit_code
from k8snetlab.kubelet.waiting import readable, writable

HEAD, BODY = 1 << 14, 10 << 10
"""Octets that are read of an answer: its head, and what a command wrote."""
AGENT = "kube-probe/1.36"
NOWHERE = "strconv.Atoi: parsing {}: invalid syntax"
Start = Callable[[], tuple[launch.Setting, Mapping[str, str]]]
"""How a container's commands are started: where, and with which environment."""


class Answer(msgspec.Struct, frozen=True):
    """`said` is what a failure is told with; `unknown`: it could not even be asked."""

    ok: bool
    said: str = ""
    unknown: bool = False


class Asked(msgspec.Struct, frozen=True):
    """Whom to ask: the pod's namespace and its address."""

    netns: str
    address: str


async def ask(asked: Asked, action: Probe | LifecycleHandler, start: Start, timeout: float | None) -> Answer:
    """`timeout` is in seconds, None for as long as it takes."""
    try:
        if action.exec is not None:
            return await _commanded(action.exec.command, start, timeout)
        if action.httpGet is not None:
            return await _got(asked, action.httpGet, timeout)
        if action.tcpSocket is not None:
            return await _connected(asked, action.tcpSocket, timeout)
        if isinstance(action, Probe) and action.grpc is not None:
            return await _served(asked, action.grpc, float(action.timeoutSeconds))
        if isinstance(action, LifecycleHandler) and action.sleep is not None:
            await asyncio.sleep(action.sleep.seconds)
        return Answer(True)
    except (K8sNetLabError, OSError, ValueError) as error:
        return Answer(False, str(error), unknown=True)


# --- by a command ---


async def _commanded(command: Sequence[str], start: Start, timeout: float | None) -> Answer:
    setting, environment = start()
    output = os.memfd_create("probe")
    try:
        process, pipe = launch.popen(setting, command, environment, output)
        try:
            async with asyncio.timeout(timeout):
                code = await exit_code(process)
        except TimeoutError:
            words = " ".join(command)
            return Answer(False, f'command timed out: "{words}" timed out after {timeout:g}s')
        finally:
            hindrance = _hindrance(pipe)
            os.close(pipe)
            await _ended(process)
        if hindrance is not None:
            return Answer(False, hindrance.message, unknown=True)
        return Answer(code == 0, os.pread(output, BODY, 0).decode(errors="replace"))
    finally:
        os.close(output)


def _hindrance(pipe: int) -> launch.Hindrance | None:
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        return launch.hindrance(os.read(pipe, HEAD))
    return None


async def _ended(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(exit_code(process))


# --- by a connection ---


async def _connected(asked: Asked, action: TCPSocketAction, timeout: float | None) -> Answer:
    host, port = action.host or asked.address, _number(action.port)
    where = f"dial tcp {_joined(host, port)}"
    try:
        async with asyncio.timeout(timeout):
            with await _socket(asked.netns, host, port):
                return Answer(True)
    except TimeoutError:
        return Answer(False, f"{where}: i/o timeout")
    except OSError as error:
        return Answer(False, f"{where}: {_words(error)}")


async def _served(asked: Asked, action: GRPCAction, timeout: float) -> Answer:
    where = _joined(asked.address, action.port)
    said = await health_service.check(
        lambda: _socket(asked.netns, asked.address, action.port), where, action.service, timeout
    )
    return Answer(not said, said)


async def _got(asked: Asked, action: HTTPGetAction, timeout: float | None) -> Answer:
    host, port = action.host or asked.address, _number(action.port)
    url = f"{action.scheme.lower()}://{_joined(host, port)}{'' if action.path.startswith('/') else '/'}{action.path}"
    try:
        async with asyncio.timeout(timeout):
            try:
                sock = await _socket(asked.netns, host, port)
            except OSError as error:
                return Answer(False, f'Get "{url}": dial tcp {_joined(host, port)}: {_words(error)}')
            status = await _status(sock, action, host, port)
    except TimeoutError:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Answer(False, f'Get "{url}": {why}')
    except (OSError, ssl.SSLError) as error:
        return Answer(False, f'Get "{url}": {_words(error)}')
    if isinstance(status, str):
        return Answer(False, f'Get "{url}": {status}')
    ok = 200 <= status < 400
    return Answer(ok, "" if ok else f"HTTP probe failed with statuscode: {status}")


async def _socket(namespace: str, host: str, port: int) -> socket.socket:
    """A connection from inside the namespace. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with netns.inside(namespace):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if host.replace(".", "").isdigit() or family == socket.AF_INET6:
            await _connect(sock, (host, port))
        else:  # a name
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(sock: socket.socket, where: tuple[str, int]) -> None:
    """On one machine a connection stands as soon as it was asked for: to ask once more tells that. Raises OSError."""
    sock.connect_ex(where)
    error = sock.connect_ex(where)
    if error in (errno.EALREADY, errno.EINPROGRESS):
        await writable(sock.fileno())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error not in (0, errno.EISCONN):
        raise OSError(error, os.strerror(error))


async def _status(sock: socket.socket, action: HTTPGetAction, host: str, port: int) -> int | str:
    """The status of the answer, or what is wrong with it."""
    said = _request(action, host, port)
    line = await (_secretly(sock, said, host) if action.scheme == "HTTPS" else _plainly(sock, said))
    if not line:
        return "EOF"
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        shown = line[:80].decode(errors="replace")
        return f'net/http: HTTP/1.x transport connection broken: malformed HTTP response "{shown}"'
    return int(parts[1])


async def _plainly(sock: socket.socket, said: bytes) -> bytes:
    """The first line of the answer. Without streams, which take half as much again: a thousand pods are asked so."""
    heard, left = b"", said
    with sock:
        while left := left[_sent(sock, left) :]:
            await writable(sock.fileno())
        while b"\n" not in heard and len(heard) < HEAD:
            await readable(sock.fileno())
            with contextlib.suppress(BlockingIOError):
                if not (data := sock.recv(HEAD)):
                    break
                heard += data
    return heard.partition(b"\n")[0].rstrip(b"\r")


def _sent(sock: socket.socket, data: bytes) -> int:
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0


async def _secretly(sock: socket.socket, said: bytes, host: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(sock=sock, ssl=context, limit=HEAD, server_hostname=host)
    try:
        writer.write(said)
        return (await reader.readline()).rstrip(b"\r\n")
    finally:
        writer.close()


def _request(action: HTTPGetAction, host: str, port: int) -> bytes:
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    headers = {"Host": _joined(host, port), "User-Agent": AGENT, "Accept": "*/*", "Connection": "close"}
    for one in action.httpHeaders:
        headers = {name: value for name, value in headers.items() if name.lower() != one.name.lower()}
        headers[one.name] = one.value
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "", "")).encode()


def _number(port: int | str) -> int:
    """Raises ValueError for a name that no port of the container has."""
    if isinstance(port, str):
        raise ValueError(NOWHERE.format(f'"{port}"'))
    return port


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _words(error: OSError) -> str:
    """As Go says it."""
    if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT):
        return f"connect: {os.strerror(error.errno).lower()}"
    if error.errno == errno.ECONNRESET:
        return "read: connection reset by peer"
    return str(error)
