"""The pod network's backends: each carries business-manager, and a running lab changes from any to any other."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from repository import SCENARIOS

from k8snetlab.dataplane.links import Address, Bridge
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.dataplane.routing import Route
from k8snetlab.errors import KernelError
from k8snetlab.kernel.execute import execute
from k8snetlab.testing import Lab

NETWORKS = {
    "proactive": "{}",
    "proactive-flat": "{routes: flat}",
    "on-miss": "{resolve: on-miss}",
    "on-miss-flat": "{resolve: on-miss, routes: flat}",
    "host-gw": "{backend: host-gw}",
    "direct": "{directRouting: true}",
    "direct-on-miss-flat": "{directRouting: true, resolve: on-miss, routes: flat}",
}
NODES = {"node1": ("192.168.0.21", "172.30.76"), "node2": ("192.168.0.22", "172.30.9")}


class BusinessManager:
    """The scenario with another `network`, in files of its own."""

    def __init__(self, directory: Path) -> None:
        self.lab = Lab(directory)
        self.met: set[str] = set()
        """The networks by which everybody has asked everything; the tables are looked at after every way."""
        self.files = directory / "files"
        self.files.mkdir()
        for file in (SCENARIOS / "business-manager").glob("*.yaml"):
            (self.files / file.name).write_text(file.read_text())

    def up(self, network: str) -> None:
        text = (SCENARIOS / "business-manager" / "lab.yaml").read_text()
        head, found, _ = text.partition("  network:\n")
        assert found
        head = head.replace("  dns: {address: 10.254.0.2}\n", "  dns: {enabled: false}\n")
        (self.files / "lab.yaml").write_text(f"{head}  network: {NETWORKS[network]}\n")
        self.lab.run("up", str(self.files))


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusinessManager]:
    scenario = BusinessManager(tmp_path_factory.mktemp("backends"))
    yield scenario
    subprocess.run(scenario.lab.command("down"), env=scenario.lab.environment, capture_output=True, timeout=200)


def inside(namespace: str, *command: str) -> str:
    return subprocess.run(
        ["ip", "netns", "exec", namespace, *command], capture_output=True, text=True, timeout=200, check=True
    ).stdout


def ways() -> list[tuple[str, str]]:
    """A walk through all networks that takes every way from one to another."""
    names = list(NETWORKS)
    walk = [name for i, one in enumerate(names) for other in names[i + 1 :] for name in (one, other)] + names[:1]
    steps = list(pairwise(walk))
    assert {(a, b) for a in names for b in names if a != b} <= set(steps)
    return steps


@pytest.mark.parametrize(("before", "network"), ways(), ids=str)
def test_from_any_network_to_any_other_nothing_stale_stays(
    scenario: BusinessManager, before: str, network: str
) -> None:
    if not scenario.lab.run_directory.exists():
        scenario.up(before)
    scenario.up(network)
    check_tables(scenario.lab, network)
    if network not in scenario.met:
        results = scenario.lab.json("probe", "--all", code=None)["results"]
        assert len(results) == 110 and [r for r in results if not r["ok"]] == []
        scenario.met.add(network)
    assert scenario.lab.probe("client", "business-manager:80").ok
    check_tables(scenario.lab, network)
    mtu = 1500 if network == "host-gw" else 1450
    assert f"mtu {mtu}" in inside(scenario.lab.netns("default", "client"), "ip", "link", "show", "eth0")


@pytest.mark.parametrize("network", ["host-gw", "on-miss-flat", "direct", "proactive"])
def test_an_agent_that_was_dead_when_the_network_changed_clears_up_too(scenario: BusinessManager, network: str) -> None:
    scenario.lab.kill("daemon")
    scenario.up(network)
    check_tables(scenario.lab, network)
    assert scenario.lab.whole()


def test_a_next_hop_that_is_not_on_the_link_is_refused_by_name(scenario: BusinessManager) -> None:
    scenario.up("host-gw")
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "afar"}, "spec": {"podCIDR": "172.30.99.0/24"}}
    node["status"] = {"addresses": [{"type": "InternalIP", "address": "10.9.9.9"}]}
    said = scenario.lab.run("apply", "-f", "-", stdin=json.dumps(node), code=2)
    assert "next hop 10.9.9.9 (Node afar" in said and "192.168.0.0/24" in said
    check_tables(scenario.lab, "host-gw")


def test_a_next_hop_that_the_kernel_refuses_is_named(namespace: Callable[..., str]) -> None:
    name = namespace()
    operations = [
        ItemOperation("add", name, Bridge("eth0")),
        ItemOperation("add", name, Address("eth0", "192.168.0.21/24")),
        ItemOperation("replace", name, Route("172.30.9.0/24", "eth0", "10.9.9.9")),
    ]
    with pytest.raises(KernelError) as refused:
        execute(operations)
    assert "next hop 10.9.9.9 cannot be reached: it is in no subnet of eth0" in refused.value.hint


def check_tables(lab: Lab, network: str) -> None:
    """Exactly the routes of this network, and no entry that belongs to another one."""
    for node, other in (("node1", "node2"), ("node2", "node1")):
        address, theirs = NODES[other]
        shown = lab.shell(node, "ip", "route").splitlines()
        assert {line.strip() for line in shown if "proto kernel" not in line} == routes(network, address, theirs)
        if network == "host-gw":
            assert "flannel" not in lab.shell(node, "ip", "link")
        else:
            check_entries(lab, network, node, other)


def routes(network: str, address: str, theirs: str) -> set[str]:
    found = {"default via 192.168.0.1 dev eth0"}
    if network == "host-gw" or network.startswith("direct"):
        found.add(f"{theirs}.0/24 via {address} dev eth0")
    elif not network.endswith("flat"):
        found.add(f"{theirs}.0/24 via {theirs}.0 dev flannel.1 onlink")
    if network.endswith("flat"):
        found.add("172.30.0.0/16 dev flannel.1 scope link")
    return found


def check_entries(lab: Lab, network: str, node: str, other: str) -> None:
    """What is there is right, and with `proactive` it is all there."""
    address, theirs = NODES[other]
    on_miss, flat, direct = "on-miss" in network, network.endswith("flat"), network.startswith("direct")
    device = json.loads(lab.shell(node, "ip", "-d", "-j", "link", "show", "flannel.1"))[0]["linkinfo"]["info_data"]
    assert (bool(device.get("l2miss")), bool(device.get("l3miss"))) == (on_miss, on_miss)
    mac = json.loads(lab.shell(other, "ip", "-j", "link", "show", "flannel.1"))[0]["address"]
    fdb = lab.shell(node, "bridge", "fdb", "show", "dev", "flannel.1").strip().splitlines()
    entries = json.loads(lab.shell(node, "ip", "-j", "neigh", "show", "dev", "flannel.1"))
    neighbours = {entry["dst"]: entry for entry in entries}
    assert direct <= (not fdb and not neighbours), "the nodes share a link: nothing goes through the tunnel"
    assert fdb in ([], [f"{mac} dst {address} self permanent"])
    assert all(entry.get("lladdr") == mac for entry in neighbours.values())
    if flat:
        named = (name for name in lab.namespaces() if name.startswith(f"{lab.name}.default."))
        shown = (inside(name, "ip", "-4", "-o", "addr", "show", "eth0") for name in named)
        pods = {re.split(r"[ /]+", line)[3] for line in shown}
        possible = {ip for ip in (f"{theirs}.0", f"{theirs}.1", *pods) if ip.startswith(f"{theirs}.")}
    else:
        possible = {f"{theirs}.0"}
    assert neighbours.keys() <= possible
    if not on_miss and not direct:
        assert fdb and neighbours.keys() == possible
    assert all((entry["state"] == ["PERMANENT"]) != on_miss for entry in neighbours.values())
