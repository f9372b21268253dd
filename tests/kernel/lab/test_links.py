"""Nodes' devices slowed and down: by tc in the kernel, kept by the agents, told by every verb, gone when taken back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from k8snetlab.kernel import netns, shaping
from k8snetlab.testing import Lab, eventually

pytestmark = pytest.mark.lab("lessons/08-service", scope="module")
SENT, SIZE = 200, 1400


@pytest.fixture(autouse=True)
def as_before(lab: Lab) -> Iterator[None]:
    yield
    lab.run("link", "clear")


def root_of(lab: Lab, node: str, device: str = "eth0") -> Any:
    """What tc itself shows at the root of a device."""
    found = json.loads(lab.shell(node, "tc", "-j", "-s", "qdisc", "show", "dev", device))
    return next(one for one in found if one.get("root"))


def shown(lab: Lab) -> dict[str, Any]:
    return {f"{one['node']}:{one['device']}": one for one in lab.json("link", "show")["links"]}


def test_a_rate_is_kept_and_what_is_more_is_held_up_and_lost(lab: Lab) -> None:
    # Else what waits for node2's MAC is lost before tc sees it.
    eventually(lambda: lab.probe("node1", "node2", "-p", "icmp").reached)
    lab.run("link", "set", "node1", "--rate", "80kbit")
    found = root_of(lab, "node1")
    assert (found["kind"], found["handle"], found["options"]["rate"]) == ("tbf", "8b50:", 10_000)
    far = lab.address_of("node/node2")
    with netns.inside(lab.netns("node1")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(SENT):  # half a minute's worth at once, of which it holds back a part
            sender.sendto(bytes(SIZE), (far, 9))
    counted = shown(lab)["node1:eth0"]
    assert (counted["shape"], counted["held"], counted["ours"]) == ("rate 80kbit", "rate 80kbit", True)
    assert counted["overlimits"] > 0 and counted["drops"] > 0
    assert counted["octets"] < SENT * SIZE and counted["packets"] + counted["drops"] + counted["waiting"] >= SENT
    assert root_of(lab, "node2")["kind"] == "noqueue"  # what it receives is not touched, and no other node's either


def test_it_is_what_status_diagnose_and_trace_tell(lab: Lab) -> None:
    eventually(lambda: lab.diagnose().findings == ())
    lab.run("link", "set", "node1", "--rate", "50mbit")
    first = lab.diagnose().findings[0]
    assert (first.kind, first.fault, first.node, first.object) == ("qdisc", "slow", "node1", "tbf eth0")
    assert first.mend == "k8snetlab link clear node1:eth0"
    assert any("eth0 sends with rate 50mbit" in problem for problem in lab.json("status")["problems"])
    trace = lab.trace("client", "front")
    decided = [(hop.place, hop.interface, d.text) for hop in trace.way.hops for d in hop.decisions if d.what == "queue"]
    assert decided == [("node1", "eth0", "sends with tbf rate 50mbit")]
    eventually(lambda: (seen := lab.trace("client", "front").observed) and seen.agrees)
    assert "sends with tbf rate 50mbit" in lab.run("trace", "client", "front")
    lab.run("link", "clear", "node1")
    assert shown(lab) == {} and root_of(lab, "node1")["kind"] == "noqueue"
    eventually(lambda: lab.diagnose().findings == ())


def test_agents_keep_it_whoever_takes_it_away_and_a_new_daemon_does_too(lab: Lab) -> None:
    lab.run("link", "set", "node2:cni0", "--rate", "20mbit")
    lab.shell("node2", "tc", "qdisc", "del", "dev", "cni0", "root")
    eventually(lambda: root_of(lab, "node2", "cni0")["kind"] == "tbf")
    daemon = lab.pids()["daemon"]
    lab.kill("daemon")
    lab.shell(
        "node2",
        "tc",
        "qdisc",
        "change",
        "dev",
        "cni0",
        "root",
        "tbf",
        *["rate", "1mbit", "burst", "10kb", "limit", "20kb"],
    )
    lab.up("lessons/08-service")
    assert lab.pids()["daemon"] != daemon
    eventually(lambda: root_of(lab, "node2", "cni0")["options"]["rate"] == 2_500_000)
    lab.run("link", "clear")
    assert root_of(lab, "node2", "cni0")["kind"] == "noqueue"


def test_a_device_that_is_down_stays_down_and_comes_back_with_all_that_went_with_it(lab: Lab) -> None:
    routes = set(lab.shell("node2", "ip", "route").splitlines())
    lab.run("link", "down", "node2")
    assert "state DOWN" in lab.shell("node2", "ip", "link", "show", "eth0")
    assert not lab.probe("client", "front:80").reached
    first = lab.diagnose().findings[0]
    assert (first.kind, first.fault, first.node, first.mend) == (
        "link",
        "down",
        "node2",
        "k8snetlab link up node2:eth0",
    )
    lab.shell("node2", "ip", "link", "set", "eth0", "up")
    eventually(lambda: "state DOWN" in lab.shell("node2", "ip", "link", "show", "eth0"))
    eventually(lambda: not any(node["agent"]["drift"] for node in lab.json("status")["nodes"]))
    lab.run("link", "up", "node2")
    eventually(lambda: set(lab.shell("node2", "ip", "route").splitlines()) == routes)
    eventually(lambda: lab.probe("client", "front:80").reached)
    eventually(lambda: lab.diagnose().findings == ())


def test_a_snapshot_keeps_it(lab: Lab) -> None:
    lab.run("link", "set", "node1", "--rate", "30mbit")
    lab.run("snapshot", "save", "slow")
    lab.run("link", "clear")
    lab.run("snapshot", "restore", "slow")
    eventually(lambda: root_of(lab, "node1")["kind"] == "tbf")


def test_what_somebody_else_put_there_is_left_alone_and_shown(lab: Lab) -> None:
    by_hand = ("root", "tbf", "rate", "9mbit", "burst", "10kb", "limit", "20kb")
    lab.shell("node1", "tc", "qdisc", "add", "dev", "cni0", *by_hand)
    try:
        lab.run("link", "set", "node1", "--rate", "30mbit")
        assert shown(lab)["node1:cni0"]["ours"] is False
        lab.run("link", "clear")
        assert root_of(lab, "node1", "cni0")["kind"] == "tbf"
        assert "somebody else" in lab.run("link", "show")
    finally:
        lab.shell("node1", "tc", "qdisc", "del", "dev", "cni0", "root")


def test_what_is_set_is_the_labs_even_where_somebody_else_had_put_the_same(lab: Lab) -> None:
    by_hand = ("root", "tbf", "rate", "9mbit", "burst", "10kb", "limit", "20kb")
    lab.shell("node1", "tc", "qdisc", "add", "dev", "cni0", *by_hand)
    lab.run("link", "set", "node1:cni0", "--rate", "9mbit")
    assert shown(lab)["node1:cni0"]["ours"] is True
    lab.run("link", "clear")
    assert root_of(lab, "node1", "cni0")["kind"] == "noqueue"


def test_netem_is_used_where_the_kernel_has_it_and_else_refused_by_its_modules_name(lab: Lab) -> None:
    if shaping.supported("netem"):
        lab.run("link", "set", "node1", "--delay", "20ms", "--loss", "10%")
        assert root_of(lab, "node1")["kind"] == "netem"
    else:
        assert "sch_netem" in lab.run("link", "set", "node1", "--delay", "20ms", code=2)
        assert shown(lab) == {}


def test_what_cannot_be_set_is_refused_and_changes_nothing(lab: Lab) -> None:
    for words, code, said in (
        (("set", "node1"), 2, "link set: what?"),
        (("set", "node1", "--rate", "fast"), 2, "'fast' is no rate"),
        (("set", "node1", "--jitter", "5ms"), 2, "without a delay"),
        (("set", "node1:eth1", "--rate", "1mbit"), 1, "no device 'eth1'"),
        (("set", "node1:../eth0", "--rate", "1mbit"), 1, "no device"),
        (("set", "node1:lo", "--rate", "1mbit"), 1, "no device 'lo'"),
        (("set", "nowhere", "--rate", "1mbit"), 1, "nowhere"),
        (("down", "client"), 1, "client"),
    ):
        assert said in lab.run("link", *words, code=code), words
    assert shown(lab) == {}
