"""What it costs to ask a thousand pods every ten seconds whether they are ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import machine
from benchmarks.idle import share, until_quiet
from benchmarks.labs import lab, lab_object, pod
from benchmarks.pods import A_NODE
from benchmarks.rows import Goal, Row
from benchmarks.run import Run

PERIOD = 10
"""Seconds between two probes of a pod; a round is as long, so that each pod is asked once in it."""


def rows(run: Run) -> Iterator[Row]:
    pods = run.scale.pods
    nodes = lab_object(nodes=-(-pods // A_NODE), podCIDR="10.128.0.0/10")
    objects = [nodes, *(_asked(f"web-{number}") for number in range(pods))]
    with machine.lifted(), lab() as one:
        run.say(f"up of {pods} pods with readiness probes")
        one.up(objects)
        daemon, kubelet = one.pids()
        until_quiet(daemon)
        shares = []
        for number in range(run.scale.rounds):
            run.say(f"probes for {PERIOD} s, round {number + 1}")
            shares.append(share(kubelet, during=PERIOD))
    machine.emptied()
    what = f"{pods} pods asked every {PERIOD} s by HTTP: the kubelet, which also answers"
    yield Row(what, tuple(shares), unit="% of a core", goals=(Goal(5.0, ""),))


def _asked(name: str) -> dict[str, Any]:
    made = pod(name)
    made["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": 8080}, "periodSeconds": PERIOD}
    return made
