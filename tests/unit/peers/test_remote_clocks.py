"""Frames of machines whose clocks differ, put into one order by the packets that went from one to the other."""

from __future__ import annotations

from k8snetlab.dataplane.frames import Frame
from k8snetlab.dataplane.packet import Packet
from k8snetlab.peers.remote import aligned

ASK = Packet("10.0.0.1", "10.0.0.2", "tcp", 40000, 80)
SAY = Packet("10.0.0.2", "10.0.0.1", "tcp", 80, 40000)


def frame(place: str, device: str, outgoing: bool, at: int, packet: Packet = ASK) -> Frame:
    return Frame(place, device, outgoing, False, at, packet)


def order(frames: list[Frame]) -> list[tuple[str, str]]:
    return [(f.netns, f.interface) for f in frames]


def test_a_clock_that_is_an_hour_ahead_changes_no_order() -> None:
    ahead = 3600 * 10**9
    here = [
        frame("pod", "eth0", True, 1_000),
        frame("one", "eth1", True, 5_000),
        frame("one", "eth1", False, 45_000, SAY),
        frame("pod", "eth0", False, 48_000, SAY),
    ]
    there = [frame("two", "eth1", False, ahead + 15_000), frame("two", "eth1", True, ahead + 35_000, SAY)]
    for shift in (0, -2 * ahead):
        moved = [f._replace(nanoseconds=f.nanoseconds + shift) for f in there]
        found = aligned({"": here, "two": moved}, "")
        assert [f.nanoseconds for f in found] == [1_000, 5_000, 15_000, 35_000, 45_000, 48_000]
        assert order(found) == [("pod", "eth0"), ("one", "eth1"), ("two", "eth1"), ("two", "eth1"), *order(here)[2:]]


def test_one_way_alone_is_taken_to_cost_nothing() -> None:
    there = [frame("two", "eth1", False, 700), frame("two", "pod", True, 900)]
    found = aligned({"": [frame("one", "eth1", True, 5_000)], "two": there}, "")
    assert [(f.netns, f.nanoseconds) for f in found] == [("one", 5_000), ("two", 5_000), ("two", 5_200)]


def test_a_machine_behind_another_one() -> None:
    """The packet never goes straight from the first machine to the third."""
    on = ASK._replace(src="10.0.0.9")
    frames = {
        "": [frame("one", "eth1", True, 10)],
        "two": [frame("two", "eth1", False, 1_010), frame("two", "eth1", True, 1_020, on)],
        "three": [frame("three", "eth1", False, 9_000, on)],
    }
    assert [(f.netns, f.nanoseconds) for f in aligned(frames, "")] == [
        ("one", 10),
        ("two", 10),
        ("two", 20),
        ("three", 20),
    ]


def test_what_nothing_ties_to_the_others_stays() -> None:
    there = [frame("two", "eth1", False, 77, SAY)]
    found = aligned({"": [frame("one", "eth1", True, 50)], "two": there}, "")
    assert [f.nanoseconds for f in found] == [50, 77]
