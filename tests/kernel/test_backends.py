"""The pod network's backends: each carries business-manager, and a running lab changes from any to any other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from labs import SCENARIOS, Lab, eventually

pytestmark = pytest.mark.root

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
        self.files = directory / "files"
        self.files.mkdir()
        for file in (SCENARIOS / "business-manager").glob("*.yaml"):
            (self.files / file.name).write_text(file.read_text())

    def up(self, network: str) -> None:
        text = (SCENARIOS / "business-manager" / "lab.yaml").read_text()
        head, found, _ = text.partition("  network:\n")
        assert found
        (self.files / "lab.yaml").write_text(f"{head}  network: {NETWORKS[network]}\n")
        self.lab.run("up", str(self.files))


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusinessManager]:
    scenario = BusinessManager(tmp_path_factory.mktemp("backends"))
    yield scenario
    subprocess.run(scenario.lab.command("down"), env=scenario.lab.environment, capture_output=True, timeout=60)


def ways() -> list[tuple[str, str]]:
    """A walk through all networks that takes every way from one to another."""
    names = list(NETWORKS)
    walk = [name for i, one in enumerate(names) for other in names[i + 1 :] for name in (one, other)] + names[:1]
    steps = list(zip(walk, walk[1:], strict=False))
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
    results = scenario.lab.json("probe", "--all", code=None)["results"]
    assert len(results) == 100 and [r for r in results if not r["ok"]] == []
    check_tables(scenario.lab, network)
    mtu = 1500 if network == "host-gw" else 1450
    assert f"mtu {mtu}" in scenario.lab.run("exec", "client", "--", "ip", "link", "show", "eth0")


def check_tables(lab: Lab, network: str) -> None:
    """Exactly the routes of this network, and no entry that belongs to another one."""
    for node, (_, subnet) in NODES.items():
        other = next(name for name in NODES if name != node)
        address, theirs = NODES[other]
        routes = {line.strip() for line in lab.shell(node, "ip", "route").splitlines() if "proto kernel" not in line}
        wanted = {f"default via 192.168.0.1 dev eth0"}
        if network == "host-gw" or network.startswith("direct"):
            wanted.add(f"{theirs}.0/24 via {address} dev eth0")
        elif "flat" not in network:
            wanted.add(f"{theirs}.0/24 via {theirs}.0 dev flannel.1 onlink")
        if "flat" in network:
            wanted.add("172.30.0.0/16 dev flannel.1 scope link")
        assert routes == wanted
        if network == "host-gw":
            assert "flannel" not in lab.shell(node, "ip", "link")
            continue
        device = json.loads(lab.shell(node, "ip", "-d", "-j", "link", "show", "flannel.1"))[0]["linkinfo"]["info_data"]
        assert bool(device.get("l2miss")) == bool(device.get("l3miss")) == ("on-miss" in network)
        mac = json.loads(lab.shell(other, "ip", "-j", "link", "show", "flannel.1"))[0]["address"]
        entries = set(lab.shell(node, "bridge", "fdb", "show", "dev", "flannel.1").strip().splitlines())
        expected = {f"{mac} dst {address} self permanent"} if not network.startswith("direct") else set()
        assert entries == expected or ("on-miss" in network and not entries)
        neighbours = {
            n["dst"]: n for n in json.loads(lab.shell(node, "ip", "-j", "neigh", "show", "dev", "flannel.1"))
        }
        assert all(n.get("lladdr") == mac for n in neighbours.values())
        if "flat" not in network:
            assert set(neighbours) <= {f"{theirs}.0"}
        assert all(dst.startswith(f"{theirs}.") for dst in neighbours)
        if network == "proactive":
            assert set(neighbours) == {f"{theirs}.0"}
        if network == "proactive-flat":
            pods = {p["status"]["podIP"] for p in lab.json("get", "pods")["items"]}
            assert set(neighbours) == {f"{theirs}.0", f"{theirs}.1", *(p for p in pods if p.startswith(f"{theirs}."))}
        if network.startswith("direct"):
            assert not neighbours
        assert all(n["state"] == ["PERMANENT"] for n in neighbours.values()) == ("on-miss" not in network) or not neighbours
