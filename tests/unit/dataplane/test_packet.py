"""What is read out of a packet's octets, and said of it in a line."""

from __future__ import annotations

import json
import struct

import octets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8snetlab.cli import packets
from k8snetlab.cli.options import as_json
from k8snetlab.dataplane.packet import ACK, SYN, Packet, decode, ethernet
from k8snetlab.explain.capture import Sight
from k8snetlab.kernel.capture import Seen

INNER = octets.ip("172.30.9.2", "172.30.76.4", 6, octets.tcp(40000, 8080, SYN), smac="16:a7:c7:f5:8d:49")
TUNNELLED = octets.ip("192.168.0.22", "192.168.0.21", 17, octets.udp(50391, 8472, octets.vxlan(77, INNER)))
NA = octets.icmp(
    136, 0, bytes(4) + bytes.fromhex("fd00" + "00" * 13 + "05") + b"\x02\x01" + octets.mac("0a:58:00:00:00:05")
)
HOP_BY_HOP = bytes([58, 0, 5, 2, 0, 0, 1, 0])

LINES = {
    "SYN": (octets.ip("10.0.0.1", "10.0.0.2", 6, octets.tcp(4000, 80, SYN)), "10.0.0.1:4000 → 10.0.0.2:80 tcp SYN"),
    "data": (
        octets.ip("fd00::1", "fd00::2", 6, octets.tcp(4000, 80, 0x18, b"hello")),
        "[fd00::1]:4000 → [fd00::2]:80 tcp PSH,ACK 5 octets",
    ),
    "UDP": (octets.ip("10.0.0.1", "10.0.0.2", 17, octets.udp(5, 53, b"abc")), "10.0.0.1:5 → 10.0.0.2:53 udp 3 octets"),
    "SCTP": (octets.ip("10.0.0.1", "10.0.0.2", 132, octets.sctp(7, 9)), "10.0.0.1:7 → 10.0.0.2:9 sctp 4 octets"),
    "ARP request": (octets.arp(1, "10.0.0.1", "10.0.0.2"), "arp who has 10.0.0.2? 10.0.0.1 asks"),
    "ARP reply": (octets.arp(2, "10.0.0.1", "10.0.0.2"), "arp 10.0.0.1 is at 0a:58:00:00:00:01"),
    "echo": (
        octets.ip("10.0.0.1", "10.0.0.2", 1, octets.icmp(8, 0, struct.pack("!HH", 7, 2))),
        "10.0.0.1 → 10.0.0.2 icmp echo request id 7 seq 2",
    ),
    "port unreachable": (
        octets.ip(
            "10.0.0.2", "10.0.0.1", 1, octets.icmp(3, 3) + octets.ip4("10.0.0.1", "10.0.0.2", 17, octets.udp(5, 9))
        ),
        "10.0.0.2 → 10.0.0.1 icmp port unreachable about 10.0.0.1:5 → 10.0.0.2:9 udp",
    ),
    "too big": (
        octets.ip("10.0.0.2", "10.0.0.1", 1, octets.icmp(3, 4)),
        "10.0.0.2 → 10.0.0.1 icmp fragmentation needed",
    ),
    "neighbour": (
        octets.ip(
            "fd00::1", "ff02::1:ff00:5", 58, octets.icmp(135, 0, bytes(4) + bytes.fromhex("fd00" + "00" * 13 + "05"))
        ),
        "fd00::1 → ff02::1:ff00:5 icmp6 neighbour solicitation: who has fd00::5?",
    ),
    "neighbour's answer": (
        octets.ip("fd00::5", "fd00::1", 58, NA),
        "fd00::5 → fd00::1 icmp6 neighbour advertisement: fd00::5 is at 0a:58:00:00:00:05",
    ),
    "an extension header": (
        octets.ip("fe80::1", "ff02::16", 0, HOP_BY_HOP + octets.icmp(143, 0)),
        "fe80::1 → ff02::16 icmp6 multicast listener report",
    ),
    "a fragment": (
        octets.ethernet(0x0800, octets.ip4("10.0.0.1", "10.0.0.2", 17, b"x" * 16, offset=185)),
        "10.0.0.1 → 10.0.0.2 udp a later fragment 16 octets",
    ),
    "another protocol": (octets.ip("10.0.0.1", "10.0.0.2", 47, b"1234"), "10.0.0.1 → 10.0.0.2 47 4 octets"),
    "another EtherType": (
        octets.ethernet(0x88CC, b"lldp"),
        "0a:58:00:00:00:01 → 0a:58:00:00:00:02 ethertype 0x88cc",
    ),
    "VXLAN": (
        TUNNELLED,
        "172.30.9.2:40000 → 172.30.76.4:8080 tcp SYN  in VXLAN 77: 192.168.0.22 → 192.168.0.21",
    ),
    "ARP in VXLAN": (
        octets.ip(
            "fd01::1", "fd01::2", 17, octets.udp(5, 8472, octets.vxlan(1, octets.arp(1, "10.0.0.1", "10.0.0.2")))
        ),
        "arp who has 10.0.0.2? 10.0.0.1 asks  in VXLAN 1: fd01::1 → fd01::2",
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_a_packet_is_a_line(case: str) -> None:
    data, line = LINES[case]
    assert packets.words(ethernet(data)) == line


def test_what_carries_and_what_is_carried_are_both_read() -> None:
    packet = ethernet(TUNNELLED)
    assert packet and packet.inner
    assert (packet.src, packet.dst, packet.dport, packet.vni) == ("192.168.0.22", "192.168.0.21", 8472, 77)
    assert (packet.inner.src, packet.inner.sport, packet.inner.flags) == ("172.30.9.2", 40000, SYN)
    assert (packet.smac, packet.inner.smac) == ("0a:58:00:00:00:01", "16:a7:c7:f5:8d:49")
    assert (packet.inner.sequence, packet.inner.window, packet.hops) == (1000, 64240, 64)
    other = ethernet(TUNNELLED, (4789,))
    assert other and other.inner is None


def test_a_packet_as_json_has_every_field_and_what_vxlan_carries() -> None:
    seen = Seen(1_800_000_000_000_000_042, 0, "eth0", True, True, 200, TUNNELLED)
    found = json.loads(as_json(packets.fields(Sight("node2:eth0", "lab.node2", seen, ethernet(TUNNELLED)))))
    assert (found["time"], found["point"], found["direction"]) == (
        "2027-01-15T08:00:00.000000042Z",
        "node2:eth0",
        "out",
    )
    assert found["packet"]["vni"] == 77 and found["packet"]["protocol"] == "udp"
    assert found["packet"]["inner"] | {"flags": ["SYN"], "dport": 8080} == found["packet"]["inner"]


def test_flags_have_names() -> None:
    assert packets.flags(Packet("", "", "tcp", flags=SYN | ACK)) == ("SYN", "ACK")
    assert packets.flags(Packet("", "", "tcp", flags=0xFF)) == ("SYN", "FIN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


@given(st.sampled_from([data for data, _ in LINES.values()]), st.data())
def test_cut_and_damaged_packets_are_read_as_far_as_they_go(frame: bytes, data: st.DataObject) -> None:
    """A snapshot may end anywhere, and a network may carry anything."""
    cut = bytearray(frame[: data.draw(st.integers(0, len(frame)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if cut:
            cut[data.draw(st.integers(0, len(cut) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(packets.words(ethernet(bytes(cut))), str)


@given(st.binary(max_size=120))
def test_any_octets_are_read_and_said_in_a_line(data: bytes) -> None:
    for packet in (ethernet(data), decode(data)):
        seen = Seen(1, 0, "eth0", False, True, len(data), data)
        assert isinstance(packets.line(Sight("a:eth0", "a", seen, packet)), str)
        as_json(packets.fields(Sight("a:eth0", "a", seen, packet)))
