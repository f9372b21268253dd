"""Filters in tcpdump's words: what they let through, what is refused and where, and that tcpdump agrees."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import octets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8snetlab.capturing import pcapng
from k8snetlab.capturing.expression import FLAGS, parse
from k8snetlab.capturing.predicates import Subject, layers
from k8snetlab.dataplane.packet import ethernet
from k8snetlab.errors import InputError

INNER = octets.ip("172.30.9.2", "172.30.76.4", 6, octets.tcp(40000, 8080, 2))
TUNNELLED = octets.ip("192.168.0.22", "192.168.0.21", 17, octets.udp(50391, 8472, octets.vxlan(1, INNER)))
ANSWER = octets.ip("10.1.2.3", "10.244.0.9", 6, octets.tcp(80, 40000, 0x12, b"body"))


def passes(expression: str, frame: bytes, outgoing: bool = True) -> bool:
    packet = ethernet(frame)
    assert packet
    return parse(expression)(Subject(layers(packet), outgoing, len(frame)))


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "tcp port 80 and host 10.1.2.3",
        "src 10.1.2.3 and src port 80",
        "src or dst port 80",
        "dst port 9 or 40000",
        "not udp and not (arp or ip6)",
        "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn|tcp-ack",
        "tcp[13] = 0x12",
        "net 10.244.0.0/16",
        "portrange 70-90 && less 100",
        "ether dst 0a:58:0:0:0:2",
        "outbound",
        "! inbound",
        "ip and greater 50",
        "10.1.2.3",
        "src host 10.1.2.3 and dst net 10.244.0.0/24",
        "src and dst net 10.0.0.0/8",
        "src or dst 10.1.2.3",
        "udp or tcp and host 10.1.2.3",
    ],
)
def test_a_filter_lets_through_what_it_means(expression: str) -> None:
    assert passes(expression, ANSWER)
    assert not passes(f"not ({expression or 'tcp'})", ANSWER)


@pytest.mark.parametrize(
    "expression",
    [
        "dst port 80",
        "udp port 80",
        "host 10.1.2.4",
        "src and dst port 80",
        "arp",
        "icmp",
        "ip6",
        "vxlan",
        "inbound",
        "tcp[tcpflags] & tcp-fin != 0",
        "tcp or udp and udp",
    ],
)
def test_a_filter_keeps_back_what_it_does_not_mean(expression: str) -> None:
    assert not passes(expression, ANSWER)


def test_a_filter_sees_what_vxlan_carries() -> None:
    for expression in ("tcp port 8080", "host 172.30.9.2", "udp port 8472", "vxlan", "vxlan 1", "vxlan and tcp"):
        assert passes(expression, TUNNELLED), expression
    for expression in ("vxlan 2", "not port 8080", "tcp port 8472", "not vxlan", "udp port 8080"):
        assert not passes(expression, TUNNELLED), expression
    assert passes("host 192.168.0.22 and tcp[tcpflags] == tcp-syn", TUNNELLED)
    assert not passes("vxlan", INNER)


def test_both_families_of_icmp_are_told_apart() -> None:
    four = octets.ip("10.0.0.1", "10.0.0.2", 1, octets.icmp(8, 0))
    six = octets.ip("fd00::1", "fd00::2", 58, octets.icmp(128, 0))
    assert [passes(e, f) for e in ("icmp", "icmp6") for f in (four, six)] == [True, False, False, True]


@pytest.mark.parametrize(
    ("expression", "column", "said"),
    [
        ("tcp port http", 10, "'http' is no port"),
        ("port 65536", 6, "'65536' is no port"),
        ("portrange 80", 11, "no range of ports"),
        ("host 10.0.0.256", 6, "no address"),
        ("net 10.0.0.1/8", 5, "bits beyond its prefix"),
        ("host", 5, "an address is missing"),
        ("tcp and", 8, "a condition is missing"),
        ("tcp and and udp", 9, "'and' is unknown here"),
        ("(tcp or udp", 12, "a ) is missing"),
        ("tcp)", 4, "')' is not expected here"),
        ("tcp src or dst", 1, "tcp goes before `port` only"),
        ("tcp udp", 1, "tcp goes before `port` only"),
        ("ip6 port 80", 1, "ip6 has no ports"),
        ("frobnicate", 1, "'frobnicate' is unknown here"),
        ("tcp port 80 ; rm", 13, "';' means nothing here"),
        ("ether host 10.0.0.1", 12, "no MAC address"),
        ("vxlan 16777216", 7, "not a VNI"),
        ("tcp[20] = 1", 5, "only the flags"),
        ("tcp[tcpflags] & tcp-sin != 0", 17, "'tcp-sin' is no TCP flag"),
        ("tcp[tcpflags] 2", 15, "= or != is missing"),
        ("(" * 60 + "tcp" + ")" * 60, 51, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_told_with_its_column(expression: str, column: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(expression)
    assert caught.value.message.startswith(f"filter, column {column}: ") and said in caught.value.message


def test_a_filter_may_be_as_long_as_a_script_makes_it() -> None:
    assert passes(" or ".join(f"port {number}" for number in range(5000)), ANSWER)


@given(st.text(alphabet="tcpudhos 10.:/[]()!&|=-xnrg", max_size=40))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    try:
        passes(text, ANSWER)
    except InputError as error:
        assert error.message.startswith("filter, column ")


# --- tcpdump's own opinion --------------------------------------------------------------------------------------------

HOSTS = ("10.1.2.3", "10.244.0.9", "192.168.0.21")
HOSTS6 = ("fd00::1", "fd00:10:244::9")
NEXT = [*pairwise(HOSTS)]
FRAMES = [
    *(octets.ip(a, b, 6, octets.tcp(p, q, flags)) for a, b in NEXT for p, q, flags in
      ((80, 40000, 0x12), (40000, 80, 2), (40000, 443, 0x11), (8080, 90, 4))),
    *(octets.ip(b, a, 17, octets.udp(p, q, b"x" * 60)) for a, b in NEXT for p, q in ((53, 80), (443, 9))),
    *(octets.ip(HOSTS[0], HOSTS[2], 132, octets.sctp(p, q)) for p, q in ((80, 7), (9, 53))),
    *(octets.ip(a, b, 1, octets.icmp(kind, 0)) for a, b in NEXT for kind in (0, 8)),
    *(octets.ip(*HOSTS6, 6, octets.tcp(p, q, 2)) for p, q in ((80, 40000), (40000, 90))),
    octets.ip(*reversed(HOSTS6), 17, octets.udp(53, 443)),
    octets.ip(*HOSTS6, 58, octets.icmp(128, 0)),
    octets.arp(1, HOSTS[0], HOSTS[1]),
    octets.arp(2, HOSTS[1], HOSTS[0], "0a:58:00:00:00:09"),
    octets.ethernet(0x88CC, b"something else"),
    octets.ethernet(0x0800, octets.ip4(HOSTS[0], HOSTS[1], 17, b"\0\x50" * 20, offset=100)),
]  # fmt: skip

_sides = st.sampled_from(["", "src ", "dst ", "src or dst ", "src and dst "])
_addresses = st.sampled_from([*HOSTS, *HOSTS6, "10.9.9.9"])
_networks = st.sampled_from(["10.0.0.0/8", "10.244.0.0/16", "192.168.0.0/24", "fd00::/16", "fd00:10::/32", "0.0.0.0/0"])
_ports = st.sampled_from(["80", "443", "53", "9", "40000"])
_flags = st.lists(st.sampled_from(sorted(FLAGS)), min_size=1, max_size=3).map("|".join)
_primitives = st.one_of(
    st.sampled_from(["ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6", "sctp", "less 60", "greater 61"]),
    st.builds("{}host {}".format, _sides, _addresses),
    st.builds("{}net {}".format, _sides, _networks),
    st.builds("{}{}port {}".format, st.sampled_from(["", "tcp ", "udp ", "sctp "]), _sides, _ports),
    st.builds("{}portrange {}-{}".format, _sides, _ports, _ports),
    st.builds("{}port {} or {}".format, _sides, _ports, _ports),
    st.builds("(ip and tcp[tcpflags] & ({}) {} ({}))".format, _flags, st.sampled_from(["=", "!="]), _flags),
    st.builds("ether {} {}".format, st.sampled_from(["src", "dst", "host"]), st.just("0a:58:00:00:00:01")),
    st.builds("{} host {}".format, st.sampled_from(["ip", "arp"]), st.sampled_from(HOSTS)),
)
_expressions = st.recursive(
    _primitives,
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["and", "or", "&&", "||"]), inner),
        st.builds("not ({})".format, inner),
        st.builds("({})".format, inner),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every frame in a file; the number of a frame is its time in seconds."""
    file = tmp_path_factory.mktemp("frames") / "frames.pcapng"
    blocks = [pcapng.packet(0, n * 10**9, frame, len(frame), True) for n, frame in enumerate(FRAMES)]
    file.write_bytes(pcapng.section("test") + pcapng.interface("eth0", 65535) + b"".join(blocks))
    return file


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="no tcpdump to compare with")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_expressions)
def test_tcpdump_lets_the_same_through(recorded: Path, expression: str) -> None:
    command = ["tcpdump", "-n", "-tt", "--nano", "-r", str(recorded), expression]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        assert "expression rejects all packets" in done.stderr, f"{expression}: {done.stderr}"
    theirs = [int(line.partition(".")[0]) for line in done.stdout.splitlines() if line[:1].isdecimal()]
    ours = [number for number, frame in enumerate(FRAMES) if passes(expression, frame)]
    assert ours == theirs, expression
