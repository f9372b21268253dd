"""Decoders that several threads ask for at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec

from k8snetlab.client.decoders import decoder

WHILE = 0.2
"""Seconds in which the other thread would have come, too."""


class Meeting:
    """A field's type that msgspec looks into as it gathers what it knows of a Struct: whoever comes here waits for the
    other."""

    def __init__(self) -> None:
        self._both, self.met = threading.Barrier(2), False

    @property
    def __supertype__(self) -> type:
        try:
            self._both.wait(WHILE)
            self.met = True
        except threading.BrokenBarrierError:
            pass
        return int


def test_only_one_thread_at_a_time_makes_what_others_would_find_half_made() -> None:
    meeting = Meeting()
    types = [msgspec.defstruct(name, [("a", meeting)]) for name in ("One", "Other")]
    with ThreadPoolExecutor(2) as threads:
        read = list(threads.map(lambda type_: decoder(type_).decode(b'{"a": 1}').a, types))
    assert read == [1, 1] and not meeting.met
    assert decoder(types[0]) is decoder(types[0])
