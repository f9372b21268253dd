"""Calico's IP in IP, on a machine whose kernel has it: the article's cluster with tunl0, as it prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Boot
from .machine import Machine
from .waiting import eventually

SCENARIO = "/opt/k8snetlab/scenarios/calico"
FILES = "/tmp/ipip"
ON_NODE = ("ip", "netns", "exec")
ROUTING = "{timers: textbook, routes: %s}"
"""On an emulated processor a second is short."""


class Cluster:
    """The scenario calico on one machine, with a pool whose packets travel in others."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def up(self, mode: str, routes: str = "classic") -> str:
        """With another ipipMode than its lab file has."""
        self.machine.run("rm", "-rf", FILES)
        self.machine.run("cp", "-r", SCENARIO, FILES)
        lab = f"{FILES}/lab.yaml"
        self.machine.run("sed", "-i", f"s#backend: calico#backend: calico\\n    routing: {ROUTING % routes}#", lab)
        self.machine.run("sed", "-i", f"s#ipipMode: Never#ipipMode: {mode}#", lab)
        done = self.machine.attempt("k8snetlab", "up", FILES, "--timeout", "800", timeout=900)
        assert done.code == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def asked(self, *words: str, code: int = 0) -> Any:
        return self.machine.json("k8snetlab", *words, "-o", "json", code=code)

    def on(self, node: str, *words: str) -> str:
        return self.machine.run(*ON_NODE, f"{self.name}.{node}", *words)

    @property
    def name(self) -> str:
        return str(self.asked("status")["lab"])


@pytest.fixture(scope="module")
def cluster(boot: Boot) -> Iterator[Cluster]:
    made = Cluster(boot(1)[0])
    made.up("Always")
    yield made
    made.machine.run("k8snetlab", "down")


def test_tables_are_those_that_the_article_prints(cluster: Cluster) -> None:
    for own, block, other, far in (
        ("k8s-node-1", "10.1.109.64", "10.1.140.64", "192.168.18.4"),
        ("k8s-node-2", "10.1.140.64", "10.1.109.64", "192.168.18.3"),
    ):
        (tunnel,) = json.loads(cluster.on(own, "ip", "-j", "address", "show", "tunl0"))
        held = [(one["local"], one["prefixlen"]) for one in tunnel["addr_info"]]
        assert (tunnel["mtu"], held) == (1480, [(block, 32)])
        routes = {line.strip() for line in cluster.on(own, "ip", "route").splitlines()}
        assert {f"blackhole {block}/26 proto bird", f"{other}/26 via {far} dev tunl0 proto bird onlink"} <= routes
    assert not [line for line in cluster.on("k8s-node-1", "ip", "route").splitlines() if "proto 80" in line]
    said = cluster.machine.run("k8snetlab", "tables", "k8s-node-1", "routes")
    assert "nobody" not in said, said


def test_a_packet_travels_in_another_one_and_the_trace_says_so(cluster: Cluster) -> None:
    found = cluster.asked("trace", "busybox", "mysql:3306")
    assert found["observed"]["agrees"] and found["observed"]["fate"] == "answered", found
    way = found["ways"][found["chosen"]]
    outer = {
        (hop["outer"]["src"], hop["outer"]["dst"], hop["outer"]["protocol"]) for hop in way["there"] if hop["outer"]
    }
    assert outer == {("192.168.18.4", "192.168.18.3", "4")}
    assert [hop["interface"] for hop in way["there"] if hop["place"] == "k8s-node-1"].count("tunl0") == 1
    said = cluster.machine.run("k8snetlab", "trace", "-v", "busybox", "mysql:3306")
    assert "in IP in IP: 192.168.18.4 → 192.168.18.3" in said
    for target in ("k8s-node-1", "k8s-node-2", "203.0.113.10"):
        (result,) = cluster.asked("probe", "busybox", target, "-p", "icmp")["results"]
        assert result["reached"], result
    for source in ("k8s-node-1", "k8s-node-2"):
        assert cluster.asked("trace", source, "myweb:8080")["observed"]["agrees"]
    assert cluster.asked("diagnose")["findings"] == []


def test_what_breaks_the_tunnel_is_the_first_finding(cluster: Cluster) -> None:
    node = f"{cluster.name}.k8s-node-1"
    cluster.machine.run("k8snetlab", "pause", "k8s-node-1")
    try:
        cluster.on("k8s-node-1", "ip", "address", "del", "10.1.109.64/32", "dev", "tunl0")
        (first, *_) = cluster.asked("diagnose", code=1)["findings"]
        said = (first["kind"], first["fault"], first["node"], first["object"])
        assert said == ("address", "missing", "k8s-node-1", "10.1.109.64/32")
        assert first["mend"] == f"ip -n {node} addr add 10.1.109.64/32 dev tunl0"
        cluster.on("k8s-node-1", "ip", "address", "add", "10.1.109.64/32", "dev", "tunl0")
        cluster.on("k8s-node-1", "iptables", "-I", "INPUT", "-p", "4", "-j", "DROP")
        (first, *_) = cluster.asked("diagnose", code=1)["findings"]
        assert (first["kind"], first["fault"], first["node"]) == ("rule", "foreign", "k8s-node-1"), first
        cluster.on("k8s-node-1", "iptables", "-D", "INPUT", "-p", "4", "-j", "DROP")
    finally:
        cluster.machine.run("k8snetlab", "resume", "k8s-node-1")
    eventually(lambda: cluster.asked("diagnose", code=0)["findings"] == [])


def test_felix_makes_the_routes_with_routes_current(cluster: Cluster) -> None:
    cluster.up("Always", "current")
    routes = [line.strip() for line in cluster.on("k8s-node-1", "ip", "route").splitlines()]
    assert "10.1.140.64/26 via 192.168.18.4 dev tunl0 proto 80 onlink" in routes
    assert "blackhole 10.1.109.64/26 proto 80" in routes and not [one for one in routes if "bird" in one]
    assert [one["established"] for one in cluster.asked("routing", "k8s-node-1")["nodes"][0]["neighbours"]] == [True]
    assert cluster.asked("trace", "busybox", "mysql:3306")["observed"]["agrees"]
    assert cluster.asked("diagnose")["findings"] == []


def test_another_network_leaves_no_tunnel(cluster: Cluster) -> None:
    cluster.up("Never")
    (tunnel,) = json.loads(cluster.on("k8s-node-1", "ip", "-j", "address", "show", "tunl0"))
    assert tunnel["addr_info"] == [] and "UP" not in tunnel["flags"]
    assert "10.1.140.64/26 via 192.168.18.4 dev eth0 proto bird" in cluster.on("k8s-node-1", "ip", "route")
    assert cluster.asked("diagnose")["findings"] == []
