"""The control plane's own pace: a Deployment of 100 pods by `apply`, and a pod's readiness in every node's rules.

The peer of the first is `up` of the same. The second is from what the kubelet writes until the last node's rules say
so, as `k8snetlab follow` tells it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from benchmarks.labs import COMMAND, Lab, deployment, lab, lab_object
from benchmarks.rows import Goal, Row
from benchmarks.run import FailedError, Run

PODS, NODES, TURNS = 100, 4, 10


def rows(run: Run) -> Iterator[Row]:
    applied, upped = [], []
    bare = lab_object(nodes=NODES)
    for number in range(run.scale.rounds):
        run.say(f"a Deployment of {PODS}, round {number + 1}")
        with lab() as one:
            one.up([bare])
            upped.append(one.up([bare, deployment("web", PODS)]))
        with lab() as one:
            one.up([bare])
            applied.append(one.timed("apply", "-f", one.written([deployment("web", PODS)])))
    note = f"its peer is `up` of the same {PODS} pods, both on a lab of {NODES} nodes that stands"
    yield Row(
        f"apply a Deployment of {PODS}, until all are ready",
        tuple(applied),
        peer=tuple(upped),
        note=note,
        goals=(Goal(2.0, "peer"),),
    )
    with lab() as one:
        one.up([bare, *_probed(one)])
        yield Row(
            "a pod's readiness, until every node's rules have it", tuple(_turns(run, one)), goals=(Goal(0.1, ""),)
        )


def _probed(one: Lab) -> Iterator[dict[str, Any]]:
    """A pod that is ready while a file is there, behind a Service."""
    (one.directory / "ready").touch()
    probe = {"exec": {"command": ["test", "-f", str(one.directory / "ready")]}, "periodSeconds": 1}
    probe |= {"failureThreshold": 1}
    container = {"name": "c", "command": ["sleep", "infinity"], "readinessProbe": probe}
    about = {"name": "web", "labels": {"app": "web"}}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    yield {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}
    ports = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": ports}


def _turns(run: Run, one: Lab) -> Iterator[float]:
    """Seconds of each change, from what the kubelet writes to the last node's rules."""
    file = one.directory / "ready"
    words = [*COMMAND, "follow", "pod/web", "-o", "json", "--timeout", "2m"]
    with subprocess.Popen(words, env=one.environment, stdout=subprocess.PIPE, text=True) as follow:
        try:
            assert follow.stdout
            steps = map(json.loads, follow.stdout)
            _rules(steps)
            for number in range(TURNS):
                run.say(f"readiness, {number + 1} of {TURNS}")
                if file.exists():
                    file.unlink()
                else:
                    file.touch()
                written = next(s["at"] for s in steps if s["who"] == "kubelet" and s["kind"] == "write")
                yield _rules(steps) - written
        finally:
            follow.kill()


def _rules(steps: Iterator[dict[str, Any]]) -> float:
    """When the last of all nodes had its rules."""
    seen: set[str] = set()
    for step in steps:
        if step["kind"] == "rules":
            seen.add(step["node"])
            if len(seen) == NODES:
                return float(step["at"])
    raise FailedError("follow ended before all nodes had their rules")
