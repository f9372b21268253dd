"""A command inside a pod or node for someone at a terminal of another machine: the command gets a pty here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import termios
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from k8snetlab.errors import UnsupportedError
from k8snetlab.exec import channels, session
from k8snetlab.exec.channels import Size, Terminal
from k8snetlab.kernel import launch
from k8snetlab.messages.places import Exit, Output, Stdout


async def run(
    setting: launch.Setting, argv: Sequence[str], terminal: Terminal, body: AsyncIterator[bytes]
) -> AsyncGenerator[Output, None]:
    """Yields `Stdout` as the terminal shows it, and at last `Exit`.

    `body` is as `channels.read` takes it. Codes, closing and errors are those of `piped.run`; closing hangs up first.
    """
    pty, process = await _start(setting, argv, terminal)
    typing = asyncio.create_task(_type(pty, body))
    ending = asyncio.create_task(process.wait())
    ended = False
    try:
        while (data := _read(pty)) != b"":
            if data:
                yield Stdout(data)
            elif ending.done():
                break
            else:
                await _until_readable(pty, ending, typing)
        code = await ending
        ended = True
        yield Exit(code if code >= 0 else 128 - code)
    finally:
        typing.cancel()
        await asyncio.gather(typing, return_exceptions=True)
        os.close(pty)
        if not ended:
            await session.end(process.pid, signal.SIGHUP)
        ending.cancel()


def root_shell() -> str:
    """The login shell of this machine's root; /bin/sh where that is no shell to log in with."""
    shell = pwd.getpwuid(0).pw_shell
    refusing = Path(shell).name in ("nologin", "false", "true", "sync")
    return shell if os.access(shell, os.X_OK) and not refusing else "/bin/sh"


async def _start(
    setting: launch.Setting, argv: Sequence[str], terminal: Terminal
) -> tuple[int, asyncio.subprocess.Process]:
    """Our end of a new terminal, which does not block, and the command that has the other one."""
    begin = launch.command(setting, argv, terminal=True)
    try:
        pty, theirs = os.openpty()
    except OSError as error:
        raise UnsupportedError(
            f"the machine gives no terminal: {error.strerror}",
            "look at /dev/pts and kernel.pty.max there; `k8snetlab exec … < /dev/null` needs none",
        ) from error
    try:
        _resize(pty, terminal.size)
        os.set_blocking(pty, False)
        process = await asyncio.create_subprocess_exec(
            *begin,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": terminal.kind},
            start_new_session=True,
            umask=0o022,
        )
    except BaseException:
        os.close(pty)
        raise
    finally:
        os.close(theirs)
    return pty, process


async def _type(pty: int, body: AsyncIterator[bytes]) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):  # nobody has the terminal open any more
        while not os.tcgetpgrp(pty):  # until it controls the command, Ctrl-C would be lost
            await asyncio.sleep(0.005)
        async for piece in channels.read(body):
            if isinstance(piece, Size):
                _resize(pty, piece)
                continue
            while piece:
                try:
                    piece = piece[os.write(pty, piece) :]
                except BlockingIOError:
                    await _ready(pty, loop.add_writer, loop.remove_writer)


def _read(pty: int) -> bytes | None:
    """What the terminal shows next; None for nothing yet, b"" once no process has it open."""
    try:
        return os.read(pty, 65536)
    except BlockingIOError:
        return None
    except OSError:
        return b""


async def _until_readable(pty: int, ending: asyncio.Task[int], typing: asyncio.Task[None]) -> None:
    """Waits until the terminal shows something or the command has ended. Raises what was wrong with what was typed."""
    loop = asyncio.get_running_loop()
    reading = asyncio.create_task(_ready(pty, loop.add_reader, loop.remove_reader))
    waited = {reading, ending} if typing.done() else {reading, ending, typing}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    if typing.done():
        typing.result()


async def _ready(pty: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    ready = asyncio.Event()
    add(pty, ready.set)
    try:
        await ready.wait()
    finally:
        remove(pty)


def _resize(pty: int, size: Size) -> None:
    termios.tcsetwinsize(pty, (size.rows, size.columns))
