"""A lab under changes at random, faults and traffic without end: nobody who uses a Service with a ready endpoint
notices what is not meant to break the network, and nothing grows.

K8SNETLAB_SOAK is the length in seconds (`make soak`: 1800), from ten minutes on with 20 nodes; K8SNETLAB_SEED repeats
the changes of another run.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest
from soaking import CLIENTS, Changes, figures, grown
from traffic import Client, Traffic

from k8snetlab.testing import Lab

pytestmark = pytest.mark.timeout(7200)
SECONDS = float(os.environ.get("K8SNETLAB_SOAK", "60"))
SEED = int(os.environ.get("K8SNETLAB_SEED", str(random.SystemRandom().randrange(10**6))))
LONG = 600
KILLING = 0.4
"""The part of the time in which daemon and kubelet are killed; after it they live, so that they can be measured."""
ROUND = 12 if SECONDS >= LONG else 5
"""Changes between two rests."""


def test_a_lab_under_changes_and_faults_serves_its_clients_and_does_not_grow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = 20 if SECONDS >= LONG else 5
    lab, traffic = Lab(tmp_path), Traffic(pause=0.2 if SECONDS >= LONG else 0.1)
    lab.run("audit", "--baseline", str(tmp_path / "before.json"))
    changes = Changes(lab, nodes, random.Random(SEED), tmp_path, lambda: traffic.now)
    measured: list[tuple[float, bool, dict[str, int]]] = []
    try:
        changes.up()
        traffic.start(clients(lab))
        end = time.monotonic() + SECONDS
        begin = time.monotonic()
        killing = True
        while time.monotonic() < end:
            killing = time.monotonic() < begin + KILLING * SECONDS
            for _ in range(ROUND):
                changes.one(killing)
                if time.monotonic() > end:
                    break
            changes.rest()
            measured.append((traffic.now, killing, figures(lab)))
        traffic.stop()
        pairs = [one for one in lab.json("probe", "--all", code=None)["results"] if not one["ok"]]
    finally:
        if getattr(traffic, "_ending", None) is not None:
            traffic.stop()
        summary = summed_up(traffic, changes, measured)
        with capsys.disabled():
            sys.stdout.write(summary + "\n")
        lab.run("down", code=None)
    unforeseen = [one for one in traffic.failed if not within(one.began, one.ended, changes)]
    assert not unforeseen, f"seed {SEED}:\n" + "\n".join(f"{one}; {around(one.began, changes)}" for one in unforeseen)
    assert traffic.done and not pairs, f"seed {SEED}: {pairs[:5]}"
    calm = [of for _, killing, of in measured if not killing]
    for before in calm[:-1][:1]:
        assert not grown(before, calm[-1]), f"seed {SEED}: {grown(before, calm[-1])}"
    mine = [thing for thing in lab.json("audit", code=None)["findings"] if lab.name in str(thing)]
    assert not mine and lab.namespaces() == [] and not (lab.run_directory / lab.name).exists()


def clients(lab: Lab) -> list[Client]:
    """In pods, on nodes and outside; by TCP and UDP."""
    service, outside = [("10.96.0.80", 80), ("10.96.0.81", 80)], lab.netns("outside")
    addresses = [n["address"] for n in lab.json("status")["nodes"][:CLIENTS]]
    found = [Client("outside", outside, [(address, 30080) for address in addresses])]
    found.append(Client("outside, UDP", outside, [(address, 30080) for address in addresses], udp=True))
    for number in range(1, CLIENTS + 1):
        found.append(Client(f"client-{number}", lab.netns("default", f"client-{number}"), service))
        found.append(Client(f"client-{number}, UDP", lab.netns("default", f"client-{number}"), service[:1], udp=True))
    return [*found, Client("node1", lab.netns("node1"), service)]


def within(began: float, ended: float, changes: Changes) -> bool:
    """Whether the network was broken on purpose at some time of a connection."""
    return any(began < end and ended > begin for begin, end, _ in changes.breaks)


def around(at: float, changes: Changes) -> str:
    """What was being done then."""
    before = [f"{name} at {when:.1f}" for when, name in changes.log if when <= at][-8:]
    return ", ".join(before)


def summed_up(traffic: Traffic, changes: Changes, measured: list[tuple[float, bool, dict[str, int]]]) -> str:
    count, inside = sum(traffic.done.values()), [f for f in traffic.failed if within(f.began, f.ended, changes)]
    lines = [
        "",
        f"soak: seed {SEED}, {traffic.now:.0f} s, {changes.nodes} nodes, {sum(changes.done.values())} changes",
        f"  changes: {', '.join(f'{name} {n}' for name, n in changes.done.most_common())}",
        f"  connections: {count}, {len(traffic.answered)} pods answered; failed: {len(traffic.failed)}, of which "
        f"{len(inside)} while the network was broken on purpose ({len(changes.breaks)} times); "
        f"{traffic.slow} slow, slowest {traffic.slowest:.1f} s",
        f"  longest until nothing was wrong any more: {changes.settling:.1f} s",
    ]
    for name in measured[0][2] if measured else ():
        lines.append(f"  {name + ':':28} {' '.join(f'{of[name]}' + ('*' * k) for _, k, of in measured)}")
    return "\n".join([*lines, "  (*: while daemon and kubelet were being killed)" if measured else ""])
