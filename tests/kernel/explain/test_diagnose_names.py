"""diagnose names faults of cluster DNS: each put in by hand, named, taken out again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dnsprocess
import pytest

from k8snetlab.dns import asking
from k8snetlab.kernel import clashes, netns
from k8snetlab.testing import Lab, eventually, running

pytestmark = pytest.mark.root

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c}]}
"""
MUTE = 5399
"""A port of the host outside at which a server hears all and says nothing."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names")


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[Lab]:
    (directory / "lab.yaml").write_text(LAB)
    with running(directory) as one:
        eventually(lambda: one.diagnose().findings == ())
        yield one


def found(lab: Lab) -> list[tuple[str, str]]:
    return [(finding.kind, finding.fault) for finding in lab.diagnose().findings]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("nameserver 10.96.0.10", "nameserver 192.0.2.1", "nameserver"),
        ("search default.svc.cluster.local ", "search ", "search"),
        ("ndots:5", "ndots:1", "ndots"),
    ],
)
def test_a_resolv_conf_edited_by_hand_is_named_and_mended_by_what_it_says(
    lab: Lab, old: str, new: str, fault: str
) -> None:
    file = Path("/etc/netns", lab.netns("default", "client"), "resolv.conf")
    before = file.read_text()
    file.write_text(before.replace(old, new))
    (finding,) = lab.diagnose().findings
    assert (finding.kind, finding.fault, finding.object) == ("resolver", fault, "default/client")
    subprocess.run(["bash", "-c", finding.mend], check=True)
    assert file.read_text() == before
    assert lab.diagnose().findings == ()


def test_a_server_of_names_that_stands_still_is_named(lab: Lab) -> None:
    pid = dnsprocess.pid_of(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: {("resolver", "silent"), ("resolver", "endpoints")} & set(found(lab)))
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: lab.diagnose().findings == ())


def test_no_endpoints_of_kube_dns_are_named(lab: Lab) -> None:
    lab.run("scale", "deployment/coredns", "--replicas", "0", "-n", "kube-system")
    assert ("resolver", "endpoints") in found(lab)
    lab.run("scale", "deployment/coredns", "--replicas", "1", "-n", "kube-system")
    eventually(lambda: lab.diagnose().findings == ())


def test_a_firewall_rule_that_drops_port_53_is_named(lab: Lab) -> None:
    rule = ("FORWARD", "-p", "udp", "--dport", "53", "-j", "DROP")
    lab.shell("node1", "iptables", "-I", *rule)
    finding = lab.diagnose().findings[0]
    assert finding.kind == "rule"
    assert "--dport 53" in finding.message + finding.object
    lab.shell("node1", "iptables", "-D", *rule)
    eventually(lambda: lab.diagnose().findings == ())


# --- names outside ----------------------------------------------------------------------------------------------------


@contextmanager
def dns_of(lab: Lab, directory: Path, dns: str) -> Iterator[None]:
    """The lab with another spec.dns, for a while."""
    file = directory / "lab.yaml"
    file.write_text(LAB.replace("{enabled: true}", dns))
    lab.up(directory)
    try:
        yield
    finally:
        file.write_text(LAB)
        lab.up(directory)
        eventually(lambda: lab.diagnose().findings == ())


def test_an_upstream_that_says_nothing_is_named(lab: Lab, directory: Path) -> None:
    with netns.inside(lab.netns("outside")):
        mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with mute, dns_of(lab, directory, f"{{upstream: ['203.0.113.10:{MUTE}']}}"):
        mute.bind(("203.0.113.10", MUTE))
        (finding,) = lab.diagnose().findings
        assert (finding.kind, finding.fault, finding.object) == ("resolver", "upstream", f"203.0.113.10:{MUTE}")
        assert "asks for names outside, is silent" in finding.message


def test_an_upstream_that_is_not_reached_is_the_fault_of_what_is_in_the_way(lab: Lab, directory: Path) -> None:
    drop = ("INPUT", "-p", "udp", "--dport", "53", "-j", "DROP")
    lab.shell("outside", "iptables", "-I", *drop)
    first, *others = lab.diagnose().findings
    assert (first.kind, others) == ("rule", [])
    assert "upstream 203.0.113.10:53, which pod kube-system/coredns-" in first.explains[0]
    lab.shell("outside", "iptables", "-D", *drop)
    with dns_of(lab, directory, "{upstream: [192.0.2.1]}"):
        first, *others = lab.diagnose().findings
        assert not others
        assert "no route to 192.0.2.1" in first.message
        assert "upstream 192.0.2.1:53" in first.explains[0]


@pytest.mark.parametrize(
    ("line", "fault", "said"),
    [
        ("forward . 10.96.0.10", "loop", "10.96.0.10:53, which is Service kube-system/kube-dns"),
        ("rewrite name a b", "corefile", "Corefile:2: the plugin rewrite is not served here"),
    ],
)
def test_a_corefile_that_leads_back_or_is_not_served_is_named(
    lab: Lab, directory: Path, line: str, fault: str, said: str
) -> None:
    """Without the plugin `loop`, so that the server goes on."""
    lab.apply(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: coredns, namespace: kube-system}\n"
        f'data: {{Corefile: ". {{\\n  {line}\\n  kubernetes cluster.local\\n}}\\n"}}\n'
    )
    (finding,) = lab.diagnose().findings
    assert (finding.kind, finding.fault) == ("resolver", fault)
    assert said in finding.message
    lab.up(directory)
    eventually(lambda: lab.diagnose().findings == ())


# --- too many, and too close together ---------------------------------------------------------------------------------


def test_a_pod_that_asks_for_names_outside_by_its_search_list_all_the_time_is_named(lab: Lab) -> None:
    with netns.inside(lab.netns("default", "client")):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    queries = [
        asking.query(number, f"www.example.com.{domain}", "A")
        for number, domain in enumerate(("default.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", ""))
    ]
    ended = threading.Event()

    def storm() -> None:
        while not ended.is_set():
            for query in queries:
                sock.sendto(query, ("10.96.0.10", 53))
            time.sleep(0.01)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        eventually(lambda: ("resolver", "storm") in found(lab))
        (finding,) = lab.diagnose().findings
        assert "pod default/client asks for names outside in every search domain first" in finding.message
        assert finding.show == "k8snetlab dig default/client www.example.com"
    finally:
        ended.set()
        thread.join()
        sock.close()
    eventually(lambda: lab.diagnose().findings == ())


RACE = """
import os, mmap, socket, struct, sys
from k8snetlab.kernel import clashes, netns
inside, node, src, dst = sys.argv[1:]
turns = mmap.mmap(-1, 8)
other = os.fork()
me = int(other == 0)
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[me]})
with netns.inside(inside):
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
for turn in range(1, 3000):
    syn = struct.pack("!HHIIBBHHH", 20000 + turn, 9, 1, 0, 5 << 4, 2, 1024, 0, 0)
    words = struct.unpack("!16H", socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", 6, 20) + syn)
    total = sum(words)
    total = (total >> 16) + (total & 0xFFFF)
    syn = syn[:16] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + syn[18:]
    struct.pack_into("=I", turns, 4 * me, turn)
    while struct.unpack_from("=I", turns, 4 * (1 - me))[0] < turn:
        if turns[:4] == b"ends":
            os._exit(0)
    sock.sendto(syn, (dst, 0))
    if not me and clashes.counted(node).lost:
        turns[:4] = b"ends"
        break
if not me:
    os.waitpid(other, 0)
"""
"""Sends a SYN twice at the same time, from two processors, until conntrack has dropped one."""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor makes no race")
def test_packets_of_one_connection_that_raced_each_other_are_named(lab: Lab) -> None:
    """Of datagrams this kernel lets both pass (docs/kernel-facts.md); of TCP it drops one, and counts it the same way.
    Many rules make the time long between a packet's coming and its being entered."""
    place = lab.netns("node1")
    slow = "".join(f"-A SLOW -s 198.51.100.1 -m comment --comment {number} -j RETURN\n" for number in range(2000))
    rules = ["ip", "netns", "exec", place, "iptables-restore", "-n"]
    table = f"*filter\n:SLOW - [0:0]\n{slow}-I FORWARD -j SLOW\nCOMMIT\n"
    subprocess.run(rules, input=table, text=True, check=True)
    (pod,) = lab.list("Pod", "kube-system")
    ends = (lab.address_of("pod/client"), pod["status"]["podIP"])
    subprocess.run([sys.executable, "-c", RACE, lab.netns("default", "client"), place, *ends], check=True, timeout=60)
    subprocess.run(rules, input="*filter\n-D FORWARD -j SLOW\n-F SLOW\n-X SLOW\nCOMMIT\n", text=True, check=True)
    said = lab.shell("node1", "conntrack", "-S")
    lost = sum(int(word.partition("=")[2]) for word in said.split() if word.startswith("insert_failed="))
    assert lost and lost == clashes.counted(place).lost
    eventually(lambda: ("conntrack", "race") in found(lab))
    named = next(finding for finding in lab.diagnose().findings if finding.fault == "race")
    assert f"node1: {lost} packet" in named.message
