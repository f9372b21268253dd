"""How long the daemon's loop was away from requests."""

from __future__ import annotations

import asyncio
import time

import pytest

from k8snetlab.running import turning


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def turns() -> list[float]:
    seen = [turning.longest_turn()]
    await asyncio.sleep(0)
    spin(0.3)
    await asyncio.sleep(0)
    seen.append(turning.longest_turn())
    time.sleep(0.5)  # as on a machine that is busy with others: not the loop's own work
    await asyncio.sleep(0)
    await asyncio.to_thread(spin, 0.6)
    seen.append(turning.longest_turn())
    return seen


@pytest.mark.slow
def test_a_turn_is_what_the_loop_itself_works_between_two_looks_for_requests() -> None:
    with asyncio.Runner(loop_factory=turning.loop) as runner:
        before, after, at_last = runner.run(turns())
    assert before < 0.3 <= after == at_last


def test_other_loops_do_not_measure() -> None:
    async def longest() -> float:
        return turning.longest_turn()

    assert asyncio.run(longest()) == 0.0
