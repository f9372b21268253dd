"""A thousand pods on ten nodes, from `up` to every pod answering, beside a C program's and Mininet's; and `down`.

One Deployment and one Service. The floor makes a namespace, a veth pair into one bridge, an address and a route for
each pod, one after another. Mininet makes as many hosts on one Linux bridge, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from benchmarks import machine
from benchmarks.answering import all_answer
from benchmarks.floors import pods as floor
from benchmarks.labs import Lab, deployment, lab, lab_object, service
from benchmarks.peers import cni, mininet
from benchmarks.rows import Goal, Row
from benchmarks.run import FailedError, Run

T = TypeVar("T")
A_NODE = 100
"""Pods of one node."""


def rows(run: Run) -> Iterator[Row]:
    pods = run.scale.pods
    with machine.lifted(), floor.program() as program:
        yield from _few(run, min(100, pods))
        ups, downs, gone, made = [], [], [], []
        for number in range(run.scale.rounds):
            run.say(f"{pods} pods, round {number + 1}: the C program")
            made.append(floor.make(program, pods))
            run.say(f"{pods} pods, round {number + 1}: ours")
            up, down, after = life(pods)
            ups.append(up)
            downs.append(down)
            gone.append(after)
        run.say(f"{pods} hosts of Mininet")
        peer, lacking = _tried(mininet.missing, lambda: mininet.make(pods))
        yield Row(
            f"{pods} pods: up until each answers",
            tuple(ups),
            tuple(one.up for one in made),
            tuple(one.up for one in peer),
            goals=(Goal(1 / 0.7), Goal(1 / 3, "peer")),
            note=f"the floor is a C program; the peer is Mininet, {lacking or 'once'}",
        )
        yield Row(f"{pods} pods: down", tuple(downs), peer=tuple(one.down for one in peer), goals=(Goal(1.5, ""),))
        yield Row(f"{pods} pods: from then to nothing left", tuple(gone), goals=(Goal(8.0, ""),))
        if run.scale.large:
            yield from _many(run, program)


def _few(run: Run, pods: int) -> Iterator[Row]:
    """What a CNI plugin can be set beside: one node's pods."""
    run.say(f"{pods} pods by the CNI plugin bridge")
    peer, lacking = _tried(cni.missing, lambda: cni.make(pods))
    ups = tuple(life(pods)[0] for _ in range(run.scale.rounds))
    yield Row(
        f"{pods} pods on one node",
        ups,
        peer=tuple(up for up, _ in peer),
        note=f"the peer of {pods} pods on one node is the CNI plugin bridge, {lacking or 'once'}",
    )


def _tried(missing: Callable[[], str], make: Callable[[], T]) -> tuple[list[T], str]:
    """What a peer's run came to, or none and why: a peer that cannot run takes nobody along."""
    lacking = missing()
    try:
        return ([], lacking) if lacking else ([make()], "")
    except FailedError as error:
        return [], f"not measured: {error}"


def _many(run: Run, program: Path) -> Iterator[Row]:
    """Beside as many of the C program: how both grow from a thousand is the kernel's, then ours (docs/speed.md)."""
    for times, goals in ((5, (Goal(1 / 0.7),)), (10, ())):
        pods = run.scale.pods * times
        run.say(f"{pods} pods: the C program")
        made = floor.make(program, pods)
        run.say(f"{pods} pods: ours")
        up, down, after = life(pods)
        yield Row(f"{pods} pods: up until each answers", (up,), (made.up,), goals=goals)
        yield Row(f"{pods} pods: down", (down,))
        yield Row(f"{pods} pods: from then to nothing left", (after,))


def life(pods: int) -> tuple[float, float, float]:
    """Seconds of `up` until each pod has answered, of `down`, and from then until the kernel has nothing left."""
    with lab() as one:
        up = made(one, pods)
        down = one.down()
    return up, down, machine.emptied()


def made(one: Lab, pods: int) -> float:
    """Seconds from the start of `up` until each pod has answered another one, of another node mostly."""
    nodes = -(-pods // A_NODE)
    objects = [lab_object(nodes=nodes, podCIDR="10.128.0.0/10"), deployment("web", pods), service("web")]
    file = one.written(objects)
    began = time.perf_counter()
    one.timed("up", file, "--timeout", "30m")
    answer = one.client.list("pods", "default")
    names = {pod["status"]["podIP"]: pod["metadata"]["name"] for pod in answer}
    return all_answer(one.netns("default", answer[0]["metadata"]["name"]), names) - began
