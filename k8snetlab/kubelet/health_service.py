"""One question by gRPC to a container's health service, where grpcio is installed: grpc.health.v1.Health/Check.

gRPC opens its sockets in threads of its own, which are in no pod's network. So it dials a socket of the kubelet's,
whose connections are carried on to the pod.

Source: Kubernetes pkg/probe/grpc/grpc.go, whose words these are; grpc/grpc-proto grpc/health/v1/health.proto.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

METHOD = "/grpc.health.v1.Health/Check"
SERVING = 1
STATUSES = {0: "UNKNOWN", SERVING: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
RETRY = 100
"""Milliseconds after which one that refused is dialled again."""
CHUNK = 1 << 16
LONGEST = 1 << 10
"""Octets of an answer that are read."""
LACKING = f"grpcio is not installed ({sys.executable} -m pip install grpcio)"
Dial = Callable[[], Awaitable[socket.socket]]
"""Gives a new connection to the pod. Raises OSError."""


@functools.cache
def is_there() -> bool:
    """Whether gRPC can be spoken here."""
    return importlib.util.find_spec("grpc") is not None


async def check(dial: Dial, where: str, service: str, timeout: float) -> str:
    """What is wrong, "" where it serves; `where` is the pod's address and port, `timeout` is in seconds."""
    grpc = await asyncio.to_thread(importlib.import_module, "grpc.aio")
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    options = [
        ("grpc.primary_user_agent", "kube-probe/1.36"),
        ("grpc.default_authority", where),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", RETRY),
        ("grpc.max_reconnect_backoff_ms", RETRY),
        ("grpc.max_receive_message_length", LONGEST),
    ]
    async with _carried(dial) as path, grpc.insecure_channel(f"unix:{path}", options=options) as channel:
        try:
            async with asyncio.timeout_at(until):
                await channel.channel_ready()
        except TimeoutError:
            why = "context deadline exceeded"
            return f'timeout: failed to connect service "{where}" within {_seconds(timeout)}: {why}'
        ask = channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        try:
            return _wrong(await ask(_question(service), timeout=max(0.0, until - loop.time())))
        except grpc.AioRpcError as error:
            return _refused(error, timeout)


def _refused(error: Any, timeout: float) -> str:
    code, details = error.code().name, error.details() or ""
    if code == "UNIMPLEMENTED":
        return f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {details}"
    if code == "DEADLINE_EXCEEDED":
        return f"timeout: health rpc did not complete within {_seconds(timeout)}"
    name = "".join(word.title() for word in code.split("_"))
    return f"error: health rpc probe failed: rpc error: code = {name} desc = {details}"


def _wrong(answer: bytes) -> str:
    status = _status(answer)
    said = STATUSES.get(status, str(status))
    return "" if status == SERVING else f'service unhealthy (responded with "{said}")'


# --- the two messages of protobuf ---


def _question(service: str) -> bytes:
    """HealthCheckRequest: a string, field 1."""
    text = service.encode()
    return b"\x0a" + _varint(len(text)) + text if text else b""


def _status(answer: bytes) -> int:
    """HealthCheckResponse: an enum, field 1, of which the last one counts; 0 where it is not there."""
    status, at = 0, 0
    while at < len(answer):
        key, at = _number(answer, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _number(answer, at)
            status = value if number == 1 else status
        elif wire == 2:
            length, at = _number(answer, at)
            at += length
        else:
            at += {1: 8, 5: 4}.get(wire, len(answer))
    return status


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _number(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data):
        byte = data[at]
        number, at, shift = number | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            break
    return number, at


# --- the way to the pod ---


@contextlib.asynccontextmanager
async def _carried(dial: Dial) -> AsyncIterator[Path]:
    """The path of a socket of this process's user; each connection to it is one to the pod."""
    tasks: set[asyncio.Task[None]] = set()

    def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_carry(dial, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    with tempfile.TemporaryDirectory(prefix="k8snetlab-probe-") as directory:
        path = Path(directory, "sock")
        server = await asyncio.start_unix_server(begun, path)
        try:
            yield path
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(dial: Dial, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer), contextlib.suppress(OSError):
        there, back = await asyncio.open_connection(sock=await dial())
        with contextlib.closing(back):
            ways = [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


def _seconds(seconds: float) -> str:
    """As Go prints a duration of some seconds."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"
