"""The endpoints of a Service's port, and those that a node sends traffic to."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.dataplane.rules import Family
from k8snetlab.render.proxy.ports import PROXY_NAME, Port, canonical
from k8snetlab.render.proxy.settings import Settings

HEADLESS = "service.kubernetes.io/headless"
ADDRESS_TYPES = {"ipv4": "IPv4", "ipv6": "IPv6"}


class Endpoint(msgspec.Struct, frozen=True):
    """`text` is "ip:port" or "[ip]:port": what the rules are sorted by, and what is hashed into a chain's name."""

    ip: str
    text: str
    node: str
    ready: bool
    serving: bool
    terminating: bool
    zone_hints: tuple[str, ...] = ()
    node_hints: tuple[str, ...] = ()


class Choice(msgspec.Struct, frozen=True):
    """`cluster` and `local` are the endpoints for either traffic policy, `reachable` their union (those with chains).

    `any` tells whether the port has a usable endpoint on any node.
    """

    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    reachable: tuple[Endpoint, ...] = ()
    any: bool = False


def endpoints_of(port: Port, slices: Iterable[EndpointSlice], settings: Settings) -> tuple[Endpoint, ...]:
    """Every endpoint of a port in its slices, sorted by "ip:port" as text.

    An address that stands there twice counts once: the last that does not terminate, else the first. A slice's port
    without a number is passed over. Source: kube-proxy 1.36 pkg/proxy, EndpointSliceCache.
    """
    found: dict[str, Endpoint] = {}
    for piece in slices:
        if not _for_family(piece, settings.family):
            continue
        numbers = [p.port for p in piece.ports if (p.name, p.protocol) == port.key and p.port]
        for number in numbers:
            for item in piece.endpoints:
                ip = canonical(item.addresses[0], settings.family) if item.addresses else ""
                if not ip:
                    continue
                text = f"[{ip}]:{number}" if settings.family == "ipv6" else f"{ip}:{number}"
                node = item.nodeName or ""
                conditions, hints = item.conditions, item.hints
                if text in found and conditions.terminating:
                    continue
                found[text] = Endpoint(
                    ip,
                    text,
                    node,
                    conditions.ready is not False,
                    conditions.serving is not False,
                    conditions.terminating is True,
                    tuple(z.name for z in hints.forZones) if hints else (),
                    tuple(n.name for n in hints.forNodes) if hints else (),
                )
    return tuple(found[text] for text in sorted(found))


def texts_of(port: Port, slices: Iterable[EndpointSlice], settings: Settings) -> set[tuple[str, int]]:
    """Address and port of every endpoint that `endpoints_of` tells of."""
    found: set[tuple[str, int]] = set()
    for piece in slices:
        if _for_family(piece, settings.family):
            ips = {canonical(item.addresses[0], settings.family) for item in piece.endpoints if item.addresses} - {""}
            numbers = [p.port for p in piece.ports if (p.name, p.protocol) == port.key and p.port]
            found.update((ip, number) for number in numbers for ip in ips)
    return found


def _for_family(piece: EndpointSlice, family: Family) -> bool:
    labels = piece.metadata.labels
    return piece.addressType == ADDRESS_TYPES[family] and HEADLESS not in labels and PROXY_NAME not in labels


def choose(port: Port, endpoints: tuple[Endpoint, ...], settings: Settings) -> Choice:
    """The endpoints this node uses: the ready ones, or where none is, those that still serve while they terminate.

    That is decided for each policy by itself.
    Source: kube-proxy pkg/proxy, CategorizeEndpoints.
    """
    ready = tuple(e for e in endpoints if e.ready)
    draining = tuple(e for e in endpoints if not e.ready and e.serving and e.terminating)
    cluster = (_near(ready, settings) or draining) if port.uses_cluster else ()
    if not port.uses_local:
        return Choice(cluster, (), cluster, bool(cluster))
    here = settings.node
    local = tuple(e for e in ready if e.node == here) or tuple(e for e in draining if e.node == here)
    reachable = {e.text: e for e in (*cluster, *local)}
    return Choice(cluster, local, tuple(reachable[text] for text in sorted(reachable)), bool(ready or draining))


def _near(ready: tuple[Endpoint, ...], settings: Settings) -> tuple[Endpoint, ...]:
    """By topology hints, where every ready endpoint has one: those for this node, else for its zone, else all."""
    if ready and all(e.node_hints for e in ready):
        same_node = tuple(e for e in ready if settings.node in e.node_hints)
        if same_node:
            return same_node
    if ready and all(e.zone_hints for e in ready):
        same_zone = tuple(e for e in ready if settings.zone in e.zone_hints)
        if same_zone:
            return same_zone
    return ready
