"""The table at the end: ours, floor, peer, ratio, goal, met or missed, and the change against what was recorded."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.rows import Line, Row, lines, ratio


class Outcome(msgspec.Struct, frozen=True):
    """What came of one benchmark."""

    name: str
    rows: tuple[Row, ...] = ()
    cannot: str = ""
    """Why it cannot run on this machine."""
    failed: str = ""
    """What went wrong with it."""
    seconds: float = 0.0


def show(outcomes: Sequence[Outcome], recorded: Mapping[str, float], console: Console) -> None:
    """The table, what floors and peers are, what could not run, and a sum."""
    if any(outcome.rows for outcome in outcomes):
        console.print(table(outcomes, recorded))
    for note in notes(outcomes):
        console.print(Text(note), highlight=False)
    console.print(Text(summary(outcomes, recorded)), highlight=False)


def table(outcomes: Iterable[Outcome], recorded: Mapping[str, float]) -> RenderableType:
    shown = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, width=80)
    shown.add_column("", ratio=1, overflow="fold")
    for heading in ("ours", "floor", "peer", "ratio", "goal", "", "change"):
        shown.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for outcome in outcomes:
        if not outcome.rows:
            continue
        shown.add_section()
        shown.add_row(Text(outcome.name, style="bold"))
        for row in outcome.rows:
            for line in lines(outcome.name, row, recorded):
                shown.add_row(*_cells(line))
    return shown


def notes(outcomes: Iterable[Outcome]) -> list[str]:
    """What a reader needs besides the figures; each thing once."""
    said: dict[str, None] = {}
    for outcome in outcomes:
        said |= {f"{outcome.name}: {row.note}": None for row in outcome.rows if row.note}
        if outcome.cannot:
            said[f"{outcome.name} cannot run: {outcome.cannot}"] = None
        if outcome.failed:
            said[f"{outcome.name} failed: {outcome.failed}"] = None
    return list(said)


def summary(outcomes: Sequence[Outcome], recorded: Mapping[str, float]) -> str:
    """One sentence: goals met and missed, what is worse than recorded, what could not run or failed."""
    found = [line for outcome in outcomes for row in outcome.rows for line in lines(outcome.name, row, recorded)]
    parts = [
        (sum(line.met is True for line in found), "met"),
        (sum(line.met is False for line in found), "missed"),
        (sum(line.worse for line in found), "more than 10 % worse than recorded"),
        (sum(bool(outcome.cannot) for outcome in outcomes), "cannot run"),
        (sum(bool(outcome.failed) for outcome in outcomes), "failed"),
    ]
    return ", ".join(f"{count} {what}" for count, what in parts if count or what in ("met", "missed"))


def _cells(line: Line) -> list[Text]:
    row = line.row
    if line.first:
        figures = [
            figure(statistics.median(part), row.unit) if part else "" for part in (row.ours, row.floor, row.peer)
        ]
        what = row.what
    else:
        figures, what = ["", "", ""], f"  beside its {line.beside}" if line.beside else "  by itself"
    verdict = {None: Text(""), True: Text("met", style="green"), False: Text("missed", style="red")}[line.met]
    change = Text("" if line.change is None else f"{line.change * 100:+.0f} %", style="red" if line.worse else "")
    return [Text(what), *map(Text, figures), Text(_ratio(line)), Text(_goal(line)), verdict, change]


def _ratio(line: Line) -> str:
    """Shown also where the goal is a figure of its own."""
    others = line.row.floor or line.row.peer
    if line.beside:
        return f"x{short(line.value)}"
    return f"x{short(ratio(line.row.ours, others))}" if others and line.first else ""


def _goal(line: Line) -> str:
    if line.goal is None:
        return ""
    sign = "≥" if line.row.more else "≤"
    return sign + (f"x{line.goal:.3g}" if line.beside else figure(line.goal, line.row.unit))


def figure(value: float, unit: str) -> str:
    """A value with its unit, in at most 8 characters."""
    if unit == "s":
        for least, factor, name in ((1, 1, "s"), (1e-3, 1e3, "ms"), (0, 1e6, "µs")):
            if value >= least * 0.9995:
                return f"{short(value * factor)} {name}"
    if unit == "Mbit/s":
        return f"{short(value / 1000)} Gb/s"
    return f"{short(value)} {'%' if unit.startswith('%') else unit}"


def short(value: float) -> str:
    """Three digits of it."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
