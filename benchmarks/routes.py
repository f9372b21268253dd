"""Routes by BIRD: from the nodes' links to all routes in all kernels; a mesh of 100 nodes, and one reflector for them.

The floor is the same BIRDs with configurations written by hand, in namespaces made by ip: from their start on. A lab's
begin while its last nodes are made, so less than nothing of that is counted against them.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks import machine
from benchmarks.arrivals import Arrivals, addressed
from benchmarks.floors import birds
from benchmarks.labs import Lab, lab, lab_object
from benchmarks.rows import Goal, Row
from benchmarks.run import CannotRunError, FailedError, Run
from benchmarks.settled import Settled, settled
from k8snetlab.kernel import processes

Network = Literal["bgp", "mesh", "reflector"]
"""The backend bgp, and Calico's with a mesh or with the first node as route reflector."""
GOAL, MEMORY = 5.0, 3.0
"""Seconds to the last route, and megabytes of a node's BIRD."""
LONG = 120.0
"""Seconds after which routes that are not there do not come."""


def rows(run: Run) -> Iterator[Row]:
    if not shutil.which("bird"):
        raise CannotRunError("no BIRD: apt-get install bird2")
    half, many = run.scale.nodes // 2, run.scale.nodes
    ours, floor = list[Settled](), list[Settled]()
    for number in range(run.scale.rounds):
        run.say(f"{half} nodes, round {number + 1}")
        ours.append(ours_settled(half, "bgp"))
        floor.append(birds.settle(half, "mesh", LONG))
    note = f"{half} nodes of bgp: up took {ours[-1].up:.1f} s in all"
    yield _row(f"{half} nodes of bgp: the last route", ours, floor, (Goal(GOAL, ""),), note)
    memory = tuple(one.memory for one in ours)
    yield Row("memory of one BIRD of them", memory, unit="MB", goals=(Goal(MEMORY, ""),))
    shapes: tuple[birds.Shape, ...] = ("mesh", "reflector")
    for shape in shapes:
        run.say(f"{many} nodes, {shape}")
        found, beside = ours_settled(many, shape), birds.settle(many, shape, LONG)
        yield _row(f"{many} nodes, {shape}: the last route", [found], [beside])
        note = f"{many} nodes, {shape}: daemon and kubelet took {found.ours:.1f} s of a core until then"
        yield Row(f"{many} nodes, {shape}: work of BIRDs", (found.birds,), (beside.birds,), note=note)


def _row(
    what: str, ours: Sequence[Settled], floor: Sequence[Settled], goals: tuple[Goal, ...] = (), note: str = ""
) -> Row:
    return Row(what, _seconds(ours), _seconds(floor), goals=goals, note=note)


def _seconds(found: Sequence[Settled]) -> tuple[float, ...]:
    return tuple(max(one.seconds, 0.001) for one in found)


def ours_settled(nodes: int, network: Network, timeout: float = LONG) -> Settled:
    """Of a lab, which is gone afterwards. Raises FailedError."""
    with machine.lifted(), lab() as one:
        found = _settled(one, nodes, network, timeout)
    machine.emptied()
    return found


def _settled(one: Lab, nodes: int, network: Network, timeout: float) -> Settled:
    names = [one.netns(f"node{number}") for number in range(1, nodes + 1)]
    up = _Up(one, [lab_object(**spec(nodes, network))])
    up.start()
    try:
        with Arrivals() as arrivals:
            began = addressed(names, arrivals, timeout)
            at = arrivals.wait(birds.wanted(names, 24 if network == "bgp" else 26), timeout)
            own = machine.cpu(*one.pids())
            found = settled(began, at, arrivals, _birds(names), ours=own)
    except FailedError as error:
        raise FailedError(f"{error}; up: {up.ended(timeout) or 'it has ended'}") from None
    finally:
        problem = up.ended(timeout)
    if problem:
        raise FailedError(problem)
    return msgspec.structs.replace(found, up=up.seconds)


class _Up(threading.Thread):
    """`up`, beside what is watched."""

    def __init__(self, one: Lab, objects: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self._lab, self._objects, self._problem, self.seconds = one, objects, "", 0.0

    def run(self) -> None:
        began = time.perf_counter()
        try:
            self._lab.up(self._objects)
        except FailedError as error:
            self._problem = str(error)
        self.seconds = time.perf_counter() - began

    def ended(self, seconds: float) -> str:
        """What went wrong, once it has ended."""
        self.join(seconds)
        return self._problem or (f"up goes on after {seconds:.0f} s" if self.is_alive() else "")


def _birds(names: Sequence[str]) -> list[int]:
    """The BIRDs of these namespaces."""
    found = []
    for pid in processes.pids_in(names):
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "bird":
                found.append(pid)
    return found


def spec(nodes: int, network: Network) -> dict[str, Any]:
    """A Lab's, whose nodes have networks of pods by their numbers, and no pods."""
    if network == "bgp":
        held = [{"name": f"node{number}", "podCIDR": f"10.244.{number}.0/24"} for number in range(1, nodes + 1)]
        return {"nodes": held, "network": {"backend": "bgp"}}
    given: list[dict[str, Any]] = [
        {"name": f"node{number}", "blocks": [f"10.244.{number}.0/26"]} for number in range(1, nodes + 1)
    ]
    calico: dict[str, Any] = {"backend": "calico", "ipPools": [{"cidr": "10.244.0.0/16", "natOutgoing": True}]}
    if network == "reflector":
        given[0] |= {"routeReflectorClusterID": "244.0.0.1", "labels": {"reflects": "yes"}}
        peer = {"name": "up", "nodeSelector": "all()", "peerSelector": "has(reflects)"}
        calico["bgp"] = {"nodeToNodeMeshEnabled": False, "peers": [peer]}
    return {"nodes": given, "network": calico}
