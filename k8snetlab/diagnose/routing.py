"""Routes that routing daemons have not made, and the sessions that should have brought them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from k8snetlab.api import pools
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.families import family_of
from k8snetlab.dataplane.names import ROUTER, node_netns
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.paths import UsualPath
from k8snetlab.diagnose.sessions import Session, Speaking
from k8snetlab.render.routing.speakers import speakers
from k8snetlab.trace.way import Flow

BGP = 179
CLIENT_PORT = 40179


def missing(snapshot: Snapshot, nodes: Sequence[Speaking], everybody: Sequence[Speaking]) -> Iterator[Finding]:
    """What is the matter with `nodes`, those of `everybody` that lack routes: one that no neighbour reaches any more is
    named for all routes to and from it, else there is a finding for each route."""
    subnets = pools.nodes_led_to(snapshot.all(Node).values())
    deaf = {node.name: node for node in _deaf(nodes, everybody)}
    found = [finding for node in nodes for finding in _of(snapshot, node, subnets)]
    for name, node in deaf.items():
        with_it = [one for one in found if one.node == name or subnets.get(one.object) == name]
        found = [one for one in found if one not in with_it]
        yield _silence(snapshot, node, with_it)
    yield from found


def _deaf(nodes: Sequence[Speaking], everybody: Sequence[Speaking]) -> Iterator[Speaking]:
    """Those with no session that stands, while others have some with each other: theirs with it may seem to stand yet,
    as each forgets its neighbours in its own time."""
    for node in nodes:
        if node.problem or any(one.stands for one in node.neighbours):
            continue
        others = (one for other in everybody if other.name != node.name for one in other.neighbours)
        if any(one.stands and one.name != node.name for one in others):
            yield node


def _silence(snapshot: Snapshot, node: Speaking, with_it: Sequence[Finding]) -> Finding:
    protocol = snapshot.lab.spec.network.protocol
    return Finding(
        kind="route",
        fault="deaf",
        node=node.name,
        object=protocol,
        message=f"{node.name}: by {protocol} its daemon hears none of its {len(node.neighbours)} neighbours",
        consequence=f"{node.name} and the others have no routes to each other's pods",
        show=f"k8snetlab routing {node.name}",
        netns=node_netns(snapshot.lab.name, node.name),
        beyond=(node_netns(snapshot.lab.name, ROUTER), ""),  # where what nodes have no route for goes
        explains=tuple(one.message for one in with_it),
        needs=tuple(dict.fromkeys(path for one in with_it for path in one.needs)),
    )


def _of(snapshot: Snapshot, node: Speaking, subnets: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for each neighbour to whose pods `node` has no route; one where its daemon does not answer."""
    lab, protocol = snapshot.lab, snapshot.lab.spec.network.protocol
    netns = node_netns(lab.name, node.name)
    if node.problem:
        yield Finding(
            kind="agent",
            fault="silent",
            node=node.name,
            object=node.daemon,
            message=f"{node.name}: {node.problem}",
            consequence="the routes that it makes are missing, or are those of before",
            show=f"k8snetlab routing {node.name}",
            netns=netns,
        )
        return
    paths = tuple(needed(snapshot, node))
    for cidr in node.missing:
        name = subnets.get(cidr, "")
        if cidr in node.others:
            yield _overridden(node, netns, cidr, name)
            continue
        found = session(node, name, cidr)
        if found and (told := _refused(node, netns, found, cidr)):
            yield told
            continue
        why = _far(node) if found is None and lab.spec.underlay.links else _why(protocol, found)
        hops = " and ".join(node.detours.get(cidr, ()))
        none = f"made a route by way of {hops}, and none straight" if hops else "made no route"
        yield Finding(
            kind="route",
            fault="missing",
            node=node.name,
            object=cidr,
            message=f"{node.name}: {protocol} has {none} to {cidr}, {name}'s pods: {why}",
            consequence=f"packets of {node.name} to {name}'s pods go "
            + ("a longer way" if hops else "to its default route, or nowhere"),
            show=f"k8snetlab routing {node.name}",
            netns=netns,
            needs=tuple(path.words for path in paths if found and _is_of(path, found, lab.name)),
        )


def session(node: Speaking, name: str, cidr: str) -> Session | None:
    """The one by which a route should have come: with RIPng those of IPv6 have no names."""
    named = [one for one in node.neighbours if one.name == name]
    family = family_of(cidr)
    return next((one for one in named if (one.family or family_of(one.address)) == family), next(iter(named), None))


def _overridden(node: Speaking, netns: str, cidr: str, name: str) -> Finding:
    """FRR takes its own route away where another program's to the same network is there."""
    return Finding(
        kind="route",
        fault="wrong",
        node=node.name,
        object=cidr,
        message=f"{node.name}: instead of its daemon's route to {name}'s pods there is one that somebody else made: "
        f"{node.others[cidr]}",
        consequence=f"packets of {node.name} to {name}'s pods go where that leads",
        show=f"ip -n {netns} route show {cidr}",
        mend=f"ip -n {netns} route del {node.others[cidr]}",
        netns=netns,
    )


_REFUSALS: Mapping[str, tuple[str, str]] = {
    "Bad peer AS": ("as", "the other is of another autonomous system than is expected of it"),
    "Invalid open message": ("open", "the two do not agree on who they are"),
    "Bad BGP identifier": ("identifier", "both have the same router id"),
    "Unsupported optional parameter": ("capability", "one wants what the other does not know"),
}
"""Why BIRD ends a session that it has just begun, in a word and a sentence. Source: RFC 4271, BIRD's proto/bgp."""


def _refused(node: Speaking, netns: str, session: Session, cidr: str) -> Finding | None:
    """The route that is missing as the two neighbours reach each other, and do not agree on a session."""
    found = next((told for words, told in _REFUSALS.items() if words in session.info), None)
    if session.stands or found is None:
        return None
    number = f" (it expects {session.expects})" if session.expects and found[0] == "as" else ""
    return Finding(
        kind="route",
        fault=found[0],
        node=node.name,
        object=cidr,
        message=f"{node.name}: its session with {session.name} at {session.address} is not established: {found[1]}"
        f"{number}; {node.daemon} says: {session.info}",
        consequence=f"by it {node.name} learns no route to {session.name}'s pods {cidr}, nor {session.name} to its own",
        show=f"k8snetlab birdc {node.name} show protocols all",
        netns=netns,
    )


def all_needed(snapshot: Snapshot, nodes: Iterable[Speaking]) -> Collection[UsualPath]:
    """What `nodes` and their neighbours send each other, once each: both ends of a session may miss the other."""
    return {path.words: path for node in nodes for path in needed(snapshot, node)}.values()


def needed(snapshot: Snapshot, node: Speaking) -> Iterator[UsualPath]:
    """What a node and the neighbours that it misses send each other, whichever of the two begins: only BGP is TCP,
    which a walk can follow."""
    if snapshot.lab.spec.network.protocol != "bgp":
        return
    lab = snapshot.lab.name
    own = {one.address: one.own for speaker in speakers(snapshot, node.name) for one in speaker.neighbours}
    for one in node.neighbours:
        if not one.stands:
            yield _opening(node_netns(lab, node.name), node.name, one.address)
            if one.name and (address := own.get(one.address, "")):
                yield _opening(node_netns(lab, one.name), one.name, address)


def _is_of(path: UsualPath, session: Session, lab: str) -> bool:
    return session.address == path.flow.dst or bool(session.name and path.origin == node_netns(lab, session.name))


def _opening(netns: str, name: str, to: str) -> UsualPath:
    return UsualPath(netns, Flow("", to, "tcp", CLIENT_PORT, BGP), f"{name} {to}:{BGP}")


def _far(node: Speaking) -> str:
    """Why it has not heard of what is behind its neighbours."""
    lost = [one for one in node.neighbours if not one.stands]
    if not lost:
        return "none of its neighbours tells of them"
    first = lost[0]
    return f"it has not heard of {first.name or first.address} either, its neighbour at {first.address}"


def _why(protocol: str, session: Session | None) -> str:
    if session is None or not session.state:
        return "its daemon has heard nothing of that neighbour"
    said = f" ({session.info})" if session.info else ""
    if not session.stands:
        return f"its session with {session.address} is {session.state}{said}"
    return f"its neighbour {session.address} is {session.state}{said}, and does not tell of it"
