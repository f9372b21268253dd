"""What a large request stores, and Python's looks for garbage."""

from __future__ import annotations

import gc

import pytest

from k8snetlab.lab.operations import writing


@pytest.mark.parametrize(("count", "apart"), [(writing.MANY, True), (writing.MANY - 1, False)])
def test_what_a_large_request_stores_is_set_apart_from_garbage_also_when_it_fails(count: int, apart: bool) -> None:
    gc.unfreeze()
    try:
        with pytest.raises(RuntimeError), writing._set_apart(count):
            assert gc.isenabled() is not apart
            raise RuntimeError("the disk is full")
        assert gc.isenabled()
        assert (gc.get_freeze_count() > 0) is apart
    finally:
        gc.unfreeze()


def test_what_is_set_apart_is_not_looked_through_first() -> None:
    """To go through 10,000 Services and EndpointSlices takes 75 ms, and they are in no cycles."""
    looks: list[str] = []
    looked = lambda phase, _: looks.append(phase)  # noqa: E731
    gc.callbacks.append(looked)
    try:
        with writing._set_apart(writing.MANY):
            stored = [[number] for number in range(10 * gc.get_threshold()[0])]
        assert stored and not looks
    finally:
        gc.callbacks.remove(looked)
        gc.unfreeze()
