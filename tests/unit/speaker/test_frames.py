"""What a speaker reads and writes: the octets of ARP and NDP, and what speakers tell each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from k8snetlab.speaker import frames

OWN, ASKER = bytes.fromhex("0a58c0a80015"), bytes.fromhex("0a58c0a80001")
ASKED = bytes.fromhex(
    "ffffffffffff" "0a58c0a80001" "0806" "0001" "0800" "06" "04" "0001"
    "0a58c0a80001" "c0a80001" "000000000000" "c0a800c8"
)  # fmt: skip


def test_a_request_to_everybody_is_answered_with_the_nodes_mac() -> None:
    request = frames.arp_request(ASKED, OWN)
    assert request == (ASKER, "192.168.0.1", "192.168.0.200")
    reply = frames.arp_reply(request, OWN)
    assert reply[:14] == ASKER + OWN + b"\x08\x06"
    assert reply[20:] == b"\x00\x02" + OWN + bytes([192, 168, 0, 200]) + ASKER + bytes([192, 168, 0, 1])


def test_a_request_to_this_node_alone_is_one_and_to_another_is_none() -> None:
    assert frames.arp_request(OWN + ASKED[6:], OWN) is not None
    assert frames.arp_request(ASKER + ASKED[6:], OWN) is None


def test_a_reply_is_no_request() -> None:
    assert frames.arp_request(ASKED[:20] + b"\x00\x02" + ASKED[22:], OWN) is None


def test_what_nobody_asked_for_goes_to_everybody_and_names_the_address_twice() -> None:
    address = bytes([192, 168, 0, 200])
    for what, frame in zip((1, 2), frames.gratuitous("192.168.0.200", OWN), strict=True):
        assert frame[:14] == b"\xff" * 6 + OWN + b"\x08\x06" and frame[20:22] == bytes([0, what])
        assert frame[28:32] == frame[38:42] == address and frame[22:28] == OWN


def test_neighbour_discovery() -> None:
    asked = bytes([135, 0, 0, 0, 0, 0, 0, 0]) + bytes.fromhex("fd00000100000000000000000000c801")
    assert frames.solicited(asked) == "fd00:1::c801"
    assert frames.group_of("fd00:1::c801") == "ff02::1:ff00:c801"
    answer = frames.advertisement("fd00:1::c801", OWN, asked=True)
    assert answer[0] == 136 and answer[4] == 0x60 and answer[8:24] == asked[8:24] and answer[24:] == b"\x02\x01" + OWN
    assert frames.advertisement("fd00:1::c801", OWN, asked=False)[4] == 0x20


def test_speakers_understand_each_other_however_many_addresses_there_are() -> None:
    claims = [f"fd00:1::{number:x}" for number in range(1, 400)]
    said = frames.beats("node1", claims, ["192.168.0.9"], OWN)
    assert max(map(len, said)) <= 1500
    heard = [frames.beat(frame) for frame in said]
    assert {one.node for one in heard if one} == {"node1"}
    assert sorted(address for one in heard if one for address in one.claims) == sorted(claims)
    assert [address for one in heard if one for address in one.releases] == ["192.168.0.9"]
    assert frames.beats("node1", (), (), OWN) == []


@given(st.binary(max_size=200))
def test_no_octets_are_too_odd(octets: bytes) -> None:
    frames.beat(octets)
    frames.beat(b"\xff" * 6 + OWN + b"\x88\xb5" + octets)
    frames.arp_request(octets, OWN)
    frames.solicited(octets)


def test_a_beat_of_brackets_alone_is_none() -> None:
    assert frames.beat(b"\xff" * 6 + OWN + b"\x88\xb5\x27\x10" + b"[" * 10_000) is None


def test_a_probe_tells_nobody_an_address_and_its_answer_is_read() -> None:
    probe = frames.probe("192.168.0.200", ASKER)
    request = frames.arp_request(probe, OWN)
    assert request == (ASKER, "0.0.0.0", "192.168.0.200")
    assert frames.answer(frames.arp_reply(request, OWN)) == ("192.168.0.200", "0a:58:c0:a8:00:15")
    assert frames.answer(probe) is None and frames.answer(b"") is None
