"""A large lab asked and changed: scale by one pod, status, get pods, diagnose; `probe --all` of 300 pods."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import alike, machine
from benchmarks.answering import all_answer
from benchmarks.labs import Lab, lab
from benchmarks.pods import A_NODE, made
from benchmarks.rows import Goal, Row
from benchmarks.run import FailedError, Run
from k8snetlab.kernel import iptables

LATE = 30.0
"""Seconds after which a verb is no longer waited for."""
LONG = 10.0
"""Seconds of a verb that are enough: what takes longer is not measured again."""


def rows(run: Run) -> Iterator[Row]:
    with machine.lifted():
        run.say(f"up of {run.scale.pods} pods")
        with lab() as one:
            made(one, run.scale.pods)
            yield from _asked(run, one, run.scale.pods)
        machine.emptied()
        with lab() as one:
            yield _everyone(run, one, run.scale.pods * 3 // 10)
        machine.emptied()


def _asked(run: Run, one: Lab, pods: int) -> Iterator[Row]:
    scaled = []
    for number in range(run.scale.rounds):
        run.say(f"scale by one pod, round {number + 1}")
        scaled.append(_scale(one, pods + number + 1))
    nodes = -(-pods // A_NODE)
    run.say(f"one endpoint more in {nodes} nodes by iptables-nft-restore")
    floor = tuple(alike.restores(nodes, pods, run.scale.rounds)) if iptables.variant() == "nft" else ()
    note = "scale's floor is the new rules alone, by iptables-nft-restore in each node"
    yield Row(
        f"{pods} pods: scale by one, until it answers",
        tuple(scaled),
        floor,
        goals=(Goal(0.25, ""),),
        apart=True,
        note=note,
    )
    for words in (("status",), ("get", "pods"), ("diagnose",)):
        yield _late(run, one, f"{pods} pods", words, 1.0)


def _scale(one: Lab, replicas: int) -> float:
    """Seconds from the start of `scale` until the pod that was not there has answered."""
    known = {pod["metadata"]["name"] for pod in one.client.list("pods", "default")}
    began = time.perf_counter()
    one.timed("scale", "deployment/web", "--replicas", str(replicas))
    done = time.perf_counter()
    new = [pod for pod in one.client.list("pods", "default") if pod["metadata"]["name"] not in known]
    listed = time.perf_counter() - done  # our own question is no part of it
    if len(new) != 1:
        raise FailedError(f"scale to {replicas} made {len(new)} pods")
    pods = {new[0]["status"]["podIP"]: new[0]["metadata"]["name"]}
    return all_answer(one.netns("default", next(iter(known))), pods) - began - listed


def _everyone(run: Run, one: Lab, pods: int) -> Row:
    run.say(f"up of {pods} pods on {-(-pods // A_NODE)} nodes, for probe --all")
    made(one, pods)
    run.say(f"probe --all of {pods} pods")
    return _late(run, one, f"{pods} pods", ("probe", "--all"), 10.0)


def _late(run: Run, one: Lab, lab: str, words: tuple[str, ...], goal: float) -> Row:
    """A verb some times over; once where it takes long, and for LATE seconds where it takes longer."""
    times: list[float] = []
    note = ""
    while len(times) < run.scale.rounds and sum(times) < LONG:
        run.say(f"{' '.join(words)}, round {len(times) + 1}")
        try:
            times.append(one.timed(*words, timeout=LATE))
        except FailedError as error:
            if f"more than {LATE:.0f} s" not in str(error):
                raise
            times.append(LATE)
            note = str(error)
    return Row(f"{lab}: {' '.join(words)}", tuple(times), goals=(Goal(goal, ""),), note=note)
