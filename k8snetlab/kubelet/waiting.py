"""Waiting for a descriptor without a thread, a task or a second try: that costs less than the loop's own functions."""

from __future__ import annotations

import asyncio


async def readable(what: int) -> None:
    """Until there is something to read, or its end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(what, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(what)


async def writable(what: int) -> None:
    """Until something can be written, or a connection has failed."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(what, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(what)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
