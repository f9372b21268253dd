"""Which server is asked first, and which last."""

from __future__ import annotations

from k8snetlab.nameserver.choosing import REST, Choice

ONE, TWO, THREE = (("192.0.2.1", 53), ("192.0.2.2", 53), ("192.0.2.3", 53))


def test_the_policy_says_who_is_first() -> None:
    assert [Choice((ONE, TWO)).order() for _ in range(3)] == [[ONE, TWO]] * 3
    turns = Choice((ONE, TWO, THREE), "round_robin")
    assert [turns.order()[0] for _ in range(4)] == [ONE, TWO, THREE, ONE]
    chance = Choice((ONE, TWO, THREE), "random")
    assert {chance.order()[0] for _ in range(200)} == {ONE, TWO, THREE}
    assert not Choice(())


def test_a_server_that_fails_twice_is_asked_last_until_it_has_rested_or_answers() -> None:
    now = [0.0]
    choice = Choice((ONE, TWO), "sequential", lambda: now[0])
    choice.failed(ONE)
    assert choice.order() == [ONE, TWO]
    choice.failed(ONE)
    assert choice.order() == [TWO, ONE]
    now[0] += REST + 0.1
    assert choice.order() == [ONE, TWO]
    choice.failed(ONE)
    assert choice.order() == [TWO, ONE], "it is still not well"
    choice.answered(ONE)
    choice.failed(ONE)
    assert choice.order() == [ONE, TWO]
