"""`make bench`: every benchmark, one after another; `python -m benchmarks NAME…` runs some."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from benchmarks import machine, recorded, report
from benchmarks.report import Outcome
from benchmarks.run import INTERRUPTED, LARGE, NAMES, SMALL, Scale, interruptible, run


def main(words: Sequence[str] | None = None) -> int:
    """0: all ran, whatever they found; 1: one failed; 2: wrong input; 130: interrupted."""
    asked = _asked(words)
    console = Console(stderr=True)
    if not Path("scenarios").is_dir():
        sys.exit("error: the benchmarks run in the checkout\nhint: cd to the directory that has the Makefile")
    if os.geteuid() != 0:
        sys.exit("error: the benchmarks make network namespaces, which only root may\nhint: sudo, or make bench")
    try:
        before = recorded.read()
        if asked.json:
            asked.json.open("ab").close()  # it is known now, not after ten minutes, that it can be written
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    machine.compile_all()
    where = recorded.machine()
    console.print(where, highlight=False)
    outcomes: list[Outcome] = []
    with interruptible(console), machine.namespaces_directory():
        outcomes += run(asked.names or NAMES, _scale(asked), console)
    interrupted = any(outcome.failed == INTERRUPTED for outcome in outcomes)
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to be interrupted but the report
    report.show(outcomes, {} if asked.small else before.rows, Console(width=80))
    if asked.json:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(outcomes), indent=2) + b"\n")
    if asked.record and not interrupted:
        recorded.write(outcomes, where)
    return 130 if interrupted else int(any(outcome.failed for outcome in outcomes))


def _asked(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"some of: {', '.join(NAMES)} (all where none is named)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measured value there, too")
    parser.add_argument("--record", action="store_true", help="these figures become docs/speed.json, for later runs")
    parser.add_argument("--large", action="store_true", help="5,000 and 10,000 pods too (or BENCH_LARGE=1)")
    parser.add_argument("--small", action="store_true", help="try the benchmarks themselves: the figures say nothing")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured (3)")
    asked = parser.parse_args(words)
    for name in asked.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark {name!r}: there are {', '.join(NAMES)}")
    if asked.rounds is not None and asked.rounds < 1:
        parser.error("--rounds: at least 1")
    if asked.small and asked.record:
        parser.error("what --small finds says nothing: it is not recorded")
    return asked


def _scale(asked: argparse.Namespace) -> Scale:
    large = asked.large or os.environ.get("BENCH_LARGE", "") not in ("", "0")
    scale = SMALL if asked.small else LARGE if large else Scale()
    return msgspec.structs.replace(scale, rounds=asked.rounds) if asked.rounds else scale


if __name__ == "__main__":
    sys.exit(main())
