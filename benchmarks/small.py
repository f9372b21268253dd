"""Small labs: `up` beside the same objects by plain tools, until every probe is answered, `down`, a scaled pod.

The floor of `up`: the same namespaces, links, addresses, routes, entries, sysctls and rules by `ip -batch`,
`bridge -batch` and `iptables-restore`, one call a namespace, and nothing else.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

from benchmarks import machine
from benchmarks.floors import tools
from benchmarks.labs import Lab, lab
from benchmarks.rows import Goal, Row
from benchmarks.run import FailedError, Run
from k8snetlab.kernel import netns

NOTE = "the floor of up is ip -batch, bridge -batch and iptables-restore; that of down is up"


def rows(run: Run) -> Iterator[Row]:
    for scenario in ("two-nodes", "business-manager"):
        yield from _scenario(run, scenario)


def _scenario(run: Run, scenario: str) -> Iterator[Row]:
    ups, probed, scaled, downs, floor = [], [], [], [], []
    for number in range(run.scale.rounds + 2):
        run.say(f"{scenario}, round {number + 1}")
        floor.append(tools.make(scenario))
        with lab() as one:
            ups.append(one.timed("up", scenario))
            probed.append(ups[-1] + one.timed("probe", "--all"))
            if scenario == "business-manager":
                scaled.append(_scale(one))
            downs.append(one.down())
        machine.emptied()
    yield Row(f"up {scenario}", tuple(ups), tuple(floor), goals=(Goal(2.5),), note=NOTE)
    yield Row(f"{scenario}: every probe answered", tuple(probed), tuple(floor))
    yield Row(f"down {scenario}", tuple(downs), tuple(ups), goals=(Goal(0.5),))
    if scaled:
        yield Row("scale until a new pod answers through its Service", tuple(scaled), goals=(Goal(0.3, ""),))


def _scale(one: Lab) -> float:
    """From the start of `scale` until a pod that was not there answers through the ClusterIP."""
    known = {_answering(one) for _ in range(40)}
    began = time.perf_counter()
    one.timed("scale", "deployment/business-manager", "--replicas", "4")
    while time.perf_counter() - began < 30:
        if _answering(one) not in known:
            return time.perf_counter() - began
    raise FailedError("no new pod of business-manager answers")


def _answering(one: Lab) -> str:
    with netns.inside(one.netns("default", "client")):
        client = socket.socket()
    with client:
        client.settimeout(5)
        client.connect(("10.254.80.22", 80))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return str(json.loads(client.recv(4096).split(b"\r\n\r\n")[1])["pod"])
