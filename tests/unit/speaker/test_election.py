"""Who announces an address: speakers that hear each other, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from k8snetlab.speaker.election import BEAT, PATIENCE, Election

IP, ORDER = "192.168.0.200", ("a", "b", "c")


class Link:
    """Some speakers on one link; those that are `down` are heard by nobody and hear nobody."""

    def __init__(self, nodes: Iterable[str] = ORDER) -> None:
        self.now, self.down = 100.0, set[str]()
        self.speakers = {node: Election(node) for node in nodes}
        self.unasked: list[tuple[str, float]] = []
        for one in self.speakers.values():
            one.configure({IP: ORDER}, self.now)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / BEAT)):
            self.now += BEAT
            said = {
                node: (one.turn(self.now), one.announced)
                for node, one in self.speakers.items()
                if node not in self.down
            }
            for node, (released, announced) in said.items():
                for other, one in self.speakers.items():
                    if other != node and other not in self.down:
                        one.hear(node, announced, released, self.now)
            for node in said:
                self.unasked += [(node, self.now) for _ in self.speakers[node].due(self.now)]

    @property
    def announcers(self) -> list[str]:
        return [node for node, one in self.speakers.items() if IP in one.announced and node not in self.down]


def test_the_first_in_the_order_announces_at_once_and_alone() -> None:
    link = Link()
    link.run(BEAT)
    assert link.announcers == ["a"]
    link.run(20)
    assert link.announcers == ["a"]


def test_a_silent_announcer_is_followed_within_two_seconds_and_comes_back() -> None:
    link = Link()
    link.run(5)
    link.down.add("a")
    link.run(PATIENCE + 2 * BEAT)
    assert link.announcers == ["b"], "one of them, and the next in the order"
    link.down.add("b")
    link.run(2 * PATIENCE + 2 * BEAT)
    assert link.announcers == ["c"]
    link.down.clear()
    link.run(3 * BEAT)
    assert link.announcers == ["a"]


def test_two_that_are_dead_from_the_beginning_are_passed_over() -> None:
    link = Link()
    link.down |= {"a", "b"}
    link.run(2 * PATIENCE + 2 * BEAT)
    assert link.announcers == ["c"]


def test_one_that_gives_up_is_followed_at_once() -> None:
    link = Link()
    link.run(5)
    for other in ("b", "c"):
        link.speakers[other].hear("a", (), (IP,), link.now)
    link.down.add("a")
    link.run(BEAT)
    assert link.announcers == ["b"]


def test_a_takeover_is_announced_for_five_seconds_and_when_a_later_one_claims_the_address() -> None:
    link = Link()
    link.run(20)
    times = [moment - 100 for node, moment in link.unasked if node == "a"]
    assert times[0] <= BEAT and 4 <= len(times) <= 6 and times[-1] <= 5.5, times
    link.unasked.clear()
    link.speakers["a"].hear("c", (IP,), (), link.now)
    link.run(BEAT)
    assert link.unasked and {node for node, _ in link.unasked} == {"a"}


def test_a_node_whose_device_is_down_announces_nothing() -> None:
    one = Election("a")
    one.configure({IP: ORDER}, 0.0)
    assert one.turn(0.1) == frozenset() and one.announced == {IP}
    assert one.turn(0.2, up=False) == {IP} and one.announced == frozenset()


@pytest.mark.parametrize("orders", [{}, {IP: ("b", "a")}])
def test_another_order_is_obeyed_at_once(orders: dict[str, tuple[str, ...]]) -> None:
    one = Election("a")
    one.configure({IP: ("a", "b")}, 0.0)
    one.turn(0.1)
    one.configure(orders, 1.0)
    one.hear("b", (IP,), (), 1.1)
    assert one.turn(1.2) == {IP} and not one.announced
