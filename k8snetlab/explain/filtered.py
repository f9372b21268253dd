"""BIRD asked why a route is missing though the session stands: whose filter rejects it, and what is disabled.

Blocking.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from k8snetlab.api import pools
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import ROUTER, node_netns
from k8snetlab.diagnose import filters, routing
from k8snetlab.diagnose.filters import Kept
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.sessions import Session, Speaking
from k8snetlab.render.routing.bird import protocol_of
from k8snetlab.render.routing.speakers import speakers

MOST = 64
"""Routes that are asked for; each takes some commands."""
NONE = "Network not found"
"""What birdc says, and fails, where there is no such route."""
Ask = Callable[..., str]
"""What the BIRD of a node (the first word) answers; OSError where it does not."""


def laid(lost: list[Finding], spoken: Sequence[Speaking], snapshot: Snapshot, ask: Ask) -> list[Finding]:
    """The routes that are `lost`, and instead of those of which BIRD knows why, that."""
    if snapshot.lab.spec.spoken != "bgp" or snapshot.lab.spec.daemon != "bird":
        return lost
    everybody = {one.name: one for one in spoken}
    subnets = pools.nodes_led_to(snapshot.all(Node).values())
    kept: list[Kept] = []
    rest: list[Finding] = []
    asked = 0
    for one in lost:
        node, found = everybody[one.node], list[Kept]()
        if one.fault == "deaf":
            found = list(_off(snapshot, node, node.neighbours, one))
            found = found if len(found) == len(node.neighbours) else []
        elif one.fault == "missing" and asked < MOST:
            owner = subnets.get(one.object, "")
            session = routing.session(node, owner, one.object)
            if session is None:
                found = []  # others may rightly keep from it what is of a third node
            elif session.stands:
                asked += 1
                with contextlib.suppress(OSError):
                    found, one = _asked(snapshot, node, session, one, ask)
            else:
                found = list(_off(snapshot, node, [session], one))
                if not found and owner in everybody:
                    back = (s for s in everybody[owner].neighbours if s.name == node.name)
                    found = list(_off(snapshot, everybody[owner], list(back), one))
        kept += found
        rest += [] if found else [one]
    router = node_netns(snapshot.lab.name, ROUTER)
    return [*filters.causes(snapshot.lab.name, router, kept), *rest]


def tried(lacking: Sequence[Speaking], spoken: Sequence[Speaking]) -> list[Speaking]:
    """Those that lack routes, with the sessions that one of the two might begin: who has disabled one does not even
    listen."""
    off = {(one.name, s.name) for one in spoken for s in one.neighbours if s.state == filters.DOWN}
    pairs = off | {(other, name) for name, other in off}
    return [
        replace(one, neighbours=tuple(s for s in one.neighbours if (one.name, s.name) not in pairs)) for one in lacking
    ]


def _off(snapshot: Snapshot, node: Speaking, sessions: Sequence[Session], lost: Finding) -> Iterator[Kept]:
    for one in sessions:
        if one.state == filters.DOWN and (name := _protocol(snapshot, node.name, one.name, one.address)):
            yield Kept(node.name, filters.SESSION, name, "", lost)


def _protocol(snapshot: Snapshot, node: str, other: str, address: str = "", own: str = "") -> str:
    """The name of the session of `node` with `other`, which has the `address`, or which knows it by its `own`."""
    meant = (n for one in speakers(snapshot, node) for n in one.neighbours if n.name == other)
    found = (n for n in meant if (n.address == address if address else n.own == own))
    return next((n.protocol or protocol_of(n.address) for n in found), "")


def _asked(snapshot: Snapshot, node: Speaking, session: Session, lost: Finding, ask: Ask) -> tuple[list[Kept], Finding]:
    """Who keeps the route; or its finding, with what is known more exactly."""
    cidr, bare = lost.object, _saying(lost)
    if not _shown(ask, node.name, cidr):
        back = _protocol(snapshot, session.name, node.name, own=session.address)
        if back and _shown(ask, session.name, cidr, "export", back):
            return _taken(snapshot, node, session, lost, ask)
        if back and _shown(ask, session.name, cidr, "noexport", back):
            return [Kept(session.name, filters.EXPORT, back, "", bare)], lost
        return [], lost
    states = filters.kernels(ask(node.name, "show", "protocols"), cidr)
    for kernel, state in states.items():
        if state == filters.DOWN:
            return [Kept(node.name, filters.SYNC, kernel, "", bare)], lost
        if _shown(ask, node.name, cidr, "noexport", kernel):
            return [Kept(node.name, filters.INTO, kernel, "", bare)], lost
    return [], _saying(lost, "its BIRD knows of it, and has not brought it into the kernel")


def _taken(snapshot: Snapshot, node: Speaking, one: Session, lost: Finding, ask: Ask) -> tuple[list[Kept], Finding]:
    """Of a route that the neighbour tells of, and the node does not know."""
    own, bare = _protocol(snapshot, node.name, one.name, address=one.address), _saying(lost)
    if own and (name := filters.refuses(ask(node.name, "show", "protocols", "all", own))):
        return [Kept(node.name, filters.IMPORT, own, name, bare)], lost
    return [], _saying(lost, f"its neighbour {one.address} tells of it, and its BIRD does not take it")


def _shown(ask: Ask, name: str, cidr: str, *which: str) -> bool:
    """Whether a node's BIRD shows such a route to just that network. Raises OSError where it does not answer."""
    try:
        return filters.holds(ask(name, "show", "route", cidr, *which), cidr)
    except OSError as error:
        if NONE in str(error):
            return False
        raise


def _saying(lost: Finding, why: str = "") -> Finding:
    """Its message ends with the reason, after what is missing."""
    return replace(lost, message=f"{lost.message.split(' pods: ')[0]} pods{why and f': {why}'}")
