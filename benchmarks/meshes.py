"""A full mesh of BIRDs against one route reflector, from few nodes to many: sessions, routes, seconds, and work.

`python -m benchmarks.meshes` measures labs, and the same BIRDs by hand in the same run. It writes docs/speed-routes.svg
and docs/speed-routes.json, and prints the table for docs/speed.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks import machine, recorded
from benchmarks.floors import birds
from benchmarks.growth.plot import Curve, Panel, picture
from benchmarks.report import figure
from benchmarks.routes import LONG, ours_settled
from benchmarks.run import FailedError
from benchmarks.settled import Settled

SIZES = (10, 30, 100)
SHAPES: tuple[birds.Shape, ...] = ("mesh", "reflector")
DOCS = Path(__file__).parents[1] / "docs"
PICTURE, DATA = "speed-routes.svg", "speed-routes.json"


class Point(msgspec.Struct, frozen=True):
    """One size of one shape; `by_hand` is its floor."""

    nodes: int
    shape: birds.Shape
    ours: Settled | None
    by_hand: Settled | None
    load: float

    @property
    def sessions(self) -> int:
        return self.nodes * (self.nodes - 1) // 2 if self.shape == "mesh" else self.nodes - 1

    @property
    def routes(self) -> int:
        """In all kernels: from each node to each other."""
        return self.nodes * (self.nodes - 1)


def measured(sizes: Sequence[int]) -> Iterator[Point]:
    for nodes in sizes:
        for shape in SHAPES:
            ours, hand = _tried(lambda: ours_settled(nodes, shape)), _tried(lambda: birds.settle(nodes, shape, LONG))  # noqa: B023
            yield Point(nodes, shape, ours, hand, os.getloadavg()[0])


def _tried(measure: Callable[[], Settled]) -> Settled | None:
    try:
        return measure()
    except FailedError as error:
        print(f"failed: {error}", file=sys.stderr)
        return None


def table(points: Sequence[Point]) -> str:
    heads = (
        "nodes",
        "",
        "sessions",
        "routes",
        "last route",
        "by hand",
        "BIRDs' work",
        "by hand",
        "daemon's",
        "a BIRD",
        "load",
    )
    lines = [f"| {' | '.join(heads)} |", "|--:|:--|" + "--:|" * (len(heads) - 2)]
    for one in points:
        ours, hand = one.ours, one.by_hand
        cells = (
            f"{one.nodes}",
            one.shape,
            f"{one.sessions:,}",
            f"{one.routes:,}",
            figure(ours.seconds, "s") if ours else "-",
            figure(hand.seconds, "s") if hand else "-",
            figure(ours.birds, "s") if ours else "-",
            figure(hand.birds, "s") if hand else "-",
            figure(ours.ours, "s") if ours else "-",
            f"{ours.memory:.1f} MB" if ours else "-",
            f"{one.load:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def drawn(points: Sequence[Point]) -> str:
    def curve(name: str, shape: birds.Shape, value: Callable[[Point], float]) -> Curve:
        found = [(float(one.nodes), value(one)) for one in points if one.shape == shape]
        return Curve(name, [(x, y) for x, y in found if y > 0])

    def ours(of: Callable[[Settled], float]) -> Callable[[Point], float]:
        return lambda one: of(one.ours) if one.ours else 0.0

    def hand(of: Callable[[Settled], float]) -> Callable[[Point], float]:
        return lambda one: of(one.by_hand) if one.by_hand else 0.0

    def both(of: Callable[[Settled], float]) -> list[Curve]:
        return [
            *(curve(shape, shape, ours(of)) for shape in SHAPES),
            *(curve(f"{shape}, hand", shape, hand(of)) for shape in SHAPES),
        ]

    order = (*SHAPES, *(f"{shape}, hand" for shape in SHAPES))
    sessions = [curve(shape, shape, lambda one: float(one.sessions)) for shape in SHAPES]
    routes = [curve("either", "mesh", lambda one: float(one.routes))]
    return picture(
        [
            Panel("Sessions", "nodes", "sessions", sessions, order),
            Panel("Routes in all kernels", "nodes", "routes", routes),
            Panel("Until the last route", "nodes", "seconds", both(lambda one: one.seconds), order),
            Panel("Work of BIRDs until then", "nodes", "seconds of a core", both(lambda one: one.birds), order),
        ]
    )


def main(words: Sequence[str] | None = None) -> int:
    """0: written; 1: a point could not be measured."""
    parser = argparse.ArgumentParser("python -m benchmarks.meshes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="NODES", help="3 to 250 each")
    parser.add_argument("--directory", type=Path, default=DOCS, help="where to write (docs)")
    asked = parser.parse_args(words)
    if any(not 3 <= size <= 250 for size in asked.sizes):
        parser.error("NODES: 3 to 250 each")
    if os.geteuid() != 0:
        sys.exit("error: this makes network namespaces, which only root may")
    machine.compile_all()
    with machine.namespaces_directory():
        points = list(measured(asked.sizes))
    recorded.write_as_owner(asked.directory / PICTURE, drawn(points).encode())
    recorded.write_as_owner(asked.directory / DATA, msgspec.json.format(msgspec.json.encode(points), indent=1) + b"\n")
    print(recorded.machine(), table(points), sep="\n\n")
    return int(any(one.ours is None or one.by_hand is None for one in points))


if __name__ == "__main__":
    sys.exit(main())
