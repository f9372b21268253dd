"""`kubectl port-forward`: for each connection that is made to it two streams of SPDY, one for data, one for an error.

Source: kubelet pkg/cri/streaming/portforward (httpstream.go), client-go tools/portforward.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

from k8snetlab.api.core import Pod
from k8snetlab.apiserver.paths import Target
from k8snetlab.apiserver.query import Query, refuse_unknown
from k8snetlab.apiserver.refusals import missing
from k8snetlab.apiserver.streams import MOST, Stream, Streams
from k8snetlab.apiserver.upgrades import PREFIX
from k8snetlab.errors import ConflictError, K8sNetLabError, RequestError
from k8snetlab.lab.asking import Ask, values
from k8snetlab.messages.places import CONNECT, Connect, Received

PROTOCOLS = (f"{PREFIX}portforward.k8s.io",)


def check(target: Target, pod: Pod | None, query: Query) -> Pod:
    """The pod. Raises RequestError, NotFoundError, ConflictError."""
    refuse_unknown(query, ("ports", "timeout"), ("ports",))
    if pod is None:
        raise missing(target)
    if pod.status.phase != "Running":
        raise ConflictError(f"unable to forward port because pod is not running. Current status={pod.status.phase}")
    return pod


async def forward(ask: Ask, pod: Pod, streams: Streams) -> None:
    """Until the client has gone."""
    listening = asyncio.create_task(streams.listen())
    pairs = _Pairs()
    running: set[asyncio.Task[None]] = set()
    try:
        async for stream in streams.opened():
            if stream.headers.get("streamtype") not in _MATES:
                await stream.reset()
            elif pair := await pairs.with_mate(stream):
                task = asyncio.create_task(_connect(ask, pod, *pair))
                running.add(task)
                task.add_done_callback(running.discard)
    finally:
        for task in (listening, *running):
            task.cancel()
        await asyncio.gather(listening, *running, return_exceptions=True)
    await streams.close()


_MATES = {"data": "error", "error": "data"}


class _Pairs:
    """Streams that wait for the other of their connection, whichever is opened first."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], Stream] = {}

    async def with_mate(self, stream: Stream) -> tuple[Stream, Stream] | None:
        """The stream for data and the one for an error. Raises OSError where the client has gone."""
        kind, number = stream.headers["streamtype"], stream.headers.get("requestid", "")
        mate = self._waiting.pop((number, _MATES[kind]), None)
        if mate is not None:
            return (stream, mate) if kind == "data" else (mate, stream)
        if twice := self._waiting.pop((number, kind), None):
            await twice.reset()
        self._waiting[number, kind] = stream
        if len(self._waiting) > MOST:  # then some have been given up
            self._waiting = {key: one for key, one in self._waiting.items() if not one.given_up.is_set()}
        return None


async def _connect(ask: Ask, pod: Pod, data: Stream, error: Stream) -> None:
    """One connection. What goes wrong with it is said on its error stream, and ends no other."""
    said, carrying = b"", asyncio.create_task(_carry(ask, pod, data))
    giving_up = asyncio.create_task(data.given_up.wait())
    try:
        await asyncio.wait({carrying, giving_up}, return_when=asyncio.FIRST_COMPLETED)
        if carrying.done():
            carrying.result()
    except K8sNetLabError as problem:
        said = problem.message.encode()
    except OSError:
        return  # the client has gone
    finally:
        carrying.cancel()
        giving_up.cancel()
        await asyncio.gather(carrying, giving_up, return_exceptions=True)
        data.ignore()
    with suppress(OSError):
        await error.end(said)
        await data.end()


async def _carry(ask: Ask, pod: Pod, stream: Stream) -> None:
    port = stream.headers.get("port", "")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 1 << 16):
        raise RequestError(f"{port[:20]!r} is no port")
    question = Connect(pod.namespace, pod.name, int(port))
    async with aclosing(values(await ask(CONNECT, question, stream.pieces()), Received)) as received:
        async for one in received:
            await stream.write(one.data)
