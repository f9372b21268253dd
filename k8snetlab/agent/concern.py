"""What a snapshot must differ in to concern a node: an agent that would render the same again has nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from k8snetlab.api.reading import Answers, Reading, reading, same_answers
from k8snetlab.api.snapshot import Snapshot

T = TypeVar("T")


class Concern:
    """What the last sync asked of its snapshot, and was answered."""

    def __init__(self) -> None:
        self._answers: Answers | None = None

    def begin(self, snapshot: Snapshot) -> Reading:
        """What a sync is to read instead of the snapshot; until `end` every snapshot concerns the node."""
        self._answers = None
        return reading(snapshot)

    def end(self, read: Reading) -> None:
        """The sync has done all that it read of."""
        self._answers = read.answers

    def touches(self, snapshot: Snapshot) -> bool:
        """Whether a sync would read something else than the last one."""
        return self._answers is None or not same_answers(self._answers, snapshot)


class Remembered(Generic[T]):
    """What follows from a snapshot alone, made again where one says something new to it."""

    def __init__(self, make: Callable[[Snapshot], T]) -> None:
        self._make, self._concern = make, Concern()
        self._held: list[T] = []

    def of(self, snapshot: Snapshot) -> T:
        """Of a snapshot, which is asked all that this follows from, whether it is made again or not."""
        if self._concern.touches(snapshot):
            read = self._concern.begin(snapshot)
            self._held[:] = [self._make(read)]
            self._concern.end(read)
            self._concern.touches(snapshot)
        return self._held[0]
