"""How a trace is told and drawn, and how packets are recognised, without a kernel."""

from __future__ import annotations

import socket
import struct
import xml.etree.ElementTree as ElementTree

from traced import answer

from k8snetlab.cli import sequence, story
from k8snetlab.dataplane.frames import Connection, Frame
from k8snetlab.dataplane.packet import ACK, RST, SYN, Packet, decode
from k8snetlab.explain.recognition import Recognition
from k8snetlab.kernel.shot import Shot


def test_the_story_is_whole_without_colour() -> None:
    told = [line.plain for line in story.lines(answer())]
    assert told[0] == "a (node1) → web 10.9.0.1:80 tcp, endpoint 10.0.0.9:80 (50%)"
    assert told[2].split() == ["a", "eth0", "out", "10.0.0.1:1", "→", "10.9.0.1:80", "✓", "0.0", "µs"]
    assert "DNAT 10.0.0.9:80" in told[3] and "[Service default/web, port 80, web.yaml:3]" in told[3]
    assert "(5 packets so far)" in told[3]
    assert (
        "(was 10.9.0.1:80)" in told[4] and "in VXLAN 1: 192.168.0.1 → 192.168.0.2" in told[4] and "✓ 8.2 µs" in told[4]
    )
    assert told[5].endswith("✗ not seen here: the cable")
    assert "✗ b eth0 in: not seen here: the cable" in told
    assert told[-1] == "other way: 50% to 10.0.0.8:80: answered"


def test_pictures_name_every_place_and_mark_what_was_not_seen() -> None:
    lines = sequence.mermaid(answer()).splitlines()
    assert lines[:5] == [
        "sequenceDiagram",
        "    title a (node1) → web 10.9.0.1:80 tcp, endpoint 10.0.0.9:80 (50%)",
        "    participant p0 as a",
        "    participant p1 as node1",
        "    participant p2 as b <b>",
    ]
    assert any(line == "    p0->>p1: 10.0.0.1:1<br/>→ 10.9.0.1:80<br/>8 µs" for line in lines)
    assert any(line.startswith("    p1-xp2: ") for line in lines)
    assert "    Note over p1: DNAT 10.0.0.9:80<br/>(Service default/web, port 80, web.yaml:3)" in lines
    assert lines[-1] == (
        "    Note over p0,p2: predicted: answered<br/>observed: lost: nothing is heard of it, not as predicted"
    )
    drawn = ElementTree.fromstring(sequence.svg(answer()))
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a", "node1", "b <b>", "eth0: not seen here: the cable", "in VXLAN 1: 192.168.0.1"} <= set(texts)
    red = [e for e in drawn.iter("{http://www.w3.org/2000/svg}rect") if e.get("stroke") == "#b91c1c"]
    assert len(red) == 1, "the note that says where it was not seen"


# --- packets ----------------------------------------------------------------------------------------------------------


def ip(protocol: int, body: bytes, src: str = "10.0.0.1", dst: str = "10.0.0.2") -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
    return head + socket.inet_aton(src) + socket.inet_aton(dst) + body


def test_a_vxlan_packet_is_decoded_to_its_inside() -> None:
    syn = ip(6, struct.pack("!HHIIBBHHH", 1234, 80, 99, 0, 0x50, SYN, 0, 0, 0))
    vxlan = struct.pack("!BxxxI", 0x08, 7 << 8) + bytes(12) + b"\x08\x00" + syn
    outer = decode(ip(17, struct.pack("!HHHH", 5555, 8472, 0, 0) + vxlan, "192.168.0.1", "192.168.0.2"))
    assert outer and outer.inner
    assert (outer.src, outer.dport, outer.vni) == ("192.168.0.1", 8472, 7)
    assert outer.inner[:8] == ("10.0.0.1", "10.0.0.2", "tcp", 1234, 80, 99, 0, SYN)


def test_icmp_errors_quote_and_rubbish_is_none() -> None:
    udp = ip(17, struct.pack("!HHHH", 1, 2, 8, 0))
    error = decode(ip(1, b"\x03\x03" + bytes(6) + udp))
    assert error and error.quoted and (error.code, error.quoted.dport) == ((3, 3), 2)
    assert decode(b"\x45\x00") is None
    assert decode(b"\x00" * 40) is None


def frame(netns: str, packet: Packet, outgoing: bool = True) -> Frame:
    return Frame(netns, "eth0", outgoing, False, 1, packet)


def test_a_tcp_packet_is_known_through_every_translation() -> None:
    shot = Shot("answered", 4000, b"token", 1.0)
    made = [Connection("n", "tcp", ("10.0.0.1", 4000, "10.9.0.1", 80), ("10.0.0.9", 8080, "10.0.0.254", 7))]
    first = frame("n", Packet("10.0.0.254", "10.0.0.9", "tcp", 7, 8080, 99, 0, SYN))
    later = frame("m", Packet("172.16.0.1", "10.0.0.9", "tcp", 9, 8080, 99, 0, SYN), False)
    reply = frame("m", Packet("10.0.0.9", "172.16.0.1", "tcp", 8080, 9, 5, 100, SYN | ACK))
    refusal = frame("n", Packet("10.0.0.9", "10.0.0.254", "tcp", 8080, 7, 0, 100, RST | ACK), False)
    other = frame("n", Packet("10.0.0.1", "10.9.0.1", "tcp", 4001, 80, 98, 0, SYN))
    known = Recognition(shot, "n", ("10.9.0.1", 80), "tcp", made)
    frames = [other, reply, first, later, refusal]
    assert list(known.of(frames)) == [(first, False), (reply, True), (later, False), (refusal, True)]
    assert known.connections(frames) == made


def test_a_datagram_is_known_by_its_token_and_an_echo_of_it_is_the_answer() -> None:
    shot = Shot("answered", 4000, b"token", 1.0)
    there = frame("n", Packet("10.0.0.1", "10.0.0.9", "udp", 4000, 53, payload=b"token"))
    echo = frame("n", Packet("10.0.0.9", "10.0.0.1", "udp", 53, 4000, payload=b"token"), False)
    strange = frame("n", Packet("10.0.0.9", "10.0.0.7", "udp", 53, 4000, payload=b"x"), False)
    known = Recognition(shot, "n", ("10.0.0.9", 53), "udp")
    assert list(known.of([echo, there, strange])) == [(there, False), (echo, True)]
    assert list(known.of([echo, strange])) == []


def test_an_icmp_error_tells_before_the_process_hears_of_it() -> None:
    shot = Shot("lost", 4000, b"token", 500.0)
    known = Recognition(shot, "n", ("fd00::9", 80), "tcp")
    about = Packet("fd00::1", "fd00::9", "tcp", 4000, 80, 99, 0, SYN)
    refusal = Packet("fd00::ff", "fd00::1", "icmp", quoted=about, code=(1, 4))
    assert known.icmp_error([frame("n", refusal, False)]) == "refused"
    assert known.icmp_error([frame("n", refusal._replace(code=(1, 0)), False)]) == "unreachable"
    assert known.icmp_error([frame("m", refusal, False), frame("n", refusal, True)]) is None
    other = refusal._replace(quoted=about._replace(sport=4001))
    assert known.icmp_error([frame("n", other, False)]) is None
