"""TCP from pod to pod across two nodes, over VXLAN and by a ClusterIP, beside the same path built by hand.

The floor is what a person would have after the reference, with all that flannel and kube-proxy write in a node
(`floors/path.py`). "bare" has one DNAT and one MASQUERADE rule in their place: what those rules cost. Lab and floors
are built anew in each round, and take turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.floors.path import BARE, CLUSTER_IP, PORT, RULES, path
from benchmarks.labs import lab, lab_object
from benchmarks.rows import Goal, Row
from benchmarks.run import Run
from benchmarks.tcp import Way, joined, rates, rates_of_a_core

PAIRS = 50
"""How often each is measured in a round."""
GOALS = (Goal(0.97),)


def rows(run: Run) -> Iterator[Row]:
    for what, target in (("over VXLAN", None), ("by a ClusterIP", CLUSTER_IP)):
        together, alone = [], []
        for number in range(run.scale.rounds):
            run.say(f"{what}, round {number + 1}")
            with the_lab() as ours, path(RULES) as hand, path(BARE) as bare:
                ways = [way._replace(address=target, port=80) if target else way for way in (ours, hand, bare)]
                together.append(rates(ways[:2], PAIRS))
                alone.append(rates_of_a_core(ways, PAIRS))
        here, by_hand = joined(together)
        note = "the floor is the same path by hand; bare is that with two rules only"
        yield Row(f"pod to pod {what}", here, by_hand, unit="Mbit/s", goals=GOALS, more=True, note=note)
        here, by_hand, few = joined(alone)
        note = "on one core: what a second of its time brings, sent and received in turns"
        yield Row(f"pod to pod {what}, on one core", here, by_hand, unit="Mbit/s", goals=GOALS, more=True, note=note)
        yield Row(f"pod to pod {what}, on one core, bare", here, few, unit="Mbit/s", more=True)


@contextmanager
def the_lab(*more: dict[str, Any]) -> Iterator[Way]:
    """From pod a on one node to b on another; b is behind CLUSTER_IP, too. `more` objects are in the lab as well."""
    with lab() as one:
        containers = [{"name": "c", "command": ["sleep", "infinity"], "ports": [{"containerPort": PORT}]}]
        spec = {"clusterIP": CLUSTER_IP, "selector": {"app": "b"}, "ports": [{"port": 80, "targetPort": PORT}]}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": spec}
        one.up(
            [lab_object(nodes=2), _pod("a", "node1", [{"name": "c"}]), _pod("b", "node2", containers), service, *more]
        )
        address = one.json("get", "pod", "b")["status"]["podIP"]
        yield Way(one.netns("default", "a"), one.netns("default", "b"), address, PORT, PORT)


def _pod(name: str, node: str, containers: list[dict[str, Any]]) -> dict[str, Any]:
    meta = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": node, "containers": containers}}
