"""Whom nodes speak BGP with on Calico's network: its BGPConfiguration and BGPPeers, as a part of a lab file."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from k8snetlab.api.meta import Value, always

LAST_AS = 4_294_967_294
ASNumber = Annotated[int, Meta(ge=1, le=LAST_AS)]


class Community(Value):
    """A name for a BGP community, "AA:NN" or "AA:NN:MM"."""

    name: str
    value: str


class PrefixAdvertisement(Value):
    """`communities` (values, or names of such) go along with routes inside `cidr`."""

    cidr: str
    communities: tuple[str, ...]


class BGPPeer(Value):
    """Nodes (`node`, or those that `nodeSelector` selects; else all) have sessions with the node or router at `peerIP`,
    whose autonomous system they expect to be `asNumber`, or with those that `peerSelector` selects, which have them
    too. To another autonomous system a node names itself as the next hop of all routes, but with
    `keepOriginalNextHop`; from it a node believes no route whose AS path has its own system more often than
    `numAllowedLocalASNumbers`."""

    name: str = ""
    node: str = ""
    nodeSelector: str = ""
    peerIP: str = ""
    peerSelector: str = ""
    asNumber: ASNumber | None = None
    keepOriginalNextHop: bool = False
    numAllowedLocalASNumbers: Annotated[int, Meta(ge=0, le=100)] = 0


class BGP(Value):
    """With `nodeToNodeMeshEnabled` every two nodes have a session, but for route reflectors; `peers` are others."""

    nodeToNodeMeshEnabled: bool = always(True)
    peers: tuple[BGPPeer, ...] = ()
    communities: tuple[Community, ...] = ()
    prefixAdvertisements: tuple[PrefixAdvertisement, ...] = ()
