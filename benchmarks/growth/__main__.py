"""`make bench-growth`: measures, and writes docs/speed.md, its pictures and docs/speed-growth.json anew."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from benchmarks import machine, recorded
from benchmarks.growth import measure, page, store
from benchmarks.growth.measured import Growth, Series, StoreCost
from benchmarks.run import CannotRunError, FailedError, Run, Scale, interruptible

DOCS = Path(__file__).parents[2] / "docs"
DATA = "speed-growth.json"
MINUTES = 15.0
SHARES: tuple[tuple[Callable[[Run, float], list[Series]], float], ...] = (
    (measure.pods, 0.55),
    (measure.nodes, 0.17),
    (measure.services, 0.18),
)
"""Of the time; the store takes what is left."""


def main(words: Sequence[str] | None = None) -> int:
    """0: written; 1: not all could be measured, what could is written; 2: wrong input; 130: interrupted, none is."""
    asked = _asked(words)
    console = Console(stderr=True)
    directory: Path = asked.directory
    if asked.draw:
        return _write(directory, msgspec.json.decode((directory / DATA).read_bytes(), type=Growth))
    if os.geteuid() != 0:
        sys.exit("error: the benchmarks make network namespaces, which only root may\nhint: sudo, or make bench-growth")
    where = recorded.machine()
    try:
        with interruptible(console), machine.namespaces_directory():
            found, cost, trouble = _measured(Run(Scale(), console), asked.minutes * 60)
    except KeyboardInterrupt:
        return 130
    growth = Growth(where, datetime.date.today().isoformat(), found, cost, trouble)
    return _write(directory, growth) or int(any(not series.points for series in growth.series))


def _measured(run: Run, budget: float) -> tuple[tuple[Series, ...], StoreCost | None, str]:
    with run.of("growth"):
        found = [series for part, share in SHARES for series in part(run, budget * share)]
        return tuple(found), *_store(run)


def _store(run: Run) -> tuple[StoreCost | None, str]:
    try:
        return store.cost(run), ""
    except (CannotRunError, FailedError, AssertionError, OSError) as error:
        return None, str(error).partition("\n")[0]


def _write(directory: Path, growth: Growth) -> int:
    text = page.with_measured((DOCS / "speed.md").read_text(), growth)
    recorded.write_as_owner(directory / "speed.md", text.encode())
    for name, svg in page.pictures(growth).items():
        recorded.write_as_owner(directory / name, svg.encode())
    data = msgspec.json.format(msgspec.json.encode(growth), indent=1) + b"\n"
    recorded.write_as_owner(directory / DATA, data)
    return 0


def _asked(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.growth", description=(__doc__ or "").splitlines()[0])
    large = os.environ.get("BENCH_LARGE", "") not in ("", "0")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES * 8 if large else MINUTES, help="as far as it goes in that time"
    )
    parser.add_argument("--draw", action="store_true", help="page and pictures anew from what was measured last")
    parser.add_argument("--directory", type=Path, default=DOCS, help="where to write (docs)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
