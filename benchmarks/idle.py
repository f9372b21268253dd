"""What a lab costs while nothing happens: a thousand pods and a thousand Services, one pod each."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import machine
from benchmarks.labs import lab, lab_object, pod, service
from benchmarks.pods import A_NODE
from benchmarks.rows import Goal, Row
from benchmarks.run import Run

SECONDS = 6.0
QUIET = 0.5
"""Of a core: below it, what the lab's beginning has brought is done, but for what comes again and again."""


def rows(run: Run) -> Iterator[Row]:
    pods = run.scale.pods
    names = [f"web-{number}" for number in range(pods)]
    nodes = lab_object(nodes=-(-pods // A_NODE), podCIDR="10.128.0.0/10")
    objects = [nodes, *(pod(name) for name in names), *(service(name) for name in names)]
    before = machine.used_memory()
    with machine.lifted(), lab() as one:
        run.say(f"up of {pods} pods and Services")
        took = one.up(objects)
        daemon, kubelet = one.pids()
        run.say("waiting until nothing happens any more")
        until_quiet(daemon)
        shares = []
        for number in range(run.scale.rounds):
            run.say(f"idle for {SECONDS:.0f} s, round {number + 1}")
            shares.append(share(daemon, kubelet))
        memory = machine.resident(daemon), machine.resident(kubelet), machine.used_memory() - before
    machine.emptied()
    what = f"{pods} pods and Services"
    yield Row(f"{what}: up", (took,))
    yield Row(f"{what}: idle, daemon and kubelet", tuple(shares), unit="% of a core", goals=(Goal(1.0, ""),))
    yield Row(f"{what}: the daemon's memory", memory[:1], unit="MB", goals=(Goal(150.0, ""),))
    yield Row(f"{what}: the kubelet's memory", memory[1:2], unit="MB")
    yield Row(f"{what}: all memory, with the kernel's", memory[2:], unit="MB")


def share(*pids: int, during: float = SECONDS) -> float:
    """Hundredths of a core that these processes use."""
    began, used = time.perf_counter(), machine.cpu(*pids)
    time.sleep(during)
    return (machine.cpu(*pids) - used) / (time.perf_counter() - began) * 100


def until_quiet(pid: int, timeout: float = 30.0) -> None:
    """Until a process uses little, or the time is over."""
    began = time.perf_counter()
    while time.perf_counter() - began < timeout and share(pid, during=1.0) > QUIET * 100:
        pass
