"""Losses that conntrack counts are a finding while they are new."""

from __future__ import annotations

from k8snetlab.explain import clashing


def test_what_was_lost_long_ago_is_no_finding() -> None:
    now = [100.0]
    memory = clashing.Memory(lambda: now[0])
    assert [memory.new(1, 3), memory.new(1, 3)] == [3, 3], "who began later does not know when it was"
    now[0] += 61
    assert memory.new(1, 3) == 0
    assert memory.new(1, 5) == 2
    now[0] += 30
    assert [memory.new(1, 6), memory.new(2, 0), memory.new(1, 1)] == [3, 0, 1]
