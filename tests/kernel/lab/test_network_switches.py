"""A running lab from any network to any other by `up`: what is then there is what a new lab of that network has.

K8SNETLAB_SWITCHES=all walks all 42 switches between two of seven networks, each once; without it four of them are gone
to, drawn anew where K8SNETLAB_SWITCHES is another number than 42.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from k8snetlab.addons.routing import PACKAGES
from k8snetlab.kernel import processes
from k8snetlab.testing import Lab
from k8snetlab.testing.kernelstate import State, differences, masked, state

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not all(shutil.which(one) for one, _ in PACKAGES.values()), reason="bird or frr is missing"),
]
POOL = "cidr: 10.244.0.0/16, natOutgoing: true"
NETWORKS = {
    "vxlan": "{}",
    "host-gw": "{backend: host-gw}",
    "ospf": "{backend: ospf}",
    "rip": "{backend: rip}",
    "bgp": "{backend: bgp}",
    "calico": f"{{backend: calico, ipPools: [{{{POOL}}}]}}",
    "calico-vxlan": f"{{backend: calico, ipPools: [{{{POOL}, vxlanMode: Always}}]}}",
}
OBJECTS = """
---
{apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {nodeName: node1, containers: [{name: c, image: i}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {nodeName: node2, containers:
  [{name: c, image: i, ports: [{containerPort: 80}]}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]}
"""
WHICH = os.environ.get("K8SNETLAB_SWITCHES", "42")
_GIVEN = re.compile(r"\b(?:10\.244|POD)\.([12])(?:\.\d+)?\b")
"""Addresses of a block are given in the order in which they are asked for."""
OWN = ("cluster", "api/", "daemon.log")
"""Files of the lab that its networks do not have to do with: some come only later."""

MOMENTARY = ("iptables", "ip6tables")
"""Programs that an agent runs, and waits for."""


def walk() -> list[str]:
    names = list(NETWORKS)
    if WHICH == "all":
        return circuit(names)
    found = random.Random(int(WHICH)).sample(names, 4)
    return [*found, found[0]]


def circuit(names: Sequence[str]) -> list[str]:
    """A way over every ordered pair of them, once, back to where it began (Hierholzer)."""
    left = {name: [other for other in names if other != name] for name in names}
    way, found = [names[0]], list[str]()
    while way:
        if ahead := left[way[-1]]:
            way.append(ahead.pop())
        else:
            found.append(way.pop())
    return found[::-1]


def test_the_walk_goes_over_each_pair_once() -> None:
    pairs = list(itertools.pairwise(circuit(list(NETWORKS))))
    assert Counter(pairs) == Counter(itertools.permutations(NETWORKS, 2))


class World:
    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.lab, self._file = Lab(directory), directory / "lab.yaml"

    def up(self, network: str) -> str:
        """What it warned of."""
        nodes = "{{name: node{0}, podCIDR: 10.244.{0}.0/24}}"
        if network.startswith("calico"):
            nodes = "{{name: node{0}, blocks: [10.244.{0}.0/26]}}"
        held = ", ".join(nodes.format(number) for number in (1, 2))
        spec = f"{{nodes: [{held}], dns: {{enabled: false}}, network: {NETWORKS[network]}}}"
        self._file.write_text(f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {spec}}}{OBJECTS}")
        return " ".join(self.lab.json("up", str(self._file), "--yes")["warnings"])

    def state(self) -> State:
        """The kernel's, the programs that run in its namespaces, and the files that the lab has."""
        lab = self.lab
        found = state(lab.name, lab.namespaces())
        for name in lab.namespaces():
            own = found[masked(name.replace(lab.name, "LAB"))]
            own.update(f"process: {comm}" for comm in _programs(name) if not comm.startswith(MOMENTARY))
        base = lab.run_directory / lab.name
        files = (str(one.relative_to(base)) for one in base.rglob("*") if not one.is_dir())
        found["files"] = Counter(
            one for one in files if not one.startswith(OWN) and not {"log", "revisions"} & {*one.split("/")}
        )
        return {name: _plain(lines) for name, lines in found.items()}


def _plain(lines: Counter[str]) -> Counter[str]:
    found = Counter[str]()
    for line, times in lines.items():
        found[_GIVEN.sub(r"POD.\1", line)] += times
    return found


def _programs(namespace: str) -> Iterator[str]:
    for pid in processes.pids_in(namespace):
        try:
            yield Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue


def test_nothing_of_the_former_is_left(tmp_path: Path) -> None:
    way = walk()
    expected: dict[str, State] = {}
    for number, name in enumerate(dict.fromkeys(way)):
        new = World(tmp_path / str(number))
        try:
            new.up(name)
            expected[name] = new.state()
        finally:
            new.lab.run("down", code=None)
    for one, other in itertools.combinations(expected, 2):
        assert differences(expected[one], expected[other]), "what is compared tells networks apart"
    world = World(tmp_path / "all")
    try:
        world.up(way[0])
        for former, name in itertools.pairwise(way):
            warned = world.up(name)
            anew = former.startswith("calico") != name.startswith("calico")
            assert ("2 pods are plugged in anew" in warned) is anew, (former, name, warned)
            assert world.lab.whole(), (former, name)
            assert world.lab.probe("client", "web").answeredBy == "web"
            assert not (different := differences(world.state(), expected[name])), "\n".join(
                [f"{former} -> {name}", *different]
            )
    finally:
        world.lab.run("down", code=None)
