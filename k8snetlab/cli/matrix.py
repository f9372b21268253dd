"""The connectivity matrix: a row for each source, a column for each target, readable without colour."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from k8snetlab.cli import screen
from k8snetlab.dataplane.families import end
from k8snetlab.messages.probe import ProbeResult
from k8snetlab.wording import counted

WIDE = 120
"""Columns of a matrix that nobody looks at on a terminal."""
NAMED, LISTED = 10, 3
"""Failures that are named each, and names in a line that sums them up."""
Target = tuple[str, str, str, int, str]
"""(kind, name, address, port, protocol)"""


def draw(results: Sequence[ProbeResult], width: int | None = None) -> str:
    """Numbered columns with a legend, in blocks as wide as the terminal; then every failure in a line of its own.

    A cell is ✓ (with the number of pods that answered where it is more than one) or ✗; where no answer is right, as
    from outside to a pod, it is - or, if there was one after all, !.
    """
    if not results:
        return "nothing to probe: the lab has no pods"
    cells: dict[tuple[str, Target], list[ProbeResult]] = {}
    for result in results:
        cells.setdefault((_source(result), _target(result)), []).append(result)
    sources, targets = _unique(map(_source, results)), _unique(map(_target, results))
    wide = max(map(len, sources))
    cell = max(4, len(str(len(targets))) + 2)
    width = width or screen.columns() or WIDE
    above = wide > width // 2  # such names stand above their row
    margin = 2 if above else wide
    room = max(1, (width - margin) // cell)
    lines: list[str] = []
    for start in range(0, len(targets), room):
        block = list(enumerate(targets, 1))[start : start + room]
        lines.append(" " * margin + "".join(str(number).rjust(cell) for number, _ in block))
        for source in sources:
            row = (_cell(cells.get((source, target), []), cell) for _, target in block)
            lines += (
                [*screen.fold(source, width), " " * margin + "".join(row)]
                if above
                else [source.ljust(wide) + "".join(row)]
            )
        lines.append("")
    for number, target in enumerate(targets, 1):
        lines += screen.fold(f"{number:>4}  {_describe(target)}", screen.columns(), 6)
    for line in ("", *_totals(results)):
        lines += screen.fold(line, screen.columns(), 2)
    return "\n".join(lines)


def summed(results: Sequence[ProbeResult], pairs: int) -> Iterable[str]:
    """Without the cells, of which a large lab has too many to look at: what failed, and how much was tried."""
    for line in _totals(results):
        yield from screen.fold(line, screen.columns(), 2)
    tried = f"of {pairs:,} pairs of who may ask and what may be asked, {len(results):,} were tried, others each time"
    yield from screen.fold(f"note: {tried}", screen.columns(), 2)


def _cell(results: Sequence[ProbeResult], width: int) -> str:
    if not results:
        return "·".rjust(width)
    if not all(result.ok for result in results):
        return _colour(("!" if any(result.reached for result in results) else "✗").rjust(width), "red")
    if not all(result.reached for result in results):
        return "-".rjust(width)
    pods = len({(result.answeredNamespace, result.answeredBy) for result in results})
    return _colour(f"✓{pods if pods > 1 else ''}".rjust(width), "green")


def _totals(results: Sequence[ProbeResult]) -> Iterable[str]:
    """What failed, summed up by cause where it is much, and where to go on from here."""
    failed = [result for result in results if not result.ok]
    closed = [result.why for result in results if result.verdict == "closed on purpose"]
    for result in failed[:NAMED]:
        yield (
            f"✗ {_source(result)} → {result.target} {end(result.address, result.port)} {result.protocol.lower()}: "
            f"{result.error or result.why or 'answered, and should not be reachable from there'}"
        )
    if len(failed) > NAMED:
        yield f"✗ … and {len(failed) - NAMED} more"
    if failed:
        yield ""
        yield "failed, by cause:"
        yield from _causes(failed)
        yield ""
    if closed:
        yield "closed on purpose:"
        yield from (f"{count:>5}  {why}" for why, count in Counter(closed).most_common())
        yield ""
    by_silence = f", {len(closed)} of them by not being answered" if closed else ""
    yield f"{len(results) - len(failed)} of {counted(len(results), 'probe')} went as they should{by_silence}"
    if failed:
        yield "`k8snetlab diagnose` names what is broken and how to mend it"


def _causes(failed: Sequence[ProbeResult]) -> Iterable[str]:
    """A line for each cause, the one with the most failures first: how many, from where, to what."""
    causes: dict[str, list[ProbeResult]] = {}
    for result in failed:
        causes.setdefault(cause(result), []).append(result)
    for why, alike in sorted(causes.items(), key=lambda pair: -len(pair[1])):
        sources = _unique(result.sourceNode or result.source for result in alike)
        targets = _unique(result.target for result in alike)
        yield f"{len(alike):>5}  {why}: from {_listed(sources)} to {_listed(targets)}"


def cause(result: ProbeResult) -> str:
    """Why a probe failed: what the daemon found out, else what the sender heard."""
    return result.why or result.error or "answered, and should not be reachable from there"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _source(result: ProbeResult) -> str:
    node = result.sourceNode
    return f"{result.source} ({node})" if node not in ("", result.source) else result.source


def _target(result: ProbeResult) -> Target:
    return (result.kind, result.target, result.address, result.port, result.protocol)


def _describe(target: Target) -> str:
    kind, name, address, port, protocol = target
    return f"{kind} {name} {end(address, port)}/{protocol.lower()}"


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _colour(text: str, colour: str) -> str:
    return text if os.environ.get("NO_COLOR") else typer.style(text, fg=colour)
