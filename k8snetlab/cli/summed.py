"""A trace in short: a line for each device that the packet passes, with what became of it there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from k8snetlab.cli.ink import Text
from k8snetlab.cli.screen import cells
from k8snetlab.cli.story import (
    FATES,
    comparison,
    named,
    title,
    verdict,
)
from k8snetlab.dataplane.families import end
from k8snetlab.messages.trace import Trace
from k8snetlab.trace.way import Hop
from k8snetlab.wording import counted

NAMES = 18
"""Columns that names of places get; a longer one takes what it needs."""
ROWS, COLUMNS = 23, 80
"""What a terminal of 24 lines shows above its prompt."""
TRANSLATING = {"DNAT": "DNAT to", "REDIRECT": "redirected to", "SNAT": "SNAT to"}
ENDING = ("DROP", "REJECT", "not followed")
"""How a rule's decision begins where it ended the packet, or nobody knows."""


def lines(answer: Trace) -> Iterator[tuple[Text, int]]:
    """Each line, and how far in it goes on where it is folded."""
    way, observed = answer.way, answer.observed
    yield Text(title(answer), style="bold"), 4
    hops = way.hops
    place = max((len(h.place) for h in hops if len(h.place) <= NAMES), default=0)
    device = max((len(h.interface) for h in hops), default=0)
    legs = [(leg, passed) for leg, passed in (("there", way.there), ("back", way.back)) if passed]
    rows = {leg: list(_leg(passed, (place, device), observed is not None)) for leg, passed in legs}
    ending = [*_ending(answer), *_others(answer)]
    lines = 1 + len(legs) + sum(map(len, rows.values())) + len(ending)
    shown, apart = dict(rows), lines + len(legs) + 1 <= ROWS
    for leg in reversed(rows):
        if lines > ROWS:
            shown[leg] = [row for row in rows[leg] if row.tells]
            lines -= len(rows[leg]) - len(shown[leg])
    for leg, passed in legs:
        if apart:
            yield Text(""), 0
        heading = Text(f"{leg:<6}", "bold")
        heading.append(str(passed[0].packet))
        if quiet := len(rows[leg]) - len(shown[leg]):
            heading.append(f"  ({quiet} of {len(rows[leg])} devices pass it on, unchanged: -v)", style="dim")
        yield heading, 0
        for row in shown[leg]:
            yield row.line, 6
    if apart:
        yield Text(""), 0
    for line in ending:
        yield line, 2


def _ending(answer: Trace) -> Iterator[Text]:
    """What came of it: in a line where all is as it should be."""
    way, observed = answer.way, answer.observed
    more = Text("-v tells every decision, and who put it there", style="dim")
    well = observed is not None and observed.agrees and observed.fate == way.fate == "answered"
    if observed and well and not (way.reason or observed.remark or answer.note):
        line = Text(f"prediction and observation agree: answered after {observed.milliseconds:.2f} ms", style="green")
        line.append("; -v tells all", style="dim")
        yield line
        return
    yield from (*verdict(answer, way, observed), *comparison(observed), more)


class Row(NamedTuple):
    """`tells`: something is done to the packet there, or said of it; else it only passes."""

    line: Text
    tells: bool


def _leg(hops: Sequence[Hop], widths: tuple[int, int], watched: bool) -> Iterator[Row]:
    """The last hop has no device: what is said of it belongs to the line before, where that is of the same place."""
    for number, hop in enumerate(hops):
        if not hop.interface:
            continue
        known = len(hop.place) <= widths[0]
        device = f"{hop.interface:<{widths[1]}}" if known else hop.interface
        line = Text(f"  {hop.place:<{widths[0]}}  {device}  {hop.direction:<3}  ")
        if watched:
            line.append(*_mark(hop))
        parts = list(_decided(hop))
        if _ends_well(last := hops[-1]) and number == len(hops) - 2 and last.place == hop.place:
            parts += _decided(last)
        if len(parts) > 1 and cells(line.plain + "; ".join(parts)) > COLUMNS:
            parts = [part for part in parts if not part.startswith("route ") or " via " in part]
        line.append("; ".join(parts))
        if hop.remark:
            line.append(f"{'; ' if parts else ''}{hop.remark}", style="bold red")
        line.rstrip()
        yield Row(line, bool(parts or hop.remark or hop.seen is False or number == 0))
    last = hops[-1]
    if not last.interface and not (_ends_well(last) and len(hops) > 1 and hops[-2].place == last.place):
        well = _ends_well(last)
        text = f"  {last.place:<{widths[0]}}  {'' if well else '✗ '}{'; '.join(_decided(last))}"
        yield Row(Text(text, style="" if well else "bold red"), True)


def _ends_well(hop: Hop) -> bool:
    return not hop.interface and all(decision.what != "stop" for decision in hop.decisions)


def _decided(hop: Hop) -> Iterator[str]:
    wrapped, ended = False, ""
    for decision in hop.decisions:
        what, text, owner = decision.what, decision.text, decision.owner
        match what:
            case "rule":
                ended = text if text.startswith(ENDING) else ""
                yield from _rule(text, owner, hop)
            case "route" if not wrapped:
                yield "route " + _route(decision.entry or text, hop.interface)
            case "encapsulate":
                wrapped = True
                yield f"VXLAN to {hop.outer.dst if hop.outer else text}"
            case "decapsulate":
                yield "out of VXLAN"
            case "conntrack":
                yield f"conntrack: {_turned(text)}"
            case "deliver" | "queue":
                yield text.removesuffix(f" in {hop.place}")
            case "stop" | "mixed" if not (ended and ended in text):
                yield text
            case "flood" if "nobody" in text:
                yield text


def _turned(text: str) -> str:
    """What an answer becomes: "… : A → B becomes C → B" only changes its source."""
    before, _, after = text.partition(": ")[2].partition(" becomes ")
    source, _, target = after.partition(" → ")
    return f"now from {source}" if before.partition(" → ")[2] == target else after


def _rule(text: str, owner: str, hop: Hop) -> Iterator[str]:
    """What a rule did to the packet; one that only let it pass or marked it is left out."""
    name, _, options = text.partition(": ")[0].partition(" ")
    if name in TRANSLATING:
        yield f"{TRANSLATING[name]} {options}"
    elif name == "MASQUERADE":
        yield f"masqueraded as {end(hop.packet.src, hop.packet.sport)}"
    elif text.startswith(ENDING):
        yield text + (f" ({named(owner)})" if owner else "")


def _route(entry: str, device: str) -> str:
    """ "default via 10.0.0.1" of "0.0.0.0/0 via 10.0.0.1 dev eth0 src 10.0.0.2", where the packet is seen at eth0."""
    words = entry.partition(" src ")[0].removesuffix(f" dev {device}")
    for whole in ("0.0.0.0/0 ", "::/0 "):
        words = words.replace(whole, "default ")
    return words


def _mark(hop: Hop) -> tuple[str, str]:
    if hop.seen is None:
        return "?  ", "yellow"
    if not hop.seen:
        return "✗  ", "bold red"
    good = not hop.remark
    return f"{'✓' if good else '!'} {hop.microseconds or 0:>6.1f} µs  ", "green" if good else "bold red"


def _others(answer: Trace) -> Iterator[Text]:
    """The ways by other endpoints, counted by what becomes of the packet."""
    others = [way for number, way in enumerate(answer.ways) if number != answer.chosen]
    if not others:
        return
    fates = Counter(way.fate for way in others)
    parts = ", ".join(f"{number} {FATES[fate].partition(' (')[0].partition(':')[0]}" for fate, number in fates.items())
    good = set(fates) == {"answered"}
    yield Text(f"{counted(len(others), 'other way')} it could go: {parts}", style="dim" if good else "bold red")
