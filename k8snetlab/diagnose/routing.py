"""Routes that routing daemons have not made, and the sessions that should have brought them."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import node_netns
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.paths import UsualPath
from k8snetlab.diagnose.sessions import Session, Speaking
from k8snetlab.trace.way import Flow

BGP = 179
CLIENT_PORT = 40179


def missing(snapshot: Snapshot, node: Speaking) -> Iterator[Finding]:
    """One finding for each neighbour to whose pods `node` has no route."""
    lab, protocol = snapshot.lab, snapshot.lab.spec.network.backend
    netns = node_netns(lab.name, node.name)
    if node.problem and node.missing:
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
    subnets = {cidr: other.name for other in snapshot.all(Node).values() for cidr in other.podCIDRs}
    for cidr in node.missing:
        name = subnets.get(cidr, "")
        session = next((one for one in node.neighbours if one.name == name), None)
        yield Finding(
            kind="route",
            fault="missing",
            node=node.name,
            object=cidr,
            message=f"{node.name}: {protocol} has made no route to {cidr}, {name}'s pods: {_why(protocol, session)}",
            consequence=f"packets of {node.name} to {name}'s pods go to its default route, or nowhere",
            show=f"k8snetlab routing {node.name}",
            netns=netns,
            needs=tuple(path.words for path in needed(snapshot, node) if session and path.flow.dst == session.address),
        )


def needed(snapshot: Snapshot, node: Speaking) -> Iterator[UsualPath]:
    """What a node sends to the neighbours that it misses: only BGP is TCP, which a walk can follow."""
    if snapshot.lab.spec.network.backend != "bgp":
        return
    netns = node_netns(snapshot.lab.name, node.name)
    for one in node.neighbours:
        if not one.stands:
            yield UsualPath(netns, Flow("", one.address, "tcp", CLIENT_PORT, BGP), f"{node.name} {one.address}:{BGP}")


def _why(protocol: str, session: Session | None) -> str:
    if session is None or not session.state:
        return "its daemon has heard nothing of that neighbour"
    said = f" ({session.info})" if session.info else ""
    if not session.stands:
        return f"its session with {session.address} is {session.state}{said}"
    return f"its neighbour {session.address} is {session.state}{said}, and does not tell of it"
