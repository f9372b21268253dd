"""What Kubernetes' paths ask of a running pod as a conversation: a command in it (`exec`), what it writes (`attach`), a
connection to a port of it (`port-forward`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any

from msgspec import Struct

from k8snetlab.api.core import Container, Pod
from k8snetlab.api.words import shorten
from k8snetlab.apiserver.channels import PROTOCOLS, STDERR, STDOUT, Channels, Resized, ended
from k8snetlab.apiserver.paths import Target
from k8snetlab.apiserver.query import Query, boolean, refuse_unknown, text
from k8snetlab.apiserver.refusals import missing
from k8snetlab.apiserver.stream_channels import StreamChannels
from k8snetlab.apiserver.streams import Streams
from k8snetlab.apiserver.transport import Json, Receive, Send, accept
from k8snetlab.apiserver.upgrades import PREFIX
from k8snetlab.errors import K8sNetLabError, RequestError
from k8snetlab.exec import channels as terminal
from k8snetlab.lab import port_channels, port_forward
from k8snetlab.lab.asking import Ask, values
from k8snetlab.lab.port_channels import PROTOCOL, ports_of
from k8snetlab.messages.errors import status_of
from k8snetlab.messages.places import EXEC, LOGS, Execute, Exit, LogsQuestion, Output, Stdout, Written

_CHANNELS = ("container", "stdin", "stdout", "stderr", "tty", "timeout")
COMMAND = (*PROTOCOLS, f"{PREFIX}v4.channel.k8s.io")
AnyChannels = Channels | StreamChannels


class Asked(Struct, frozen=True):
    """Which part of which pod, None where there is none, and the query."""

    target: Target
    pod: Pod | None
    query: Query


async def converse(ask: Ask, asked: Asked, scope: Json, receive: Receive, send: Send) -> None:
    """Raises what is refused, before the client is accepted; afterwards OSError alone, where the client has gone."""
    target, pod, query = asked.target, asked.pod, asked.query
    if target.subresource == "portforward":
        await _forward(ask, asked, scope, receive, send)
        return
    question = (attachment if target.subresource == "attach" else execution)(target, pod, query)
    spoken, stdin = await accept(scope, receive, send, COMMAND), boolean(query, "stdin")
    channels: AnyChannels = Channels(receive, send)
    if spoken.startswith(PREFIX):
        channels = StreamChannels(receive, send, _streams(query))
    if isinstance(question, LogsQuestion):
        await _while_there(channels, _show(ask, question, channels))
    else:
        await _while_there(channels, _run(ask, question, channels, stdin))


async def _forward(ask: Ask, asked: Asked, scope: Json, receive: Receive, send: Send) -> None:
    pod = port_forward.check(asked.target, asked.pod, asked.query)
    channelled = PROTOCOL in scope.get("subprotocols", ())
    ports = ports_of(asked.query) if channelled else ()
    await accept(scope, receive, send, (PROTOCOL,) if channelled else port_forward.PROTOCOLS)
    if channelled:
        await port_channels.forward(ask, pod, ports, receive, send)
    else:
        await port_forward.forward(ask, pod, Streams(receive, send))


def _streams(query: Query) -> frozenset[str]:
    """Those that the client opens for an exec over SPDY."""
    tty = boolean(query, "tty")
    said = {"stderr": boolean(query, "stderr") and not tty, "resize": tty}
    said |= {name: boolean(query, name) for name in ("stdin", "stdout")}
    return frozenset({"error", *(name for name, is_opened in said.items() if is_opened)})


def execution(target: Target, pod: Pod | None, query: Query) -> Execute:
    """What `exec` is to run. Raises RequestError, NotFoundError."""
    refuse_unknown(query, (*_CHANNELS, "command"), ("command",))
    container = _container(target, pod, query)
    command = tuple(query.get("command", ()))
    if not command:
        raise RequestError("you must specify at least one command for the container")
    place = f"pod/{target.namespace}/{target.name}"  # a node, or the router, may have its name
    tty = boolean(query, "tty")
    return Execute(place, target.namespace, command, tty=tty, term="xterm", container=container.name)


def attachment(target: Target, pod: Pod | None, query: Query) -> LogsQuestion:
    """What `attach` is to show: what the container writes from now on. Raises RequestError, NotFoundError."""
    refuse_unknown(query, _CHANNELS)
    container = _container(target, pod, query)
    if not container.argv:
        raise RequestError(
            f"container {container.name} of pod {target.name} has no command to attach to: a stand-in answers for its "
            f"image, and writes nothing; `kubectl exec -it {target.name} -- sh` runs a shell in it"
        )
    if boolean(query, "stdin"):
        raise RequestError(
            f"attach -i is not supported: the command of container {container.name} reads nothing; "
            f"`kubectl exec -it {target.name} -- sh` runs a shell beside it"
        )
    return LogsQuestion(target.namespace, target.name, container.name, follow=True, tailLines=0)


def _container(target: Target, pod: Pod | None, query: Query) -> Container:
    if pod is None:
        raise missing(target)
    name, containers = text(query, "container"), pod.spec.serving_containers
    if not name and len(pod.spec.containers) > 1:  # kubectl has chosen one before it asks (default-container)
        choice = " ".join(one.name for one in pod.spec.containers)
        raise RequestError(f"a container name must be specified for pod {target.name}, choose one of: [{choice}]")
    found = next((one for one in containers if name in ("", one.name)), None)
    if found is None:
        raise RequestError(f"container {shorten(name)} is not valid for pod {target.name}")
    return found


async def _while_there(channels: AnyChannels, work: Coroutine[Any, Any, None]) -> None:
    """Until it is done or the client has gone. Raises OSError where the client has gone."""
    listening = asyncio.create_task(channels.listen())
    running = asyncio.create_task(work)
    gone = asyncio.create_task(channels.gone.wait())
    try:
        await asyncio.wait({running, gone}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in (listening, running, gone):
            task.cancel()
        await asyncio.gather(listening, running, gone, return_exceptions=True)


async def _show(ask: Ask, question: LogsQuestion, channels: AnyChannels) -> None:
    try:
        await channels.ready()
        async with aclosing(values(await ask(LOGS, question, b""), Written)) as pieces:
            async for one in pieces:
                await channels.write(STDOUT, one.data)
        await channels.end(ended(0))
    except K8sNetLabError as error:
        await channels.end(status_of(error))


async def _run(ask: Ask, question: Execute, channels: AnyChannels, stdin: bool) -> None:
    body = _typed(channels.input()) if question.tty else _plain(channels.input())
    try:
        await channels.ready()
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
