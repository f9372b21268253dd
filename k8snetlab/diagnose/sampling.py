"""What a diagnosis of a large lab looks at one by one, and what it passes by: it says so, in a note."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from k8snetlab.trace.tracer import AnyBranch, Choose
from k8snetlab.wording import counted

T = TypeVar("T")
PODS = 64
"""Pods' namespaces that are read although no change in them was told."""
ENDPOINTS = 20
"""Endpoints of a Service to which one path is followed. That the rules lead to all of them is seen from the rules."""
GOING = ("", "ACCEPT", "delivered", "sent")
"""What has become of a way that is as it should be, under way or at its end."""
RULED = 64
"""Pods whose own iptables rules are read, of those that have some."""


def spread(things: Sequence[T], most: int, turn: int = 0) -> list[T]:
    """At most so many, evenly from the beginning to the end; another `turn` takes others."""
    if len(things) <= most:
        return list(things)
    return [things[(number * len(things) // most + turn) % len(things)] for number in range(most)]


def some(endpoints: Collection[str], turn: int) -> Choose:
    """Of the ways out of a node's rules those to a part of the `endpoints`, and all that lead elsewhere or nowhere."""
    known = frozenset(endpoints)

    def choose(ways: Sequence[AnyBranch], /) -> Sequence[AnyBranch]:
        if len(ways) <= ENDPOINTS:
            return ways
        usual = [n for n, one in enumerate(ways) if one.endpoint in known and one.verdict in GOING]
        kept = {*range(len(ways))}.difference(usual).union(spread(usual, ENDPOINTS, turn))
        return [one for n, one in enumerate(ways) if n in kept]

    return choose


def of_endpoints(paths: Iterable[tuple[str, int]]) -> list[str]:
    """A note on each Service of more endpoints than one path is followed to. `paths` are each one's Service, "" for
    none, and its endpoints, of which a Service's ports and families may have different numbers: the most is said."""
    most: dict[str, int] = {}
    for title, number in paths:
        most[title] = max(number, most.get(title, 0))
    return [
        f"Service {title}: each path to it was followed to {ENDPOINTS} of its {counted(number, 'endpoint')}; that the "
        "rules lead to all of them was compared"
        for title, number in most.items()
        if title and number > ENDPOINTS
    ]


def of_namespaces(passed_by: int, pods: int) -> list[str]:
    """A note on namespaces that were not read."""
    if not passed_by:
        return []
    return [
        f"{passed_by} of {counted(pods, 'pod')} were not looked into: the kernel has told of no change of their links, "
        "addresses, routes and neighbours since they were made; their sysctls, ip rules and processes, of which it "
        "tells nothing, were not looked at"
    ]


def of_pods(untried: int, pods: int) -> list[str]:
    """A note on pods that no path was followed to but those to their Services."""
    return [f"no path was followed to {untried} of {counted(pods, 'pod')} itself"] if untried else []


def of_ruled(pods: int) -> list[str]:
    """A note on pods with iptables rules of their own, where not all of them were read."""
    return [f"of {pods} pods with iptables rules of their own, {RULED} had theirs read"] if pods > RULED else []


def of_pairs(tried: int, pairs: int, unasked: int = 0) -> list[str]:
    """A note on who was not let ask whom, and on the targets that nobody asked."""
    if tried >= pairs:
        return []
    alone = f"; {counted(unasked, 'target')} were asked by nobody" if unasked else ""
    return [f"of {pairs:,} pairs of who may ask and what may be asked, {tried} were probed{alone}"]
