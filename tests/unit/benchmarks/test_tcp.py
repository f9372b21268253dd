"""Turns: who is measured after whom, and what all rounds found."""

from __future__ import annotations

from functools import partial

from benchmarks.tcp import in_turns, joined


def test_turns_go_forwards_and_backwards() -> None:
    order: list[str] = []

    def measured(name: str) -> float:
        order.append(name)
        return len(order)

    found = in_turns([partial(measured, name) for name in "abc"], 3)
    assert "".join(order) == "abccbaabc"
    assert found == [[1, 6, 7], [2, 5, 8], [3, 4, 9]]


def test_what_rounds_found_of_one_way_stands_together() -> None:
    assert joined([[[1, 2], [10, 20]], [[3], [30]]]) == [(1, 2, 3), (10, 20, 30)]
