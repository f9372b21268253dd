"""What Kubernetes' paths ask of a running pod, answered by the lab's own verbs: what it wrote (`log`), a command in it
(`exec`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.api.words import shorten
from k8snetlab.apiserver.channels import STDERR, STDOUT, Channels, Resized, ended
from k8snetlab.apiserver.paths import Target
from k8snetlab.apiserver.query import Query, boolean, number, refuse_unknown, text
from k8snetlab.apiserver.refusals import missing
from k8snetlab.apiserver.transport import Request
from k8snetlab.errors import K8sNetLabError, RequestError
from k8snetlab.exec import channels as terminal
from k8snetlab.messages.errors import BrokenOff, error_of, status_of
from k8snetlab.messages.places import EXEC, LOGS, Execute, Exit, LogsQuestion, Output, Stdout, Written
from k8snetlab.messages.verb import ERROR, Verb

Ask = Callable[[Verb[Any], msgspec.Struct, Any], Awaitable[Any]]
"""Answers a verb, here or on another machine: its values, or whole lines of them as JSON."""
_WORDS = ("container", "follow", "previous", "tailLines", "limitBytes", "pretty", "insecureSkipTLSVerifyBackend")
_UNTIMED = ("sinceSeconds", "sinceTime", "timestamps")


def log_question(target: Target, request: Request) -> LogsQuestion:
    """Raises RequestError."""
    query = request.values
    refuse_unknown(query, (*_WORDS, *_UNTIMED, "timeout", "stream"))
    for word in _UNTIMED:
        if text(query, word) not in ("", "false"):
            raise RequestError(
                f"{word} is not supported: what a container wrote is kept without times", "use tailLines"
            )
    tail = number(query, "tailLines")
    return LogsQuestion(
        target.namespace,
        target.name,
        container=text(query, "container"),
        follow=boolean(query, "follow"),
        previous=boolean(query, "previous"),
        tailLines=-1 if tail is None else tail,
        limitBytes=number(query, "limitBytes", 1),
    )


async def log(ask: Ask, question: LogsQuestion) -> AsyncGenerator[bytes, None]:
    """What was written, as it is."""
    async with aclosing(values(await ask(LOGS, question, b""), Written)) as pieces:
        async for one in pieces:
            yield one.data


async def values(events: AsyncIterator[Any], type_: Any) -> AsyncGenerator[Any, None]:
    """Values of a verb's answer, also of one that another machine sent as lines. Raises the error that it ends with."""
    decoder = msgspec.json.Decoder(type_)
    try:
        async for event in events:
            if not isinstance(event, bytes):
                yield event
                continue
            for line in event.splitlines():
                if line.startswith(ERROR):
                    raise error_of(msgspec.json.decode(line, type=BrokenOff).status)
                yield decoder.decode(line)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def execution(target: Target, pod: Pod | None, query: Query) -> Execute:
    """What `exec` is to run. Raises RequestError, NotFoundError."""
    refuse_unknown(query, ("command", "container", "stdin", "stdout", "stderr", "tty", "timeout"), ("command",))
    if pod is None:
        raise missing(target)
    container, names = text(query, "container"), [one.name for one in pod.spec.serving_containers]
    if container and container not in names:
        raise RequestError(f"container {shorten(container)} is not valid for pod {target.name}")
    command = tuple(query.get("command", ()))
    if not command:
        raise RequestError("you must specify at least one command for the container")
    place = f"pod/{target.namespace}/{target.name}"  # a node, or the router, may have its name
    return Execute(place, target.namespace, command, tty=boolean(query, "tty"), term="xterm")


async def execute(ask: Ask, question: Execute, channels: Channels, stdin: bool) -> None:
    """Runs it between the client's channels. Raises nothing once the client was accepted but CancelledError."""
    await channels.accept()
    listening = asyncio.create_task(channels.listen())
    running = asyncio.create_task(_run(ask, question, channels, stdin))
    gone = asyncio.create_task(channels.gone.wait())
    try:
        await asyncio.wait({running, gone}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in (listening, running, gone):
            task.cancel()
        await asyncio.gather(listening, running, gone, return_exceptions=True)


async def _run(ask: Ask, question: Execute, channels: Channels, stdin: bool) -> None:
    body = _typed(channels.input()) if question.tty else _plain(channels.input())
    try:
        events = await ask(EXEC, question, body if stdin or question.tty else _nothing())
        async with aclosing(values(events, Output)) as outputs:
            async for event in outputs:
                if isinstance(event, Exit):
                    await channels.end(ended(event.code))
                    return
                await channels.write(STDOUT if isinstance(event, Stdout) else STDERR, event.data)
    except K8sNetLabError as error:
        await channels.end(status_of(error))


async def _plain(said: AsyncIterator[bytes | Resized]) -> AsyncIterator[bytes]:
    async for one in said:
        if isinstance(one, bytes):
            yield one


async def _typed(said: AsyncIterator[bytes | Resized]) -> AsyncIterator[bytes]:
    """With sizes in between, as a terminal's session takes them."""
    async for one in said:
        if isinstance(one, bytes):
            yield terminal.typed(one)
        elif 0 <= one.Height <= 0xFFFF and 0 <= one.Width <= 0xFFFF:
            yield terminal.resized(terminal.Size(one.Height, one.Width))


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
