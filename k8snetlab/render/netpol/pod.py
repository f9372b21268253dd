"""One pod's chain, KUBE-POD-FW-, and what leads into it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from k8snetlab.api.snapshot import Key
from k8snetlab.dataplane.names import (
    ALLOWED_MARK,
    KUBE_NWPLCY_COMMON,
    KUBE_NWPLCY_DEFAULT,
    KUBE_ROUTER,
    NEXT_TIER_MARK,
    PASSED_MARK,
)
from k8snetlab.dataplane.rules import ChainKey, Family, Rules
from k8snetlab.policies.shapes import Direction, Policy, Tier
from k8snetlab.render.netpol import names, policy

INPUT, FORWARD, OUTPUT = (ChainKey("filter", KUBE_ROUTER + hook) for hook in ("INPUT", "FORWARD", "OUTPUT"))
ALLOWED, PASSED = names.mark(ALLOWED_MARK), names.mark(PASSED_MARK)
_BIT_ALLOWED, _BIT_NEXT, _BITS = (f"{one:#x}" for one in (ALLOWED_MARK, NEXT_TIER_MARK, ALLOWED_MARK | NEXT_TIER_MARK))
_UNDECIDED = f"-m mark --mark 0x0/{_BITS}"
"""By no policy of this tier or one before it."""


class Judging(NamedTuple):
    """A policy that selects a pod, as far as the pod's chain tells of it."""

    key: Key
    tier: Tier
    directions: tuple[Direction, ...]


class Asked(NamedTuple):
    """All that the rules of a pod's own say."""

    pod: Key
    address: str
    family: Family
    judging: tuple[Judging, ...]


class Said(NamedTuple):
    """A pod's chain, and what leads into it."""

    chain: ChainKey
    rules: Rules
    leading: Mapping[ChainKey, Rules]


@lru_cache(maxsize=1 << 13)
def judging(one: Policy) -> Judging:
    return Judging(one.key, one.tier, policy.directions_of(one))


@lru_cache(maxsize=1 << 14)
def said(asked: Asked) -> Said:
    chain = names.pod_chain(*asked.pod)
    return Said(ChainKey("filter", chain), _pod(asked), _lead(asked, chain))


def _pod(asked: Asked) -> Rules:
    """What goes to a pod and what comes from it, in one chain."""
    family, length = asked.family, "/32" if asked.family == "ipv4" else "/128"
    ways: dict[Direction, str] = {"egress": f"-s {asked.address}{length}", "ingress": f"-d {asked.address}{length}"}
    tiers: dict[Tier, list[tuple[Direction, str]]] = {"Admin": [], "NetworkPolicy": [], "Baseline": []}
    for one in asked.judging:
        for direction in one.directions:
            chain = names.policy_chain(*one.key, direction, family)
            undecided = "" if one.tier == "NetworkPolicy" else f" {_UNDECIDED}"
            comment = names.comment(*one.key, "policy")
            tiers[one.tier].append((direction, f"{ways[direction]} {comment}{undecided} -j {chain}"))
    isolated = {direction for direction, _ in tiers["NetworkPolicy"]}
    baseline = [jump for direction, jump in tiers["Baseline"] if direction not in isolated]
    defaults = [
        f"{match} {names.said(f'default {direction}')} -j {KUBE_NWPLCY_DEFAULT}"
        for direction, match in ways.items()
        if direction not in isolated
    ]
    jumps = [jump for _, jump in tiers["NetworkPolicy"]]
    tiered = tiers["Admin"] or tiers["Baseline"]
    unmarked = f"-m mark ! --mark {ALLOWED}"
    log, refuse = (names.comment(*asked.pod, kind) for kind in ("log-drop", "reject"))
    return (
        f"{names.said('common netpol rules')} -j {KUBE_NWPLCY_COMMON}",
        f"{ways['ingress']} {names.said('from local node')} -m addrtype --src-type LOCAL -j ACCEPT",
        *((f"{ways['egress']} {ways['ingress']} {names.said('to itself')} -j ACCEPT",) if tiered else ()),
        *(jump for _, jump in tiers["Admin"]),
        *((f"-j MARK --set-xmark 0x0/{_BIT_NEXT}", *baseline) if baseline else ()),
        *defaults,
        *jumps,
        f"{log} {unmarked} -m limit --limit 10/min --limit-burst 10 -j NFLOG --nflog-group 100",
        f"{refuse} {unmarked} {names.rejection(family)}",
        f"-j MARK --set-xmark 0x0/{_BITS if tiered else _BIT_ALLOWED}",
        f"{names.said('set netpol-ok mark')} -j MARK --set-xmark {PASSED}",
    )


def _lead(asked: Asked, chain: str) -> Mapping[ChainKey, Rules]:
    """Into a pod's chain: what is routed to it or from it, and what its bridge carries on."""
    length = "/32" if asked.family == "ipv4" else "/128"
    into, out = (names.comment(*asked.pod, kind) for kind in ("in", "out"))
    bridged = "-m physdev --physdev-is-bridged"
    inward, outward = f"-d {asked.address}{length}", f"-s {asked.address}{length}"
    both, away = f"{inward} {into} -j {chain}", f"{outward} {out} -j {chain}"
    carried, back = f"{inward} {bridged} {into} -j {chain}", f"{outward} {bridged} {out} -j {chain}"
    return {INPUT: (away,), FORWARD: (both, carried, away, back), OUTPUT: (both, away)}
