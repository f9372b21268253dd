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
from benchmarks.pods import made as pods_made
from benchmarks.run import CannotRunError, Run
from benchmarks.services import objects, restores

PODS = (10, 30, 100, 300, 1000, 2000, 3000, 5000, 10_000)
NODES = (2, 5, 10, 20, 50, 100, 200)
SERVICES = (10, 30, 100, 300, 1000, 3000, 10_000)
MORE = 1.2
SHORT = 3.0
"""Seconds: what takes less is measured three times."""


def pods(run: Run, budget: float) -> list[Series]:
    """`budget`: seconds for all of them."""
    ours = series(run, Series("pods", "k8snetlab"), PODS, budget * 0.55, _our_pods)
    return [ours, _by_c(run, budget * 0.15), _by_mininet(run, budget * 0.3)]


def _by_c(run: Run, budget: float) -> Series:
    curve = Series("pods", "C")
    try:
        with c_pods.program() as program:
            return series(run, curve, PODS, budget, lambda size: _point(size, c_pods.make(program, size)))
    except CannotRunError as error:
        return Series(curve.what, curve.who, ended=str(error))


def _by_mininet(run: Run, budget: float) -> Series:
    curve = Series("pods", "Mininet")
    if lacking := mininet.missing():
        return Series(curve.what, curve.who, ended=lacking)
    return series(run, curve, PODS, budget, lambda size: _point(size, mininet.make(size)))


def _point(size: int, made: c_pods.Made) -> Point:
    return Point(size, made.up, made.down, made.memory)


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
    took: list[tuple[int, float]] = []
    for size in sizes:
        if took and expected(took, size) > began + budget - time.monotonic():
            return Series(what, who, tuple(points), f"{size:,} {what} would have taken longer than this run")
        run.say(f"{size} {what}, {who}")
        at = time.monotonic()
        try:
            points.append(measure(size))
            took.append((size, time.monotonic() - at))
            if took[-1][1] < SHORT:
                points[-1] = _middle([points[-1], measure(size), measure(size)])
        except Exception as error:  # a fault of one curve's is none of the others'
            return Series(what, who, tuple(points), f"{size:,} {what}: {error or type(error).__name__}")
    return Series(what, who, tuple(points))


def expected(took: Sequence[tuple[int, float]], size: int) -> float:
    """Seconds that a size will take: on the line through the last two, and a bit more."""
    if len(took) < 2:
        return took[0][1]
    (few, short), (many, long) = took[-2:]
    return (long + max(long - short, 0.0) / (many - few) * (size - many)) * MORE


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
    return _ours(size, pods_made)


def _our_nodes(size: int) -> Point:
    return _ours(size, lambda one, nodes: one.up([lab_object(nodes=nodes)]))


def _our_services(size: int) -> Point:
    return _ours(size, lambda one, count: one.up(objects(count)))


def _nodes_by_tools(size: int) -> Point:
    with lab() as one:  # for its file alone: it is never built
        return Point(size, tools.make(one.written([lab_object(nodes=size)])), 0.0, 0.0)


def _restores(size: int) -> Point:
    return Point(size, restores(size), 0.0, 0.0)
