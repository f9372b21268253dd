"""A trace as a story on the terminal, all of it: what decided, then the hop; no colour without a word or sign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from k8snetlab.cli.ink import Text
from k8snetlab.dataplane.families import end
from k8snetlab.messages.trace import ConntrackTuple, Observation, Trace
from k8snetlab.trace.way import Decision, Flow, Hop, Way
from k8snetlab.wording import counted

_COLOURS = {
    "stop": "bold red",
    "rule": "magenta",
    "conntrack": "magenta",
    "encapsulate": "cyan",
    "decapsulate": "cyan",
    "fdb": "cyan",
    "flood": "yellow",
    "queue": "yellow",
    "mixed": "bold yellow",
}
DECISION = 16
"""Columns before what a decision says."""
CONNECTIONS = 6
"""What conntrack made of the packet, in lines: a packet that goes in circles makes dozens."""
FATES = {
    "answered": "answered",
    "refused": "refused (a reset or ICMP port unreachable)",
    "unreachable": "unreachable (no route, or told so by ICMP)",
    "lost": "lost: nothing is heard of it",
}


def lines_hung(answer: Trace) -> Iterator[tuple[Text, int]]:
    """Each line, and how far in it goes on where it is folded."""
    for line in lines(answer):
        yield line, DECISION if line.plain.startswith("    ") else 4


def lines(answer: Trace) -> Iterator[Text]:
    way, observed = answer.way, answer.observed
    yield Text(title(answer), style="bold")
    widths, named_whole = _widths(way.hops), set[str]()
    for leg, hops in (("there", way.there), ("back", way.back)):
        if hops:
            yield Text(f"\n{leg}", style="bold")
            yield from _leg(hops, widths, observed is not None, named_whole)
    yield Text("")
    yield from ending(answer, way, observed)


def title(answer: Trace) -> str:
    """From where to where, and by which endpoint."""
    way = answer.way
    where = end(answer.address, answer.port)
    source = f"{answer.source} ({answer.sourceNode})" if answer.sourceNode not in ("", answer.source) else answer.source
    to = "" if answer.target == answer.address else f"{answer.target} "
    chance = f", endpoint {way.endpoint} ({way.probability:.0%})" if way.endpoint else ""
    return f"{source} → {to}{where} {answer.protocol}{chance}"


def _leg(hops: Sequence[Hop], widths: tuple[int, int], watched: bool, named_whole: set[str]) -> Iterator[Text]:
    before: Flow | None = None
    for hop in hops:
        for decision in hop.decisions:
            yield _decision(decision, named_whole)
        if not hop.interface:
            continue
        line = Text(f"{hop.place:<{widths[0]}}  {hop.interface:<{widths[1]}}  {hop.direction:<3}  ")
        line.append(str(hop.packet), style="bold" if before and before != hop.packet else "")
        if before and before != hop.packet:
            line.append(f"  (was {_changed(before, hop.packet)})", style="magenta")
        if hop.outer:
            line.append(f"  in {hop.around}: {hop.outer.src} → {hop.outer.dst}", style="cyan")
        if watched:
            line.append(_mark(hop), style="green" if hop.seen and not hop.remark else "bold red")
        yield line
        before = hop.packet


def _decision(decision: Decision, named_whole: set[str]) -> Text:
    """An owner is told whole once, with its place in the manifests; `named_whole` are those that were."""
    line = Text("    ")
    line.append(f"{decision.what:<11} ", style=_COLOURS.get(decision.what, "dim"))
    line.append(decision.text)
    if decision.lost:
        line.append(f"; not by {', '.join(decision.lost)}", style="dim")
    if decision.counters:
        line.append(f" ({counted(decision.counters[0], 'packet')} so far)", style="dim")
    if owner := decision.owner:
        line.append(f"  [{named(owner) if owner in named_whole else owner}]", style="blue")
        named_whole.add(owner)
    return line


def named(owner: str) -> str:
    """An owner without the place in the manifests: "Service default/web, port 80, web.yaml:3" is a Service's."""
    return owner.partition(", ")[0]


def _mark(hop: Hop) -> str:
    if hop.seen is None:
        return f"  ? {hop.remark}"
    if not hop.seen:
        return f"  ✗ {hop.remark or 'not seen'}"
    time = f"  {'!' if hop.remark else '✓'} {hop.microseconds or 0:.1f} µs"
    return f"{time} {hop.remark}".rstrip()


def ending(answer: Trace, way: Way, observed: Observation | None) -> Iterator[Text]:
    yield from verdict(answer, way, observed)
    for made in observed.connections[:CONNECTIONS] if observed else ():
        yield Text(f"conntrack of {made.place}: {_tuple(made.original)}, answered as {_tuple(made.reply)}")
    if observed and len(observed.connections) > CONNECTIONS:
        yield Text(f"and {counted(len(observed.connections) - CONNECTIONS, 'more connection')}")
    yield from comparison(observed)
    for other in (w for number, w in enumerate(answer.ways) if number != answer.chosen):
        to = f"to {other.endpoint}" if other.endpoint else "without an endpoint"
        yield Text(f"other way: {other.probability:.0%} {to}: {FATES[other.fate]}", style="dim")


def verdict(answer: Trace, way: Way, observed: Observation | None) -> Iterator[Text]:
    """What was predicted, and what came of it."""
    fate = Text("predicted: ")
    fate.append(FATES[way.fate], style="green" if way.fate == "answered" else "bold red")
    if way.reason:
        fate.append(f"; {way.reason}")
    yield fate
    if observed:
        seen = Text("observed:  ")
        seen.append(FATES[observed.fate], style="green" if observed.fate == "answered" else "bold red")
        seen.append(f" after {observed.milliseconds:.2f} ms")
        if observed.remark:
            seen.append(f"; {observed.remark}")
        yield seen
    if answer.note:
        yield Text(f"note: {answer.note}")


def comparison(observed: Observation | None) -> Iterator[Text]:
    if observed and observed.agrees:
        yield Text("prediction and observation agree", style="green")
    for difference in observed.differences if observed else ():
        yield Text(f"✗ {difference}", style="bold red")


def _widths(hops: Sequence[Hop]) -> tuple[int, int]:
    return max(len(h.place) for h in hops), max(len(h.interface) for h in hops)


def _changed(before: Flow, after: Flow) -> str:
    """The ends that are others now."""
    sides = (((f.src, f.sport), (f.dst, f.dport)) for f in (before, after))
    return ", ".join(end(*old) for old, new in zip(*sides, strict=True) if old != new)


def _tuple(ends: ConntrackTuple) -> str:
    return f"{end(*ends[:2])} → {end(*ends[2:])}"
