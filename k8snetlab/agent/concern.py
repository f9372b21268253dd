"""What a snapshot must differ in to concern a node: an agent that would render the same again has nothing to do."""

from __future__ import annotations

from k8snetlab.api.reading import Answers, Reading, reading, same_answers
from k8snetlab.api.snapshot import Snapshot


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
