"""Other machines' kernels, for work in a thread: what a trace reads from them and sees there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from k8snetlab.dataplane.frames import Frame
from k8snetlab.dataplane.rules import Family
from k8snetlab.dataplane.view import View
from k8snetlab.diagnose.finding import Finding
from k8snetlab.errors import DaemonError, K8sNetLabError, StoreError
from k8snetlab.messages.diagnose import FINDINGS
from k8snetlab.messages.trace import SURVEY, SurveyQuestion
from k8snetlab.messages.verb import Nothing, Packed
from k8snetlab.messages.watch import WATCH, WatchEvent, WatchQuestion, WatchSeen
from k8snetlab.peers.requests import Remote

Q = TypeVar("Q", bound=msgspec.Struct)
T = TypeVar("T")
WATCH_TIMEOUT = 10.0
"""Seconds that another machine gets to say all that it saw."""


class RemoteKernels:
    """The kernels of other machines, for a thread that is not the loop's. `here` is this machine's node."""

    def __init__(self, remote: Remote, loop: asyncio.AbstractEventLoop) -> None:
        self._remote, self._loop = remote, loop
        self._silent: dict[str, K8sNetLabError] = {}
        self.here = remote.node

    def survey(self, node: str, namespace: str, family: Family) -> View:
        """A namespace of another machine as its kernel has it. Raises what is wrong there, DaemonError, StoreError.

        A machine that did not answer is not asked again, and none when the store that carries questions did not.
        """
        return self._get(node, SURVEY, SurveyQuestion(namespace, family))

    def findings(self, node: str) -> list[Finding]:
        """What another machine's daemon finds wrong on its node. Raises what `survey` raises."""
        return self._get(node, FINDINGS, Nothing())

    @contextlib.contextmanager
    def watch(self, namespaces: Mapping[str, Sequence[str]], ports: Collection[int]) -> Iterator[RemoteWatch]:
        """Every machine watches its own of the namespaces, which `namespaces` holds by node, from now on."""
        watch = RemoteWatch(self._loop)
        for node, own in namespaces.items():
            question = WatchQuestion(tuple(own), tuple(ports))
            watch.begin(node, self._remote.lines(node, WATCH, question, watch.until_ended()))
        try:
            self._wait(watch.begun())
            yield watch
        finally:
            self._wait(watch.close())

    def _get(self, node: str, verb: Packed[Q, T], question: Q) -> T:
        if silent := self._silent.get(node) or self._silent.get(""):
            raise silent
        try:
            return self._wait(self._remote.ask(node, verb, question))
        except DaemonError as error:
            self._silent[node] = error
            raise
        except StoreError as error:
            self._silent[""] = error
            raise

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class RemoteWatch:
    """A watch on several machines. `seen` ends it. `failed` are the machines that do not watch, and why."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._over = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[WatchSeen]] = {}
        self._streams: dict[str, AsyncIterator[WatchEvent]] = {}
        self._first: dict[str, asyncio.Event] = {}
        self.failed: dict[str, str] = {}

    def begin(self, node: str, stream: AsyncIterator[WatchEvent]) -> None:
        self._streams[node], self._first[node] = stream, asyncio.Event()

    async def until_ended(self) -> AsyncIterator[bytes]:
        """The body of a request that ends when this watch does."""
        await self._over.wait()
        return
        yield b""

    async def begun(self) -> None:
        """Until each machine watches, or has failed to."""
        for node, stream in self._streams.items():
            self._tasks[node] = asyncio.create_task(self._follow(node, stream))
        await asyncio.gather(*(event.wait() for event in self._first.values()))

    def seen(self) -> dict[str, WatchSeen]:
        """What each machine saw until now, by node."""
        return asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result()

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _ended(self) -> dict[str, WatchSeen]:
        self._over.set()
        await asyncio.wait([*self._tasks.values()], timeout=WATCH_TIMEOUT) if self._tasks else None
        for node in [node for node, task in self._tasks.items() if not task.done()]:
            self.failed[node] = f"{node}: its daemon has not said what it saw within {WATCH_TIMEOUT:g} s"
        return {n: task.result() for n, task in self._tasks.items() if task.done() and n not in self.failed}

    async def _follow(self, node: str, stream: AsyncIterator[WatchEvent]) -> WatchSeen:
        found = WatchSeen()
        try:
            async for event in stream:
                self._first[node].set()
                if isinstance(event, WatchSeen):
                    found = event
        except K8sNetLabError as error:
            self.failed[node] = error.message
        finally:
            self._first[node].set()
        return found


def aligned(frames: Mapping[str, Sequence[Frame]], origin: str) -> list[Frame]:
    """The frames of all machines, with times by the clock of machine `origin`.

    How far two clocks are apart is told by packets that left one machine and came to the other, there and back: the
    quickest way takes as long in both directions (RFC 5905). One that no packet ties to the others is left as it is.
    """
    offsets = {origin: 0}
    pending = [origin]
    while pending:
        one = pending.pop()
        for other in frames.keys() - offsets.keys():
            apart = _apart(frames.get(one, ()), frames[other])
            if apart is not None:
                offsets[other] = offsets[one] + apart
                pending.append(other)
    moved = [f._replace(nanoseconds=f.nanoseconds - offsets.get(n, 0)) for n, held in frames.items() for f in held]
    return sorted(moved, key=lambda frame: frame.nanoseconds)


def _apart(one: Iterable[Frame], other: Iterable[Frame]) -> int | None:
    """Nanoseconds by which the other's clock is ahead; None where no packet went from one to the other."""
    there, back = _shortest(one, other), _shortest(other, one)
    if there is None or back is None:
        return there if back is None else -back
    return (there - back) // 2


def _shortest(sender: Iterable[Frame], receiver: Iterable[Frame]) -> int | None:
    left = {frame.packet: frame.nanoseconds for frame in sender if frame.outgoing}
    came = [f.nanoseconds - left[f.packet] for f in receiver if not f.outgoing and f.packet in left]
    return min(came, default=None)
