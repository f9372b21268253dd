"""A capture's file, read back by a reader of its own, and by tshark where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import octets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8snetlab.capturing import pcapng

SYN = octets.ip("172.30.9.2", "172.30.76.4", 6, octets.tcp(40000, 8080, 2))
TUNNELLED = octets.ip("192.168.0.22", "192.168.0.21", 17, octets.udp(50391, 4789, octets.vxlan(1, SYN)))
NANOSECONDS = 1_800_000_000_123_456_789


def written() -> bytes:
    return b"".join(
        [
            pcapng.section("k8snetlab 9", "a way"),
            pcapng.interface("node1:flannel.1", 262144, description="the tunnel", filter_="tcp port 80"),
            pcapng.interface("node1:eth0", 96),
            pcapng.packet(0, NANOSECONDS, SYN, len(SYN), True),
            pcapng.packet(1, NANOSECONDS + 1, TUNNELLED[:96], len(TUNNELLED), False),
        ]
    )


def test_blocks_hold_what_the_format_wants() -> None:
    section, tunnel, card, first, second = octets.pcapng(written())
    assert (section.kind, section.fields) == (0x0A0D0D0A, (0x1A2B3C4D, 1, 0, -1))
    assert section.options == {1: b"a way", 4: b"k8snetlab 9"}
    assert (tunnel.kind, tunnel.fields) == (1, (1, 0, 262144))
    assert tunnel.options == {2: b"node1:flannel.1", 3: b"the tunnel", 9: b"\x09", 11: b"\0tcp port 80"}
    assert (card.fields, card.options) == ((1, 0, 96), {2: b"node1:eth0", 9: b"\x09"})
    number, high, low, kept, length = first.fields
    assert (number, high << 32 | low, kept, length) == (0, NANOSECONDS, len(SYN), len(SYN))
    assert first.data == SYN and first.options[2] == (2).to_bytes(4, "little"), "outbound"
    assert second.data == TUNNELLED[:96] and second.fields[4] == len(TUNNELLED)
    assert second.options[2] == (1).to_bytes(4, "little"), "inbound"


@given(st.lists(st.tuples(st.binary(max_size=64), st.integers(0, 2**63 - 1), st.booleans())), st.text(max_size=20))
def test_every_packet_comes_back(packets: list[tuple[bytes, int, bool]], name: str) -> None:
    data = pcapng.section("x") + pcapng.interface(name, 65535)
    data += b"".join(pcapng.packet(0, time, octet, len(octet) + 5, out) for octet, time, out in packets)
    _, device, *found = octets.pcapng(data)
    assert device.options[2] == name.encode()
    back = [(b.data, b.fields[1] << 32 | b.fields[2], b.options[2][0] == 2) for b in found]
    assert back == packets


@pytest.mark.skipif(shutil.which("tshark") is None, reason="no tshark to read with")
def test_wireshark_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "x.pcapng"
    file.write_bytes(written())
    wanted = ["frame.interface_name", "frame.time_epoch", "frame.packet_flags_direction", "ip.src", "vxlan.vni"]
    command = ["tshark", "-r", str(file), "-T", "fields", *(word for field in wanted for word in ("-e", field))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines == [
        ["node1:flannel.1", "1800000000.123456789", "0x00000002", "172.30.9.2", ""],
        ["node1:eth0", "1800000000.123456790", "0x00000001", "192.168.0.22,172.30.9.2", "1"],
    ]
