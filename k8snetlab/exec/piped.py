"""A command inside a pod or node for someone on another machine who sits at no terminal: three pipes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from k8snetlab.exec import session
from k8snetlab.kernel import launch
from k8snetlab.messages.places import Exit, Output, Stderr, Stdout


async def run(
    setting: launch.Setting, argv: Sequence[str], stdin: AsyncIterator[bytes]
) -> AsyncGenerator[Output, None]:
    """Yields what it writes as it comes, and at last `Exit`.

    A command that a signal ended has the code 128 + its number, one that is not there 127, as in a shell. Closing the
    generator ends the command and what it has started in its session. Raises NotFoundError where there is no such
    namespace.
    """
    process = await asyncio.create_subprocess_exec(
        *launch.command(setting, argv),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        umask=0o022,
    )
    assert process.stdin and process.stdout and process.stderr
    said: asyncio.Queue[Output | None] = asyncio.Queue(8)
    tasks = [
        asyncio.create_task(_give(process.stdin, stdin)),
        asyncio.create_task(_take(Stdout, process.stdout, said)),
        asyncio.create_task(_take(Stderr, process.stderr, said)),
    ]
    closed = asyncio.create_task(_closed(process.stdin))
    ended = False
    try:
        open_ones = 2
        while open_ones:
            event = await said.get()
            if event is None:
                open_ones -= 1
            else:
                yield event
        code = await process.wait()
        ended = True
        yield Exit(code if code >= 0 else 128 - code)
    finally:
        for task in tasks:
            task.cancel()
        if not ended:
            await session.end(process.pid, signal.SIGTERM)
        process.stdin.close()
        await asyncio.wait({closed}, timeout=session.GRACE)


async def _give(pipe: asyncio.StreamWriter, stdin: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(ConnectionError):
        async for data in stdin:
            pipe.write(data)
            await pipe.drain()
        pipe.close()


async def _closed(pipe: asyncio.StreamWriter) -> None:
    """Takes note of how the pipe ended: until Python 3.11.5 a command that closed it is an error which nobody saw."""
    with contextlib.suppress(OSError):
        await pipe.wait_closed()


async def _take(type_: type[Stdout | Stderr], pipe: asyncio.StreamReader, said: asyncio.Queue[Output | None]) -> None:
    while data := await pipe.read(65536):
        await said.put(type_(data))
    await said.put(None)
