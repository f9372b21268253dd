"""A health service asked by gRPC: a real server of grpcio's answers, kubelet's words tell it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from k8snetlab.kubelet.health_service import METHOD, check

grpc = pytest.importorskip("grpc")
aio = pytest.importorskip("grpc.aio")

NAMED = {b"": b"\x08\x01", b"\x0a\x04down": b"\x08\x02", b"\x0a\x05empty": b"", b"\x0a\x03odd": b"\x12\x01x\x08\x63"}


async def answers(question: bytes, context: Any) -> bytes:
    if question == b"\x0a\x04slow":
        await asyncio.sleep(60)
    if question not in NAMED:
        await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return NAMED[question]


async def dialled(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


async def said(port: int, service: str, timeout: float) -> str:
    found = await check(lambda: dialled(port), f"127.0.0.1:{port}", service, timeout)
    return found.replace(str(port), "PORT")


async def all_said(method: str, *questions: tuple[str, float]) -> list[str]:
    server = aio.server()
    _, family, name = method.split("/")
    handler = grpc.unary_unary_rpc_method_handler(answers)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(family, {name: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        return [await said(port, *one) for one in questions]
    finally:
        await server.stop(None)


def test_a_service_that_says_serving_is_well_and_every_other_answer_is_told() -> None:
    names = ("", "down", "empty", "odd", "none")
    found = asyncio.run(all_said(METHOD, *((name, 60.0) for name in names), ("slow", 0.5)))
    assert found == [
        "",
        'service unhealthy (responded with "NOT_SERVING")',
        'service unhealthy (responded with "UNKNOWN")',
        'service unhealthy (responded with "99")',
        "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        "timeout: health rpc did not complete within 0.5s",
    ]


def test_a_server_without_a_health_service_is_told_as_such() -> None:
    (found,) = asyncio.run(all_said("/other.Service/Check", ("", 60.0)))
    assert found.startswith("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ")


def test_nobody_there_and_one_that_speaks_no_grpc_are_no_connection() -> None:
    def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad\r\n\r\n")
        writer.close()

    async def deaf() -> tuple[str, str]:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        other = await said(port, "", 0.5)
        server.close()
        await server.wait_closed()
        return other, await said(port, "", 0.5)

    failed = 'timeout: failed to connect service "127.0.0.1:PORT" within 0.5s: context deadline exceeded'
    assert asyncio.run(deaf()) == (failed, failed)
