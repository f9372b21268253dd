"""`capture` in a real lab: what passes is seen at every point and in its order, and a file holds it whole."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import backlog
import octets
import pytest
from repository import MANIFESTS

from k8snetlab.kernel import netns
from k8snetlab.testing import Lab, eventually

Json = dict[str, Any]
DUAL = MANIFESTS / "dual.yaml"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Both IP families; client1 and web1 on node1, web2 on node2."""
    directory = tmp_path_factory.mktemp("capture")
    (directory / "dual.yaml").write_text(DUAL.read_text().replace("VARIANT", "auto"))
    lab = Lab(directory)

    def settled() -> bool:
        shown = (["ip", "-n", name, "-6", "addr"] for name in lab.namespaces())
        return all("tentative" not in subprocess.run(c, capture_output=True, text=True).stdout for c in shown)

    try:
        lab.run("up", str(directory / "dual.yaml"))
        eventually(settled)
        lab.run("probe", "client1", "web2:8080")
        yield lab
    finally:
        lab.run("down")


@contextlib.contextmanager
def capturing(lab: Lab, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`capture` that listens already; ended by force when the block leaves it running."""
    process = lab.start("capture", *words)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("listening at "), said + process.stderr.read()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=120)


def captured(lab: Lab, words: list[str], act: Callable[[], object]) -> tuple[str, str]:
    """What `capture` printed, and said, of what `act` causes; ended by Ctrl-C."""
    with capturing(lab, *words) as process:
        act()
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    return out, said


def pod_ip(lab: Lab, name: str, family: int = 4) -> str:
    pod = next(p for p in lab.json("get", "pods")["items"] if p["metadata"]["name"] == name)
    ips = [i["ip"] for i in pod["status"]["podIPs"]]
    return str(next(ip for ip in ips if (":" in ip) == (family == 6)))


def inner(seen: Json) -> Json:
    packet: Json = seen["packet"].get("inner") or seen["packet"]
    return packet


WAY = {
    4: ["client1:eth0", "node1:VETH", "node1:cni0", "node1:flannel.1", "node1:eth0"]
    + ["node2:eth0", "node2:flannel.1", "node2:cni0", "node2:VETH", "web2:eth0"],
    6: ["client1:eth0", "node1:VETH", "node1:cni0", "node1:flannel-v6.1", "node1:eth0"]
    + ["node2:eth0", "node2:flannel-v6.1", "node2:cni0", "node2:VETH", "web2:eth0"],
}


@pytest.mark.parametrize("family", [4, 6])
def test_a_packet_is_seen_at_every_point_in_its_order(lab: Lab, family: int) -> None:
    target = pod_ip(lab, "web2", family)
    where = f"[{target}]:8080" if family == 6 else f"{target}:8080"
    words = ["client1", "node1", "node2", "web2", "-o", "json", f"tcp dst port 8080 and host {target}"]
    out, said = captured(lab, words, lambda: lab.run("probe", "client1", where))
    seen = [json.loads(line) for line in out.splitlines()]
    syns = [s for s in seen if inner(s)["flags"] == ["SYN"]]
    points = ["node{}:VETH".format(s["point"][4]) if ":veth" in s["point"] else s["point"] for s in syns]
    assert points == WAY[family]
    assert [s["direction"] for s in syns] == ["out", "in", "in", "out", "out", "in", "in", "out", "out", "in"]
    assert {inner(s)["dst"] for s in syns} == {target}
    outer = [s["packet"] for s in syns if "inner" in s["packet"]]
    nodes = {4: ["192.168.0.", 8472], 6: ["fd00:1::", 8472]}[family]
    assert len(outer) == 2 and outer[0]["vni"] == 1
    assert all(p["src"].startswith(nodes[0]) and p["dst"].startswith(nodes[0]) for p in outer)
    assert {p["dport"] for p in outer} == {nodes[1]}
    times = [s["nanoseconds"] for s in seen]
    assert times == sorted(times)
    assert f"{len(seen)} packets of " in said and "none dropped by the kernel" in said


def test_a_capture_with_a_filter_prints_a_readable_line_for_each_packet_it_means(lab: Lab) -> None:
    def act() -> None:
        lab.run("probe", "client1", "web2:8080")
        lab.run("trace", "client1", "web2", "--proto", "icmp")

    target = pod_ip(lab, "web2")
    out, _ = captured(lab, ["node2:eth0", "icmp and inbound"], act)
    assert [line.split("  ", 3)[3] for line in out.splitlines()] == [
        line.split("  ", 3)[3] for line in out.splitlines() if f"→ {target} icmp echo request" in line
    ]
    assert len(out.splitlines()) == 1 and "in VXLAN 1: 192.168.0." in out
    out, _ = captured(lab, ["client1:eth0", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"], act)
    assert len(out.splitlines()) == 1 and out.rstrip().endswith(f"→ {target}:8080 tcp SYN")


def test_a_capture_file_names_its_devices_and_holds_their_packets_by_time(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "way.pcapng"
    words = ["node1", "node2:flannel.1", "default/client1", "-w", str(file), "-s", "100", "not arp"]
    _, said = captured(lab, words, lambda: lab.run("probe", "client1", "web2:8080"))
    section, *blocks = octets.pcapng(file.read_bytes())
    names = [b.options[2].decode() for b in blocks if b.kind == 1]
    packets = [b for b in blocks if b.kind == 6]
    assert section.options[4].startswith(b"k8snetlab ")
    assert {"node1:lo", "node1:eth0", "node1:cni0", "node1:flannel.1", "node2:flannel.1", "client1:eth0"} <= {*names}
    behind = {b.options[2]: b.options[3] for b in blocks if b.kind == 1 and b":veth" in b.options[2]}
    assert {*behind.values()} == {b"to pod default/client1", b"to pod default/web1"}
    assert {names[b.fields[0]] for b in packets} >= {"node1:eth0", "node1:flannel.1", "node2:flannel.1", "client1:eth0"}
    assert {b.options[2][0] for b in packets} == {1, 2}
    assert all(len(b.data) == min(100, b.fields[4]) for b in packets) and max(b.fields[4] for b in packets) > 100
    times = [b.fields[1] << 32 | b.fields[2] for b in packets]
    assert times == sorted(times)
    assert said.startswith(f"{len(packets)} packets written to {file}")
    sports = {struct.unpack_from("!H", b.data, 34)[0] for b in packets if names[b.fields[0]] == "client1:eth0"}
    assert 8080 in sports


def test_a_capture_with_a_count_ends_by_itself_after_so_many_packets(lab: Lab) -> None:
    with capturing(lab, "client1", "tcp", "-c", "3", "-w", "-") as process:
        lab.run("probe", "client1", "web2:8080")
        process.wait(timeout=120)
        assert process.returncode == 0 and process.stdout and process.stderr
        data = process.stdout.buffer.read()
        assert process.stderr.read().startswith("3 packets")
    assert len([b for b in octets.pcapng(data) if b.kind == 6]) == 3


def test_a_capture_that_nobody_reads_any_more_ends_without_a_word(lab: Lab) -> None:
    with capturing(lab, "client1") as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        process.wait(timeout=120)
        assert process.stderr.read() == ""


def test_a_capture_ends_when_its_place_is_taken_down(lab: Lab, tmp_path: Path) -> None:
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(
        "{apiVersion: v1, kind: Pod, metadata: {name: shortlived}, spec: {nodeName: node1, containers: [{name: c}]}}"
    )
    lab.run("apply", "-f", str(manifest))
    with capturing(lab, "shortlived") as process:
        lab.run("delete", "-f", str(manifest))
        process.wait(timeout=120)
        assert process.returncode == 0 and process.stderr
        assert process.stderr.read().startswith("shortlived was taken down meanwhile\n")


def test_a_capture_of_a_busy_link_does_not_grow_and_counts_what_is_lost(lab: Lab) -> None:
    sent, target = 60_000, pod_ip(lab, "web2")
    with netns.inside(lab.netns("default", "client1")):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, capturing(lab, "client1:eth0", "udp port 9", "-w", "/dev/null") as process:
        for number in range(sent):
            if number == sent // 10:
                before = memory(process.pid)
            if not number % 100:
                backlog.room()
            sender.sendto(bytes(1400), (target, 9))
        after = memory(process.pid)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0
    shown, dropped = int(said.split()[0]), said.split("; ")[1].split()[0]
    assert shown + (0 if dropped == "none" else int(dropped)) >= sent
    assert after - before < 20_000, "KiB"


def memory(pid: int) -> int:
    """KiB that the process held at most."""
    return next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line
    )


def test_capture_refuses_a_place_a_device_or_a_file_that_is_not_there(lab: Lab) -> None:
    assert "its devices: lo, eth0" in lab.run("capture", "client1:eth7", code=1)
    assert "no pod or node is called" in lab.run("capture", "nobody", "tcp", code=1)
    assert "cannot write" in lab.run("capture", "client1", "-w", "/nowhere/x", code=2)
