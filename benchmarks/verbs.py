"""Verbs that only look, and `trace`, beside an empty round trip to the daemon; that one beside starting Python.

The empty round trip is `get node node1 -o name`; its own floor is `python -c 'import typer'`. What sends packets has no
goal: `diagnose` opens a connection for each pair of a place and a target, 242 in this lab.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator

from benchmarks.labs import lab, seconds
from benchmarks.rows import Goal, Row
from benchmarks.run import Run

EMPTY = ("get", "node", "node1", "-o", "name")
LOOKING: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("get", "pods", "-A"),
    ("get", "nodes", "-o", "wide"),
    ("get", "svc", "-o", "yaml"),
    ("get", "subnet"),
    ("logs", "client"),
    ("rules", "business-manager"),
    ("tables", "node1"),
    ("tables", "client"),
    ("graph",),
    ("store", "status"),
    ("store", "dump"),
    ("diagnose", "--predict-only"),
    ("audit",),
    ("trace", "client", "business-manager:80", "--predict-only"),
    ("trace", "node1", "172.30.9.2", "--proto=icmp", "--predict-only"),
)
OBSERVING: tuple[tuple[str, ...], ...] = (
    ("diagnose",),
    ("trace", "client", "business-manager:80"),
    ("trace", "node1", "172.30.9.2", "--proto=icmp"),
    ("probe", "client", "business-manager:80"),
)


def rows(run: Run) -> Iterator[Row]:
    with lab() as one:
        one.timed("up", "business-manager")
        python, helps, empty = [], [], []
        told: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for number in range(run.scale.rounds + 4):
            run.say(f"round {number + 1}")
            python.append(seconds([sys.executable, "-c", "import typer"]))
            helps.append(one.timed("--help"))
            empty.append(one.timed(*EMPTY))
            for words in (*LOOKING, *OBSERVING):
                told[words].append(one.timed(*words, codes=(0, 1)))  # 1: audit and diagnose have found something
    note = "an empty round trip is `get node node1 -o name`; its floor is python -c 'import typer'"
    yield Row("--help", tuple(helps), tuple(python))
    yield Row("an empty round trip", tuple(empty), tuple(python), goals=(Goal(1.5),), note=note)
    for words, times in told.items():
        goals = (Goal(1.4),) if words in LOOKING else ()
        yield Row(" ".join(words), tuple(times), tuple(empty), goals=goals)
