"""Compares predicted ways with what was seen: which way the packet took, and where the two differ."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from k8snetlab.dataplane.packet import Fate
from k8snetlab.trace.way import Flow, Hop, Point, Way

UNWATCHED = "not watched"
"""The remark at a hop that could not be watched."""


class Sighting(msgspec.Struct, frozen=True):
    """The packet, or its answer (`back`), at a device. `astray`: the frame was addressed to another device."""

    netns: str
    place: str
    interface: str
    direction: str
    packet: Flow
    microseconds: float
    back: bool = False
    outer: Flow | None = None
    vni: int = 0
    astray: bool = False

    @property
    def point(self) -> Point:
        return (self.netns, self.interface, self.direction)


class Verdict(msgspec.Struct, frozen=True):
    """`way` is the predicted way that comes nearest: its hops are marked with what was seen, and hops that were seen
    but not predicted are put in. `chosen` is its number among the predictions. `differences` are sentences; none where
    prediction and observation agree.
    """

    way: Way
    chosen: int
    differences: tuple[str, ...]


def compare(
    ways: Sequence[Way],
    sightings: Iterable[Sighting],
    fate: Fate,
    bridges: Collection[tuple[str, str]],
    unwatched: Collection[str] = (),
) -> Verdict:
    """`unwatched` are namespaces in which nobody could look.

    `bridges` are bridges, as (namespace, device). Whether a bridge itself shows a frame that it only passes on depends
    on its caches, so a prediction is not blamed for such a sighting.
    """
    seen = list(_first(sightings))
    if not ways:
        raise ValueError("there is no prediction to compare with")
    ways = [replace(way, there=_open(way.there, unwatched), back=_open(way.back, unwatched)) for way in ways]
    scored = [(_score(way, seen, fate), -number) for number, way in enumerate(ways)]
    chosen = -max(scored)[1]
    way = ways[chosen]
    there, missed = _marked(way.there, [s for s in seen if not s.back], bridges, way.flooded)
    back, missed_back = _marked(way.back, [s for s in seen if s.back], bridges, way.flooded)
    differences = [*missed, *missed_back]
    if way.fate != fate:
        differences.append(f"predicted was {way.fate}, the sender heard: {fate}")
    return Verdict(replace(way, there=there, back=back), chosen, tuple(differences))


def _open(hops: Sequence[Hop], unwatched: Collection[str]) -> tuple[Hop, ...]:
    return tuple(replace(hop, remark=UNWATCHED) if hop.interface and hop.netns in unwatched else hop for hop in hops)


def _score(way: Way, seen: list[Sighting], fate: Fate) -> tuple[int, bool]:
    """How much of what was seen the way explains."""
    predicted = {(hop.point, *_addresses(hop.packet)) for hop in way.hops if hop.interface and not hop.remark}
    found = {(s.point, *_addresses(s.packet)) for s in seen}
    return len(predicted & found) - len(predicted ^ found), way.fate == fate


def _first(sightings: Iterable[Sighting]) -> Iterator[Sighting]:
    """Each sighting once: a packet that is sent again says nothing new, unless with other addresses."""
    known: set[tuple[object, ...]] = set()
    for sighting in sightings:
        key = (sighting.point, sighting.back, sighting.outer is None, _addresses(sighting.packet))
        if key not in known:
            known.add(key)
            yield sighting


def _marked(
    hops: Sequence[Hop],
    seen: list[Sighting],
    bridges: Collection[tuple[str, str]],
    flooded: Collection[tuple[str, str]],
) -> tuple[tuple[Hop, ...], list[str]]:
    there: dict[tuple[Point, bool], list[Sighting]] = {}
    for s in seen:
        there.setdefault((s.point, s.outer is None), []).append(s)
    left = {at: found[0] for at, found in there.items()}
    marked: list[Hop] = []
    differences: list[str] = []
    last: Hop | None = None
    broken = False
    for hop in hops:
        left.pop((hop.point, hop.outer is None), None)
        known = there.get((hop.point, hop.outer is None), []) if hop.interface else []
        same = (s for s in known if _addresses(s.packet) == _addresses(hop.packet))
        sighting = next(same, known[0] if known else None)
        remark = ""
        if not hop.interface or hop.remark == UNWATCHED:
            marked.append(hop)
            continue
        if sighting is None:
            if not broken:
                remark = f"not seen here: {_cause(last, hop)}"
                differences.append(f"{hop.place} {hop.interface} {hop.direction}: {remark}")
            broken = True
            marked.append(replace(hop, seen=False, remark=remark))
            continue
        if _addresses(sighting.packet) != _addresses(hop.packet):
            remark = (
                f"seen with {sighting.packet}: another rule or an older connection in conntrack translated it"
                if not broken
                else f"seen with {sighting.packet}"
            )
            differences.append(f"{hop.place} {hop.interface} {hop.direction}: {remark}")
        last = replace(
            hop,
            packet=sighting.packet,
            outer=sighting.outer,
            seen=True,
            microseconds=sighting.microseconds,
            remark=remark,
        )
        marked.append(last)
    for sighting in left.values():
        stray = sighting.astray or (sighting.netns, sighting.interface) in bridges
        if stray or any(sighting.netns == n for n, _ in flooded):
            continue
        text = "seen here, and not predicted"
        differences.append(f"{sighting.place} {sighting.interface} {sighting.direction}: {text}")
        at = next((i for i, h in enumerate(marked) if (h.microseconds or 0) > sighting.microseconds), len(marked))
        marked.insert(at, _unforeseen(sighting, text))
    return tuple(marked), differences


def _unforeseen(s: Sighting, remark: str) -> Hop:
    return Hop(
        s.netns, s.place, s.interface, s.direction, s.packet, (), s.outer, s.vni, 0, True, s.microseconds, remark
    )


def _cause(last: Hop | None, hop: Hop) -> str:
    """Where a packet stopped that should have gone on, in a sentence."""
    if last is None:
        return f"{hop.place} never sent it: its own rules, or an address that did not resolve"
    if last.netns != hop.netns:
        return f"it left {last.place} by {last.interface} and did not arrive: the cable, or a filter on it (tc, XDP)"
    if hop.direction == "out":
        return (
            f"{last.place} took it in by {last.interface} and sent nothing: the neighbour did not answer, or a filter"
            " outside iptables (nft, tc), or what the kernel holds has changed since it was read"
        )
    return f"{last.place} dropped it between {last.interface} and {hop.interface}"


def _addresses(flow: Flow) -> tuple[str, str]:
    return flow.src, flow.dst
