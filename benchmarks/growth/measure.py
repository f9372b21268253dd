"""Labs of growing size, as far as the time of the run goes, beside the same by a C program, Mininet and plain tools."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks import machine
from benchmarks.floors import pods as c_pods
from benchmarks.floors import tools
from benchmarks.growth.measured import Point, Series
from benchmarks.labs import lab, lab_object
from benchmarks.peers import mininet
from benchmarks.pods import made
from benchmarks.run import CannotRunError, FailedError, Run
from benchmarks.services import objects, restores

PODS = (10, 30, 100, 300, 1000, 2000, 3000, 5000, 10_000)
NODES = (2, 5, 10, 20, 50, 100, 200)
SERVICES = (10, 30, 100, 300, 1000, 3000, 10_000)
SHORT = 3.0
"""Seconds: what takes less is measured three times."""


def pods(run: Run, budget: float) -> list[Series]:
    """`budget`: seconds for all of them."""
    found = [series(run, Series("pods", "k8snetlab"), PODS, budget * 0.55, _our_pods)]
    with c_pods.program() as program:

        def by_c(size: int) -> Point:
            one = c_pods.make(program, size)
            return Point(size, one.up, one.down, one.memory)

        found.append(series(run, Series("pods", "C"), PODS, budget * 0.15, by_c))
    if lacking := mininet.missing():
        return [*found, Series("pods", "Mininet", ended=lacking)]
    return [*found, series(run, Series("pods", "Mininet"), PODS, budget * 0.3, _hosts)]


def nodes(run: Run, budget: float) -> list[Series]:
    return [
        series(run, Series("nodes", "k8snetlab"), NODES, budget * 0.65, _our_nodes),
        series(run, Series("nodes", "ip, bridge"), NODES, budget * 0.35, _nodes_by_tools),
    ]


def services(run: Run, budget: float) -> list[Series]:
    return [
        series(run, Series("Services", "k8snetlab"), SERVICES, budget * 0.65, _our_services),
        series(run, Series("Services", "restores"), SERVICES, budget * 0.35, _restores),
    ]


def series(run: Run, curve: Series, sizes: Sequence[int], budget: float, measure: Callable[[int], Point]) -> Series:
    """A curve's sizes one after another, until the next one would take longer than what is left of the budget."""
    what, who = curve.what, curve.who
    points: list[Point] = []
    began = time.monotonic()
    took = 0.0
    for size in sizes:
        left = began + budget - time.monotonic()
        if points and took * size / points[-1].size > left:
            return Series(what, who, tuple(points), f"{size:,} {what} would have taken longer than this run")
        run.say(f"{size} {what}, {who}")
        at = time.monotonic()
        try:
            points.append(measure(size))
            took = time.monotonic() - at
            if took < SHORT:
                points[-1] = _middle([points[-1], measure(size), measure(size)])
        except (FailedError, CannotRunError, TimeoutError) as error:
            return Series(what, who, tuple(points), f"{size:,} {what}: {error}")
    return Series(what, who, tuple(points))


def _middle(points: Sequence[Point]) -> Point:
    """Of several runs, the medians."""
    size, *rest = (statistics.median(column) for column in zip(*map(_values, points), strict=True))
    return Point(int(size), *rest)


def _values(point: Point) -> tuple[float, ...]:
    return tuple(getattr(point, name) for name in point.__struct_fields__)


def _ours(size: int, build: Callable[..., float]) -> Point:
    before, work = machine.used_memory(), machine.worked()
    with machine.lifted(), lab() as one:
        up = build(one, size)
        programs, kernel = (now - then for now, then in zip(machine.worked(), work, strict=True))
        daemon, _ = one.pids()
        point = Point(size, up, 0.0, machine.used_memory() - before, machine.resident(daemon), programs, kernel)
        down = one.down()
    machine.emptied()
    return Point(size, point.up, down, point.memory, point.daemon, point.programs, point.kernel)


def _our_pods(size: int) -> Point:
    return _ours(size, made)


def _our_nodes(size: int) -> Point:
    return _ours(size, lambda one, nodes: one.up([lab_object(nodes=nodes)]))


def _our_services(size: int) -> Point:
    return _ours(size, lambda one, count: one.up(objects(count)))


def _hosts(size: int) -> Point:
    one = mininet.make(size)
    return Point(size, one.up, one.down, one.memory)


def _nodes_by_tools(size: int) -> Point:
    with lab() as one:  # for its file alone: it is never built
        return Point(size, tools.make(one.written([lab_object(nodes=size)])), 0.0, 0.0)


def _restores(size: int) -> Point:
    return Point(size, restores(size), 0.0, 0.0)
