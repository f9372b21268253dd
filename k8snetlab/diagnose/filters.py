"""Routes that a node has not made though its session stands, and sessions that somebody has disabled: what BIRD says.

Source: BIRD 2.0's nest/rt-show.c (`show route NET noexport P`: what the filter of P rejects, and nothing else that P
would not tell anyway), nest/proto.c (`show protocols`, `show protocols all`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from k8snetlab.dataplane.families import family_of
from k8snetlab.dataplane.names import node_netns
from k8snetlab.diagnose.finding import Finding

ACCEPTS, REJECTS = "ACCEPT", "REJECT"
"""What BIRD calls the filters `all` and `none`."""
DOWN = "down"
"""A protocol's state when it is disabled: any other one begins again by itself."""
_FILTER = re.compile(r"^ +Input filter: +(\S+)", re.MULTILINE)
_UPDATES = re.compile(r"^ +Import updates: +\S+ +\S+ +(\d+)", re.MULTILINE)
MOST = 3
"""Names that a sentence lists."""


class Kept(msgspec.Struct, frozen=True):
    """Why one route is not there: the node `at` which, the `way` (to a neighbour, of a neighbour, into the kernel, or a
    session that is disabled), the protocol, the name of its filter, or "", and the route's finding."""

    at: str
    way: str
    protocol: str
    filter: str
    lost: Finding


def holds(text: str, cidr: str) -> bool:
    """Whether `show route` shows that network."""
    return any(line[:1].strip() and line.split()[0] == cidr for line in text.splitlines())


def refuses(text: str) -> str:
    """The name of the filter that has rejected what a neighbour tells, by `show protocols all`; "" where none has."""
    name, updates = _FILTER.search(text), _UPDATES.search(text)
    if name is None or name[1] == ACCEPTS:
        return ""
    return name[1] if name[1] == REJECTS or (updates and int(updates[1])) else ""


def kernels(text: str, cidr: str) -> Mapping[str, str]:
    """The states of the protocols that bring such routes into the kernel, of `show protocols`."""
    table = "master4" if family_of(cidr) == "ipv4" else "master6"
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[3] for row in rows if len(row) > 3 and row[1:3] == ["Kernel", table]}


def causes(lab: str, router: str, kept: Iterable[Kept]) -> Iterator[Finding]:
    """One finding for all that one node's filters of one kind keep. `router` is the namespace where goes what nodes
    have no route for."""
    groups: dict[tuple[str, str], list[Kept]] = {}
    for one in kept:
        groups.setdefault((one.at, one.way), []).append(one)
    for (at, way), group in groups.items():
        protocols = _listed(one.protocol for one in group)
        routes = _listed(one.lost.object for one in group)
        first = group[0]
        named = f"{at}: " + _SENTENCES[way].format(
            protocols=protocols, routes=routes, filter=f" ({first.filter})" if first.filter == REJECTS else ""
        )
        enabled = (f"k8snetlab birdc {at} enable {name}" for name in dict.fromkeys(one.protocol for one in group))
        made = Finding(
            kind="route",
            fault="disabled" if way in (SESSION, SYNC) else "filter",
            node=at,
            object=first.protocol,
            message=named,
            consequence="neither of the two learns of the other's routes by it"
            if way == SESSION
            else f"no route to {routes} on {_listed(one.lost.node for one in group)}",
            show=f"k8snetlab birdc {at} show protocols all {first.protocol}",
            mend="\n".join(enabled) if way in (SESSION, SYNC) else f"k8snetlab birdc {at} configure",
            netns=node_netns(lab, at),
            beyond=(router, ""),
        )
        texts = (text for one in group for text in (one.lost.message, *one.lost.explains))
        yield replace(made, explains=tuple(dict.fromkeys(texts)))


EXPORT, IMPORT, INTO, SYNC, SESSION = "export", "import", "into", "sync", "session"
_SENTENCES = {
    EXPORT: "the session is established, and the export filter of {protocols} rejects {routes}, which it knows",
    IMPORT: "the session is established, and the import filter of {protocols}{filter} rejects {routes}, of which "
    "the neighbour tells",
    INTO: "BIRD knows of {routes}, and the export filter of {protocols} keeps it from the kernel",
    SYNC: "BIRD knows of {routes}, and brings nothing into the kernel: its {protocols} is disabled",
    SESSION: "no session is established by {protocols}, which is disabled in its BIRD",
}


def _listed(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return ", ".join(found[:MOST]) + more if more else " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))
