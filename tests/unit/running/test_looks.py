"""Looks that are asked for together are one thread's work; one that fails takes no other along."""

from __future__ import annotations

import asyncio
import threading

import pytest

from k8snetlab.running.looks import Looks


def test_those_of_one_turn_are_one_threads_work(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    hops = 0
    hop = asyncio.to_thread

    async def counted(*args: object) -> object:
        nonlocal hops
        hops += 1
        return await hop(*args)  # type: ignore[arg-type]

    def look(found: bool) -> bool:
        threads.append(threading.get_ident())
        return found

    async def run() -> list[bool]:
        looks = Looks()

        async def one(number: int) -> bool:
            return await looks.ask(lambda: look(number % 2 == 0))

        return await asyncio.gather(*(one(number) for number in range(10)))

    monkeypatch.setattr(asyncio, "to_thread", counted)
    assert asyncio.run(run()) == [True, False] * 5
    assert hops == 1 and len(set(threads)) == 1 and threads[0] != threading.get_ident()


def test_one_that_is_asked_for_meanwhile_has_its_turn_and_a_failure_stays_with_its_look() -> None:
    async def run() -> None:
        looks, begun, go_on = Looks(), threading.Event(), threading.Event()

        def first() -> bool:
            begun.set()
            return go_on.wait(10)

        def failing() -> bool:
            raise OSError("gone")

        one = looks.ask(first)
        await asyncio.to_thread(begun.wait, 10)
        other, third = looks.ask(failing), looks.ask(lambda: False)
        go_on.set()
        assert await one is True
        with pytest.raises(OSError, match="gone"):
            await other
        assert await third is False
        assert await looks.ask(lambda: True) is True

    asyncio.run(run())
