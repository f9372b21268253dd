"""Endpoints that no rule leads to yet, or any more: a pod that comes has one, and gets ready a moment later."""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.discovery import Endpoint, EndpointSlice
from k8snetlab.render.proxy.service import Slices


def alike(before: Slices, after: Slices) -> bool:
    """Whether a Service has the same rules with either: only idle endpoints are others, and none of them has an address
    that another endpoint has as well, of which the last would count."""
    old, new = ({piece.name: piece for piece in pieces} for pieces in (before, after))
    idle: set[str] = set()
    for name in {**old, **new}:
        pair = old.get(name), new.get(name)
        if pair[0] is pair[1]:
            continue
        if None not in pair and _frame(pair[0]) != _frame(pair[1]):
            return False
        one, other = (_led_to(piece) for piece in pair)
        if one != other:
            return False
        for endpoint in (endpoint for piece in pair if piece for endpoint in piece.endpoints):
            if not is_led_to(endpoint):
                if endpoint.hints is not None and (endpoint.hints.forZones or endpoint.hints.forNodes):
                    return False  # whether all have hints, each node decides for itself
                idle.update(endpoint.addresses[:1])
    return idle.isdisjoint(_addresses(after))


def is_led_to(endpoint: Endpoint) -> bool:
    """Whether a rule may lead to it: it is ready, or ends and serves still."""
    conditions = endpoint.conditions
    return conditions.ready is not False or (conditions.serving is not False and conditions.terminating is True)


def _frame(piece: EndpointSlice | None) -> object:
    return (piece.addressType, piece.ports, piece.metadata.labels) if piece else None


def _led_to(piece: EndpointSlice | None) -> tuple[Endpoint, ...]:
    return tuple(filter(is_led_to, piece.endpoints)) if piece else ()


def _addresses(pieces: Iterable[EndpointSlice]) -> Iterable[str]:
    return (address for piece in pieces for one in piece.endpoints if is_led_to(one) for address in one.addresses[:1])
