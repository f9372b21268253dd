"""`node join` and `node leave` killed at any step: done again they are done, and a machine that left is as it was.

K8SNETLAB_CRASH_JOINS sets how many points are tried ("join:daemon:41" is command, process, effect; see crash.py), and
K8SNETLAB_CRASH_SEED which; K8SNETLAB_CRASH="join:daemon:41:1 …" tries only these.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from k8snetlab.kernel import netns
from k8snetlab.testing import eventually
from k8snetlab.testing.kernelstate import State, differences, state
from k8snetlab.testing.machines import Machine, pair, url
from k8snetlab.testing.web import web

pytestmark = [pytest.mark.timeout(36000), pytest.mark.etcd]
POINTS = int(os.environ.get("K8SNETLAB_CRASH_JOINS", "4"))
SEED = os.environ.get("K8SNETLAB_CRASH_SEED", "1")
GIVEN = os.environ.get("K8SNETLAB_CRASH", "").split()
EXACT = [point for point in GIVEN if point.startswith(("join:", "leave:"))]
OBJECTS = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {dns: {enabled: false}}}\n" + web(2)
SUBNET = re.compile(r"\b(POD\.|10\.244\.)\d+")


class Joining:
    """A second machine that joins and leaves."""

    def __init__(self, one: Machine, two: Machine, directory: Path) -> None:
        self.one, self.two = one, two
        self.order = directory / "fault"
        two.environment["K8SNETLAB_FAULT"] = str(self.order)
        self._serial = 0

    def words(self, verb: str) -> list[str]:
        if verb == "leave":
            return ["node", "leave"]
        return ["node", "join", "--store", url(self.one), "--insecure", "--name", "node2", "--iface", "eth1"]

    def arm(self, process: str, number: int) -> None:
        self._serial += 1
        self.order.with_suffix(".seen").write_text("")
        self.order.write_text(f"{self._serial} {process} {number}")

    def effects(self, verb: str) -> list[tuple[str, str, int]]:
        """Does it without a crash; (verb, process, number) of each effect."""
        self.arm("none", 0)
        self.two.run(*self.words(verb))
        lines = self.order.with_suffix(".seen").read_text().splitlines()
        seen = Counter(line.split()[0] for line in lines)
        return [(verb, role, n) for role, count in sorted(seen.items()) for n in range(1, count + 1)]

    def crash(self, verb: str, process: str, number: int) -> bool:
        self.arm(process, number)
        command = self.two.command(*self.words(verb))
        subprocess.run(command, env=self.two.environment, capture_output=True, timeout=200, check=False)
        died = not self.order.exists()
        self.order.unlink(missing_ok=True)
        return died

    def joined(self) -> State:
        """What the machine and the pods of the lab have."""
        names = [self.two.namespace, *(n for n in netns.names() if n.startswith(f"{self.two.name}."))]
        found = state(self.two.name, names)
        return {name: Counter(_masked(lines)) for name, lines in found.items()}

    def whole(self) -> bool:
        status = self.one.json("status")
        nodes = {node["name"]: node["agent"]["synced"] for node in status["nodes"]}
        pods = self.one.json("get", "pods")["items"]
        running = [
            p for p in pods if p["status"].get("phase") == "Running" and "deletionTimestamp" not in p["metadata"]
        ]
        spread = {p["spec"]["nodeName"] for p in running}
        return nodes == {"node1": True, "node2": True} and len(running) == len(pods) == 2 and spread <= nodes.keys()

    def forgotten(self) -> None:
        """A machine that could not say that it goes is a node until its lease ends: it comes again, and says so."""
        if not self.alone():
            self.two.run(*self.words("join"))
            eventually(self.whole)
            self.two.run("node", "leave")
            eventually(self.alone)

    def alone(self) -> bool:
        return [node["name"] for node in self.one.json("status")["nodes"]] == ["node1"]


def _masked(lines: Counter[str]) -> list[str]:
    return [SUBNET.sub("NET", line) for line in lines.elements()]


@pytest.mark.skipif(bool(GIVEN) and not EXACT, reason="K8SNETLAB_CRASH names other points")
def test_a_join_or_leave_that_is_killed_is_done_by_doing_it_again(tmp_path: Path) -> None:
    failures: list[str] = []
    killed = tried = 0
    with pair(OBJECTS, tmp_path) as (one, two):
        joining = Joining(one, two, tmp_path)
        two.run("node", "leave", "--force")
        eventually(joining.alone)
        before = two.state()
        counted = joining.effects("join")
        eventually(joining.whole)
        counted += joining.effects("leave")
        eventually(joining.alone)
        assert two.state() == before
        todo = random.Random(SEED).sample(counted, min(POINTS, len(counted)))
        if EXACT:
            todo = [(p.split(":")[0], p.split(":")[1], int(p.split(":")[2])) for p in EXACT]
        for verb, process, number in todo:
            point = f"{verb}:{process}:{number}:{SEED}"
            tried += 1
            try:
                killed += step(joining, point, before)
            except AssertionError as error:
                failures.append(f'K8SNETLAB_CRASH="{point}"\n{error}')
                sys.stderr.write(f"\n{failures[-1]}\n")
                two.run("node", "leave", "--force", code=None)
                joining.forgotten()
                assert two.state() == before, "nothing more can be tried"
    sys.stderr.write(f"\n{tried} points of join and leave, {killed} kills, {len(failures)} failures\n")
    assert not failures, "\n".join(failures)
    assert killed > (tried - 4) // 2, "most points are reached; of a handful chance may pass some by"


def step(joining: Joining, point: str, before: dict[str, str]) -> bool:
    """One point; the machine has left afterwards."""
    verb, process, number, _ = point.split(":")
    one, two = joining.one, joining.two
    if verb == "leave":
        two.run(*joining.words("join"))
        eventually(joining.whole)
    died = joining.crash(verb, process, int(number))
    if random.Random(point).random() < 0.5:
        two.run(*joining.words("join"))
        eventually(joining.whole)
        assert all(result["ok"] for result in one.json("probe", "--all", code=None)["results"]), "probes"
        expected = joining.joined()
        two.run("node", "leave")
        eventually(joining.alone)
        two.run(*joining.words("join"))
        eventually(joining.whole)
        unlike: list[str] = []

        def same() -> bool:
            unlike[:] = differences(expected, joining.joined())
            return not unlike

        try:
            eventually(same)
        except AssertionError:
            raise AssertionError("\n".join(unlike)) from None
    if (two.run_directory / two.name).exists():
        two.run("node", "leave", "--force")
    changed = {what: (before[what], now) for what, now in two.state().items() if now != before[what]}
    assert not changed, changed
    joining.forgotten()
    return died
