"""Dual-stack and IPv6 Services in a running lab: real packets go where the tracer says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live import IMPATIENCE, Fate, Live, Target
from repository import MANIFESTS

from k8snetlab.testing import Lab

MANIFEST = (MANIFESTS / "dual.yaml").read_text()
NODES = {"node1": ("192.168.0.21", "fd00:1::21"), "node2": ("192.168.0.22", "fd00:1::22")}


@pytest.fixture(scope="module", params=["nft", "legacy"])
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    lab = Lab(tmp_path_factory.mktemp("dual"))
    file = tmp_path_factory.mktemp("dual") / "lab.yaml"
    file.write_text(MANIFEST.replace("VARIANT", request.param))
    lab.run("up", str(file))
    yield Live(lab)
    lab.run("down")


CLUSTER_IPS = [
    *(Target("both", ip, 80) for ip in ("10.96.0.11", "fd00:10:96::11")),
    *(Target("both", ip, 53, "udp") for ip in ("10.96.0.11", "fd00:10:96::11")),
    *(Target(name, f"fd00:10:96::{number}", 80) for name, number in {"six": 12, "guarded": 13, "none": 14}.items()),
]
OUTSIDE = [
    *(Target("both", ip, 80) for ip in ("198.51.100.11", "2001:db8::11")),
    *(Target("both", ip, 53, "udp") for ip in ("198.51.100.11", "2001:db8::11")),
    *(Target(name, f"2001:db8::{number}", 80) for name, number in {"six": 12, "guarded": 13}.items()),
    *(Target(f"both@{n}", ip, 30011, p) for n, ips in NODES.items() for ip in ips for p in ("tcp", "udp")),
    *(Target(f"six@{n}", ips[1], 30012) for n, ips in NODES.items()),
]


def test_packets_of_both_families_go_where_the_tracer_says(live: Live) -> None:
    cases = [(place, target) for place in ("client1", "web2", "node1", "node2") for target in CLUSTER_IPS + OUTSIDE]
    cases += [("outside", target) for target in OUTSIDE]
    cases += [(node, Target("both@localhost", ip, 30011)) for node in NODES for ip in ("127.0.0.1", "::1")]
    live.check(cases)


def test_an_endpoint_of_ipv6_sees_whom_the_rules_let_it_see(live: Live) -> None:
    six = Target("six", "2001:db8::12", 80)
    assert live.ask("outside", six) == Fate("answered", "fd00:10:244:2::2", "fd00:2::10")
    assert live.ask("outside", Target("guarded", "2001:db8::13", 80), IMPATIENCE) == Fate("lost")
    # TCP over IPv6 takes the ICMP message to heart when it would repeat its first segment, a second later.
    assert live.ask("client1", Target("none", "fd00:10:96::14", 80)) == Fate("refused")
    seen = {live.ask("client1", Target("both", "fd00:10:96::11", 80)) for _ in range(20)}
    assert {(fate.endpoint, fate.client) for fate in seen} == {
        ("fd00:10:244:1::3", "fd00:10:244:1::2"),
        ("fd00:10:244:2::2", "fd00:10:244:1::2"),
    }


def test_nothing_drifts(live: Live) -> None:
    status = live.lab.json("status")
    assert [node["agent"]["drift"] for node in status["nodes"]] == [[], []]
    assert status["problems"] == []
