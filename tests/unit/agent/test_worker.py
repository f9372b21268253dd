"""A manager's own thread: a turn after the other, and none when it is not wanted."""

from __future__ import annotations

import threading

from k8snetlab.agent.worker import Worker
from k8snetlab.testing import eventually


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_a_poke_during_a_turn_is_another_turn() -> None:
    begun, let_go, turns = threading.Event(), threading.Semaphore(0), list[int]()

    def turn() -> None:
        turns.append(len(turns))
        begun.set()
        let_go.acquire()

    worker = Worker("of a test", turn)
    worker.poke()
    assert begun.wait(20)
    worker.poke()
    worker.poke()
    let_go.release(2)
    eventually(lambda: not threads("of a test"))
    assert turns == [0, 1], "both pokes are one turn"
    worker.poke()
    let_go.release()
    eventually(lambda: len(turns) == 3 and not threads("of a test"))


def test_a_turn_that_asks_for_another_gets_it() -> None:
    turns: list[float | None] = [0.01, 0.01, None]
    worker = Worker("of another", lambda: turns.pop(0))
    worker.poke()
    eventually(lambda: not turns and not threads("of another"))


def test_who_ends_it_waits_for_the_turn_under_way() -> None:
    begun, let_go, done = threading.Event(), threading.Event(), list[str]()

    def turn() -> float:
        begun.set()
        assert let_go.wait(20)
        done.append("turn")
        return 0.0

    worker = Worker("of a third", turn)
    worker.poke()
    assert begun.wait(20)
    ending = threading.Thread(target=lambda: (worker.end(), done.append("ended")))
    ending.start()
    let_go.set()
    ending.join()
    assert done[-2:] == ["turn", "ended"] and not threads("of a third")
    worker.poke()
    assert not threads("of a third")
