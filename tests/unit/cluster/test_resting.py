"""One change is followed at once, many in a row are looked at together."""

from __future__ import annotations

from k8snetlab.cluster.resting import AT_ONCE, LONG, LONGEST, Rests


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_looks_that_one_change_brings_about_are_not_held_up() -> None:
    clock = Clock()
    rests = Rests(clock)
    for _ in range(3):
        clock.now += 0.05
        assert rests.after(0.05) == 0


def test_look_after_look_is_followed_by_rests_and_a_pause_makes_good_for_them() -> None:
    clock = Clock()
    rests = Rests(clock)
    said = []
    for _ in range(6):
        clock.now += 0.06
        said.append(rests.after(0.06))
        clock.now += said[-1]
    assert said[:2] == [0, 0] and all(abs(rest - 0.18) < 1e-9 for rest in said[3:]), said
    clock.now += AT_ONCE + 0.06
    assert rests.after(0.06) < 0.18
    for _ in range(9):
        clock.now += 5
        assert rests.after(5) == LONGEST, "a look that takes seconds is always followed by one"


def test_short_looks_never_are() -> None:
    clock = Clock()
    rests = Rests(clock)
    for _ in range(100):
        clock.now += LONG
        assert rests.after(LONG) == 0
