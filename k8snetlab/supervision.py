"""Every task that nothing awaits is started here, so that none ends unseen: what fails is logged with its cause, listed
in `failures`, and started again."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from k8snetlab.errors import K8sNetLabError

log = logging.getLogger(__name__)
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Seconds before what has failed is begun again: after the first failure in a row, the second, …"""
QUIET = 60.0
"""Seconds that a task must run for until its failures before are forgotten."""


class Failure(msgspec.Struct, frozen=True):
    """A task that ended when it should not have: `times` in a row, the first `since` and the last `at` (epoch seconds),
    for the `cause`."""

    name: str
    cause: str
    since: float
    at: float
    times: int

    def __str__(self) -> str:
        often = "failed" if self.times == 1 else f"failed {self.times} times in a row"
        return f"{self.name} {often}, and was begun again: {self.cause}"


class Supervisor:
    """Use it from the event loop's thread; `failures` and `note` from any."""

    def __init__(self, pauses: tuple[float, ...] = PAUSES, quiet: float = QUIET) -> None:
        self._pauses, self._quiet = pauses, quiet
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: dict[str, Failure] = {}
        self._lock = threading.Lock()

    @property
    def failures(self) -> list[Failure]:
        """What fails, or has failed lately."""
        with self._lock:
            now = time.time()
            self._failures = {name: one for name, one in self._failures.items() if now - one.at < self._quiet}
            return list(self._failures.values())

    def keep(self, name: str, run: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Runs what is meant to run for ever: that it returns is a failure as well."""
        return self._begin(name, run, for_ever=True)

    def finish(self, name: str, work: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Does `work`, again and again until it is done; then it has not failed."""
        return self._begin(name, work, for_ever=False)

    async def close(self) -> None:
        """Ends every task; what is begun by their ending is ended, too."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)

    def note(self, name: str, error: BaseException | None) -> Failure:
        """Remembers and logs a failure; None: what was to run for ever has returned."""
        cause = _words(error)
        with self._lock:
            before = self._failures.get(name)
            now = time.time()
            if before is not None and now - before.at >= self._quiet:
                before = None
            failure = Failure(name, cause, before.since if before else now, now, before.times + 1 if before else 1)
            self._failures[name] = failure
        known = before is not None and before.cause == cause
        trace = error if error and not known and not isinstance(error, K8sNetLabError) else None
        log.error("%s failed (%d in a row): %s", name, failure.times, cause, exc_info=trace)
        return failure

    def forget(self, name: str) -> None:
        with self._lock:
            self._failures.pop(name, None)

    def unseen(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """The loop's exception handler: takes the exceptions of tasks that nothing awaits."""
        task = context.get("task") or context.get("future")
        name = task.get_name() if isinstance(task, asyncio.Task) else ""
        error = context.get("exception")
        if error is None:
            loop.default_exception_handler(dict(context))
        else:
            self.note(name or str(context.get("message", "a callback")), error)

    def _begin(self, name: str, run: Callable[[], Awaitable[object]], for_ever: bool) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(name, run, for_ever), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, name: str, run: Callable[[], Awaitable[object]], for_ever: bool) -> None:
        own = asyncio.current_task()
        assert own is not None
        failed = 0
        while True:
            began = time.monotonic()
            error: BaseException | None = None
            try:
                await run()
                if not for_ever:
                    if failed:
                        self.forget(name)
                    return
            except asyncio.CancelledError as cancelled:
                if own.cancelling():
                    raise
                error = cancelled  # of something that it awaited
            except Exception as raised:
                if own.cancelling():  # what failed is its end
                    self.note(name, raised)
                    raise
                error = raised
            failed = 1 if time.monotonic() - began >= self._quiet else failed + 1
            self.note(name, error)
            await asyncio.sleep(self._pauses[min(failed, len(self._pauses)) - 1])


def _words(error: BaseException | None) -> str:
    match error:
        case None:
            return "it ended by itself"
        case K8sNetLabError():
            return error.message
        case asyncio.CancelledError():
            return "what it waited for was cancelled"
        case _:
            return f"{type(error).__name__}: {error}".rstrip(": ")
