"""A trace as a picture: who hands the packet to whom, as SVG or as a Mermaid sequence diagram."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from k8snetlab.cli.story import FATES, title
from k8snetlab.messages.trace import Trace
from k8snetlab.render.canvas import (
    ALARM,
    GOOD,
    PAD,
    SOFT,
    WIRE,
    Canvas,
    text_width,
)
from k8snetlab.trace.way import Decision, Hop

SHOWN = ("mixed", "rule", "conntrack", "queue", "encapsulate", "decapsulate", "deliver", "stop")
"""The decisions that a picture shows; routes, neighbours and chains that decide nothing are left to the story."""
PASSING = ("ACCEPT", "MARK", "NOTRACK")
"""How rules begin that leave the packet as it is."""
LONGEST = 30
"""Characters of a line in the drawing; longer ones go on below."""
ARROW, GAP = 26, 12
"""Pixels that an arrow shows on either side of its label, and between two rows."""


class Event(NamedTuple):
    """An arrow from `place` to `to`, or, where that is "", a note in the lane of `place`; `lines` is its text.

    `kind` is there, back or unseen for an arrow, note or stop for a note.
    """

    place: str
    to: str
    lines: tuple[str, ...]
    kind: str


def events(answer: Trace) -> Iterator[Event]:
    """What the picture shows of a trace, in the order of the way there and back."""
    way = answer.way
    for leg, hops in (("there", way.there), ("back", way.back)):
        last: Hop | None = None
        for hop in hops:
            if last is not None and hop.place != last.place:
                yield Event(last.place, hop.place, tuple(_label(last, hop)), "unseen" if _unseen(hop) else leg)
            for decision in hop.decisions:
                if decision.what in SHOWN and not decision.text.startswith(PASSING):
                    kind = "stop" if decision.what == "stop" else "note"
                    yield Event(hop.place, "", tuple(_note(decision)), kind)
            if hop.remark:
                yield Event(hop.place, "", (f"{hop.interface}: {hop.remark}",), "stop")
            last = hop


def mermaid(answer: Trace) -> str:
    """Text that GitHub, GitLab and mermaid.live draw."""
    names = {place: f"p{number}" for number, place in enumerate(_places(answer))}
    out = ["sequenceDiagram", f"    title {_plain(title(answer))}"]
    out += [f"    participant {name} as {_plain(place)}" for place, name in names.items()]
    arrows = {"there": "->>", "back": "-->>", "unseen": "-x"}
    for event in events(answer):
        text = "<br/>".join(_plain(line) for line in event.lines)
        if event.to:
            out.append(f"    {names[event.place]}{arrows[event.kind]}{names[event.to]}: {text}")
        else:
            out.append(f"    Note over {names[event.place]}: {text}")
    lanes = list(names.values())
    across = ",".join(dict.fromkeys((lanes[0], lanes[-1])))
    return "\n".join([*out, f"    Note over {across}: {'<br/>'.join(map(_plain, _outcome(answer)))}"])


def svg(answer: Trace) -> str:
    """A drawing that needs nothing but a browser; it can be read in a dark viewer too."""
    return _Drawing(answer).draw()


class _Drawing:
    """A lane for each place; from top to bottom what happens, arrows between lanes and notes on them."""

    def __init__(self, answer: Trace) -> None:
        self._answer, self._canvas = answer, Canvas()
        places = _places(answer)
        self._events = list(_merged(events(answer)))
        words = [word for event in self._events for line in event.lines for word in line.split()]
        self._longest = max([LONGEST, *map(len, words)])
        texts = [line for event in self._events for line in self._wrapped(event.lines)]
        widest = max([LONGEST * 7.4 + 2 * PAD, *map(text_width, (*places, *texts))])
        self._pitch = widest + 2 * ARROW
        self._middle = {place: self._pitch * (number + 0.5) for number, place in enumerate(places)}
        self._width = max(self._pitch * len(places), text_width(title(answer)) + 2 * GAP)

    def draw(self) -> str:
        head = self._canvas.framed("world", self._width / 2, GAP, [(title(self._answer), True)])
        y = top = head.bottom + GAP
        for place, x in self._middle.items():
            y = self._canvas.framed("node", x, top, [(place, True)]).bottom
        y += GAP
        for event in self._events:
            y = (self._arrow(event, y) if event.to else self._note(event, y)) + GAP
        for x in self._middle.values():
            self._canvas.wire((x, top), (x, y))
        colour = GOOD if _as_wanted(self._answer) else ALARM
        lines = [(line, not row) for row, line in enumerate(_outcome(self._answer))]
        kind, stroke = ("world", GOOD) if colour == GOOD else ("broken", WIRE)
        foot = self._canvas.framed(kind, self._width / 2, y, lines, stroke=stroke, colour=colour)
        self._width = max(self._width, foot.width + 2 * GAP)
        return self._canvas.text_of(title(self._answer), self._width, foot.bottom + GAP)

    def _arrow(self, event: Event, y: float) -> float:
        start, end = self._middle[event.place], self._middle[event.to]
        lines = [(line, False) for line in self._wrapped(event.lines)]
        tunnel = any(line.startswith("in VXLAN") for line in event.lines)
        near = start + (self._pitch if end > start else -self._pitch)
        box = self._canvas.framed("tunnel" if tunnel else "chip", (start + near) / 2, y, lines)
        colour = ALARM if event.kind == "unseen" else SOFT
        middle = y + box.height / 2
        over = [x for x in self._middle.values() if min(start, end) < x < max(start, end)]
        self._canvas.arrow((start, middle), (end, middle), event.kind != "there", colour, over)
        return box.bottom

    def _note(self, event: Event, y: float) -> float:
        stop = event.kind == "stop"
        x = self._middle[event.place]
        lines = [(line, False) for line in self._wrapped(event.lines)]
        stroke, colour = (ALARM, ALARM) if stop else (WIRE, SOFT)
        return self._canvas.framed("service", x, y, lines, stroke=stroke, colour=colour).bottom

    def _wrapped(self, lines: Sequence[str]) -> list[str]:
        """Cut between words; a name is never cut, however long it is, and then the others need not be either."""
        wrapped = (textwrap.wrap(line, self._longest, break_on_hyphens=False, break_long_words=False) for line in lines)
        return [part for parts in wrapped for part in parts or [""]]


def _merged(found: Iterator[Event]) -> Iterator[Event]:
    """With notes of one kind that follow each other in one lane made one."""
    last: Event | None = None
    for event in found:
        if last and not event.to and not last.to and (last.place, last.kind) == (event.place, event.kind):
            last = last._replace(lines=(*last.lines, *event.lines))
            continue
        if last:
            yield last
        last = event
    if last:
        yield last


def _label(last: Hop, hop: Hop) -> Iterator[str]:
    source, target = str(last.packet).split(" → ")
    yield source
    yield f"→ {target}"
    if last.outer:
        yield f"in {last.around}: {last.outer.src}"
        yield f"→ {last.outer.dst}"
    if hop.microseconds is not None:
        yield f"{hop.microseconds:.0f} µs"


def _note(decision: Decision) -> Iterator[str]:
    rule = decision.what == "rule"
    yield decision.text.partition(": ")[0] if rule else decision.text
    if rule and decision.owner:
        yield f"({decision.owner})"


def _outcome(answer: Trace) -> list[str]:
    way, observed = answer.way, answer.observed
    lines = [f"predicted: {FATES[way.fate]}"]
    if way.reason:
        lines.append(way.reason)
    if observed:
        agrees = "as predicted" if observed.agrees else "not as predicted"
        lines.append(f"observed: {FATES[observed.fate]}, {agrees}")
    return lines


def _as_wanted(answer: Trace) -> bool:
    """Whether the packet is answered, and went as predicted where it was watched."""
    return answer.fate == "answered" and (answer.observed is None or answer.observed.agrees)


def _unseen(hop: Hop) -> bool:
    return hop.seen is False


def _places(answer: Trace) -> list[str]:
    return list(dict.fromkeys(hop.place for hop in answer.way.hops))


def _plain(text: str) -> str:
    """Without what Mermaid takes for its own."""
    return text.replace(";", ",").replace("#", "").replace("\n", " ")
