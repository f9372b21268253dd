"""A trace as a story on the terminal: one line a hop, what decided above it; no colour without a word or sign."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from k8snetlab.wording import counted

Json = Mapping[str, Any]
_COLOURS = {
    "stop": "bold red",
    "rule": "magenta",
    "conntrack": "magenta",
    "encapsulate": "cyan",
    "decapsulate": "cyan",
    "fdb": "cyan",
    "flood": "yellow",
    "mixed": "bold yellow",
}
CONNECTIONS = 6
"""What conntrack made of the packet, in lines: a packet that goes in circles makes dozens."""
FATES = {
    "answered": "answered",
    "refused": "refused (a reset or ICMP port unreachable)",
    "unreachable": "unreachable (no route, or told so by ICMP)",
    "lost": "lost: nothing is heard of it",
}


def tell(answer: Json, console: Console | None = None, verbose: bool = False) -> None:
    console = console or Console(highlight=False, soft_wrap=True)
    for line in lines(answer):
        console.print(line)


def lines(answer: Json) -> Iterator[Text]:
    way, observed = answer["ways"][answer["chosen"]], answer["observed"]
    yield Text(title(answer), style="bold")
    widths = _widths([*way["there"], *way["back"]])
    for leg, hops in (("there", way["there"]), ("back", way["back"])):
        if hops:
            yield Text(f"\n{leg}", style="bold")
            yield from _leg(hops, widths, observed is not None)
    yield Text("")
    yield from _ending(answer, way, observed)


def title(answer: Json) -> str:
    """From where to where, and by which endpoint."""
    way = answer["ways"][answer["chosen"]]
    where = end(answer["address"], answer["port"])
    source = (
        f"{answer['from']} ({answer['fromNode']})" if answer["fromNode"] not in ("", answer["from"]) else answer["from"]
    )
    to = "" if answer["to"] == answer["address"] else f"{answer['to']} "
    chance = f", endpoint {way['endpoint']} ({way['probability']:.0%})" if way["endpoint"] else ""
    return f"{source} → {to}{where} {answer['protocol']}{chance}"


def _leg(hops: Sequence[Json], widths: tuple[int, int], watched: bool) -> Iterator[Text]:
    before: Json | None = None
    for hop in hops:
        for decision in hop["decisions"]:
            yield _decision(decision)
        if not hop["interface"]:
            continue
        line = Text(f"{hop['place']:<{widths[0]}}  {hop['interface']:<{widths[1]}}  {hop['direction']:<3}  ")
        line.append(flow(hop["packet"]), style="bold" if before and before != hop["packet"] else "")
        if before and before != hop["packet"]:
            line.append(f"  (was {_changed(before, hop['packet'])})", style="magenta")
        if hop["outer"]:
            line.append(f"  in VXLAN {hop['vni']}: {hop['outer']['src']} → {hop['outer']['dst']}", style="cyan")
        if watched:
            line.append(_mark(hop), style="green" if hop["seen"] and not hop["remark"] else "bold red")
        yield line
        before = hop["packet"]


def _decision(decision: Json) -> Text:
    line = Text("    ")
    line.append(f"{decision['what']:<11} ", style=_COLOURS.get(decision["what"], "dim"))
    line.append(decision["text"])
    if decision.get("lost"):
        line.append(f"; not by {', '.join(decision['lost'])}", style="dim")
    if decision.get("counters"):
        line.append(f" ({counted(decision['counters'][0], 'packet')} so far)", style="dim")
    if decision.get("owner"):
        line.append(f"  [{decision['owner']}]", style="blue")
    return line


def _mark(hop: Json) -> str:
    if hop["seen"] is None:
        return f"  ? {hop['remark']}"
    if not hop["seen"]:
        return f"  ✗ {hop['remark'] or 'not seen'}"
    time = f"  {'!' if hop['remark'] else '✓'} {hop['microseconds']:.1f} µs"
    return f"{time} {hop['remark']}".rstrip()


def _ending(answer: Json, way: Json, observed: Json | None) -> Iterator[Text]:
    others = [w for number, w in enumerate(answer["ways"]) if number != answer["chosen"]]
    fate = Text("predicted: ")
    fate.append(FATES[way["fate"]], style="green" if way["fate"] == "answered" else "bold red")
    if way["reason"]:
        fate.append(f"; {way['reason']}")
    yield fate
    if answer.get("note"):
        yield Text(f"note: {answer['note']}")
    if observed:
        seen = Text("observed:  ")
        seen.append(FATES[observed["fate"]], style="green" if observed["fate"] == "answered" else "bold red")
        seen.append(f" after {observed['milliseconds']:.2f} ms")
        if observed["remark"]:
            seen.append(f"; {observed['remark']}")
        yield seen
        for made in observed["connections"][:CONNECTIONS]:
            yield Text(f"conntrack of {made['place']}: {_tuple(made['original'])}, answered as {_tuple(made['reply'])}")
        if len(observed["connections"]) > CONNECTIONS:
            yield Text(f"and {counted(len(observed['connections']) - CONNECTIONS, 'more connection')}")
        if observed["agrees"]:
            yield Text("prediction and observation agree", style="green")
        for difference in observed["differences"]:
            yield Text(f"✗ {difference}", style="bold red")
    for other in others:
        to = f"to {other['endpoint']}" if other["endpoint"] else "without an endpoint"
        yield Text(f"other way: {other['probability']:.0%} {to}: {FATES[other['fate']]}", style="dim")


def _widths(hops: Sequence[Json]) -> tuple[int, int]:
    return max(len(h["place"]) for h in hops), max(len(h["interface"]) for h in hops)


def flow(packet: Json) -> str:
    return f"{end(packet['src'], packet['sport'])} → {end(packet['dst'], packet['dport'])}"


def _changed(before: Json, after: Json) -> str:
    """The ends that are others now."""
    ends = [end(before[a], before[p]) for a, p in (("src", "sport"), ("dst", "dport")) if _differs(before, after, a, p)]
    return ", ".join(ends)


def _differs(before: Json, after: Json, address: str, port: str) -> bool:
    return bool((before[address], before[port]) != (after[address], after[port]))


def _tuple(words: Sequence[Any]) -> str:
    return f"{end(words[0], words[1])} → {end(words[2], words[3])}"


def end(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
