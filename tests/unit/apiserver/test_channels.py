"""The channels of an exec end with their client, also while the command does not read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from k8snetlab.apiserver import channels
from k8snetlab.apiserver.channels import STDIN, WAITING, Channels

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_client_that_goes_while_nobody_reads_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "LOOK", 0.01)

    async def receive() -> Any:
        return {"type": "websocket.receive", "bytes": bytes([STDIN]) + b"x"}

    async def send(_: Any) -> None:
        raise OSError("the client has gone")

    one = Channels(receive, send)
    async with asyncio.timeout(20):
        with pytest.raises(OSError, match="gone"):
            await one.listen()
    assert one.gone.is_set()


async def test_what_waits_comes_in_its_order_once_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "LOOK", 0.001)
    said = [bytes([number]) for number in range(3 * WAITING)]
    coming, looked = iter(said), asyncio.Event()

    async def receive() -> Any:
        data = next(coming, None)
        if data is None:
            return {"type": "websocket.disconnect"}
        return {"type": "websocket.receive", "bytes": bytes([STDIN]) + data}

    async def send(_: Any) -> None:
        looked.set()

    one = Channels(receive, send)
    async with asyncio.timeout(20):
        listening = asyncio.create_task(one.listen())
        await looked.wait()
        heard = one.input()
        assert [await anext(heard) for _ in said] == said
        await listening
