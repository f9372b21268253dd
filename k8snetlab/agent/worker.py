"""A thread of one manager's own, for what may take long: it holds up no sync of any node."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Takes one turn after another, from its first `poke` on. The thread is there only while there are turns."""

    def __init__(self, name: str, turn: Callable[[], float | None]) -> None:
        """`turn` must not raise; it returns the seconds until the next turn, None for none before the next `poke`."""
        self._name, self._turn = name, turn
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._poked = self._ended = False

    def poke(self) -> None:
        """A turn is to begin now, or when the one under way has ended."""
        with self._changed:
            self._poked = True
            self._changed.notify_all()
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def end(self) -> None:
        """No more turns; returns when the one under way has ended. Idempotent."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while self._begins():
            seconds = self._turn()
            with self._changed:
                if seconds is not None:
                    self._changed.wait_for(lambda: self._poked or self._ended, seconds)
                    self._poked = True

    def _begins(self) -> bool:
        """Whether another turn begins; else the thread is about to end."""
        with self._changed:
            if self._poked and not self._ended:
                self._poked = False
                return True
            self._thread = None
            return False
