"""Calico's own policies of a snapshot to their resolved form; what has not changed is kept.

What namespaces and service accounts a rule names becomes one selector, as Calico's own processors make it.
Source: Calico libcalico-go/lib/backend/syncersv1/updateprocessors (rules.go, networkpolicyprocessor.go …).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from k8snetlab.api.addressing import api_network
from k8snetlab.api.calico_policy import (
    PROTOCOLS,
    AnyCalicoPolicy,
    CalicoEntityRule,
    CalicoICMPFields,
    CalicoNetworkPolicy,
    CalicoServiceAccountMatch,
    GlobalNetworkPolicy,
    policy_name,
    port_range,
    protocol_number,
)
from k8snetlab.api.calico_policy import CalicoRule as Written
from k8snetlab.api.calico_policy import Port as WrittenPort
from k8snetlab.api.calico_selector import All, Among, Compared, Global, Has, Node, Not, both, parse, prefixed
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.words import Path
from k8snetlab.policies.calico_selecting import ACCOUNT, NAMESPACE, OF_ACCOUNT, OF_NAMESPACE, CalicoSelection, Question
from k8snetlab.policies.calico_shapes import ICMP, LAST, CalicoPolicy, CalicoRule, CalicoSide, Selected
from k8snetlab.policies.ends import Port, PortRange
from k8snetlab.policies.selecting import Selection, named_port

NAMES = {number: name for name, number in PROTOCOLS.items()}
WITH_NAMES = ("TCP", "UDP", "SCTP")
NOTHING: Mapping[Key, CalicoPolicy] = {}


class CalicoResolver:
    """Keeps what it found; one for each who asks."""

    def __init__(self) -> None:
        self._selection: CalicoSelection | None = None
        self._made: dict[Key, _Made] = {}
        self._found = NOTHING

    def update(self, snapshot: Snapshot, selection: Selection) -> Mapping[Key, CalicoPolicy]:
        """In the order in which they are asked; the same value as before where nothing has changed."""
        them = _written(snapshot)
        if not them:
            self._selection, self._made, self._found = None, {}, NOTHING
            return NOTHING
        self._selection = CalicoSelection(snapshot, selection, self._selection)
        made: dict[Key, _Made] = {}
        for policy in them:
            key = key_of(policy)
            old = self._made.get(key)
            if old is None or old.of is not policy or not old.stands(self._selection):
                resolving = _Resolving(policy, self._selection)
                found = resolving.policy()
                old = _Made(policy, tuple(resolving.asked), tuple(resolving.answers), found)
            made[key] = old
        same = len(made) == len(self._made) and all(made[key] is self._made.get(key) for key in made)
        if not same:
            found_now = sorted((one.found for one in made.values()), key=lambda one: one.place)
            self._found = {one.key: one for one in found_now}
        self._made = made
        return self._found


class _Made(NamedTuple):
    """A policy, what it asked, what it was answered, and what became of it."""

    of: AnyCalicoPolicy
    asked: tuple[Question, ...]
    answers: tuple[Selected, ...]
    found: CalicoPolicy

    def stands(self, selection: CalicoSelection) -> bool:
        return all(selection.selected(one) is before for one, before in zip(self.asked, self.answers, strict=True))


def _written(snapshot: Snapshot) -> list[AnyCalicoPolicy]:
    """None where the network is not Calico's: nobody enforces them there."""
    if snapshot.all(Lab) and not snapshot.lab.spec.network.calico:
        return []
    return written(snapshot)


def written(snapshot: Snapshot) -> list[AnyCalicoPolicy]:
    return [*snapshot.all(CalicoNetworkPolicy).values(), *snapshot.all(GlobalNetworkPolicy).values()]


def key_of(policy: AnyCalicoPolicy) -> Key:
    """By which a policy is known among all."""
    return (f"np/{policy.namespace}" if policy.namespaced else "gnp", policy_name(policy))


class _Resolving:
    """One policy. `asked` are its selectors, `answers` those to them."""

    def __init__(self, policy: AnyCalicoPolicy, selection: CalicoSelection) -> None:
        self.of, self.selection, self.key = policy, selection, key_of(policy)
        self.asked: list[Question] = []
        self.answers: list[Selected] = []

    def policy(self) -> CalicoPolicy:
        spec = self.of.spec
        chosen = self._selected(_own_selector(self.of))
        order = LAST if spec.order is None else float(spec.order)
        ingress, egress = (
            tuple(self._rule(("spec", field, number), rule) for number, rule in enumerate(rules))
            if kind in spec.types
            else None
            for field, kind, rules in (("ingress", "Ingress", spec.ingress), ("egress", "Egress", spec.egress))
        )
        return CalicoPolicy(self.key, self.of.source, order, chosen.selector, chosen.ends, ingress, egress)

    def _selected(self, node: Node) -> Selected:
        question = (str(node), node)
        found = self.selection.selected(question)
        self.asked.append(question)
        self.answers.append(found)
        return found

    def _rule(self, path: Path, rule: Written) -> CalicoRule:
        protocol = _protocol(rule.protocol)
        return CalicoRule(
            path,
            rule.action,
            self._side((*path, "source"), rule.source, protocol),
            self._side((*path, "destination"), rule.destination, protocol),
            rule.ipVersion or 0,
            protocol,
            _protocol(rule.notProtocol),
            _icmp(rule.icmp),
            _icmp(rule.notICMP),
        )

    def _side(self, path: Path, end: CalicoEntityRule, protocol: str) -> CalicoSide:
        positive = peer_selector(end, self.of.namespace)
        negative = parse(end.notSelector) if end.notSelector.strip() else None
        if positive is not None and negative is not None:
            positive, negative = both(positive, Not(negative)), None
        chosen = self._selected(positive) if positive is not None else None
        return CalicoSide(
            path,
            tuple(api_network(text, strict=False) for text in end.nets),
            tuple(api_network(text, strict=False) for text in end.notNets),
            chosen,
            self._selected(negative) if negative is not None else None,
            self._ports((*path, "ports"), end.ports, protocol, chosen),
            self._ports((*path, "notPorts"), end.notPorts, protocol, chosen),
        )

    def _ports(
        self, path: Path, ports: tuple[WrittenPort, ...], protocol: str, chosen: Selected | None
    ) -> tuple[Port, ...]:
        found: list[Port] = []
        for number, port in enumerate(ports):
            numbers = port_range(port)
            if numbers is not None:
                found.append(PortRange((*path, number), protocol, *numbers))
                continue
            ends = (chosen or self._selected(All())).ends
            found += (
                named_port((*path, number), one, str(port), ends) for one in ([protocol] if protocol else WITH_NAMES)
            )
        return tuple(found)


def _protocol(protocol: int | str | None) -> str:
    """By its name, where it has one."""
    number = protocol_number(protocol) if protocol is not None else 0
    return NAMES.get(number, str(number)) if number else ""


def _icmp(icmp: CalicoICMPFields | None) -> ICMP | None:
    return None if icmp is None or icmp.type is None else (icmp.type, icmp.code)


# --- selectors ------------------------------------------------------------------------------------------------------


def _own_selector(policy: AnyCalicoPolicy) -> Node:
    """Of the pods that a policy is for."""
    spec = policy.spec
    found = parse(spec.selector) if spec.selector.strip() else None
    if isinstance(policy, CalicoNetworkPolicy):
        home = Compared(NAMESPACE, "==", policy.namespace)
        found = both(found, home) if found is not None else home
    elif isinstance(policy, GlobalNetworkPolicy) and policy.spec.namespaceSelector.strip():
        spaces = prefixed(parse(policy.spec.namespaceSelector), OF_NAMESPACE)
        found = _workloads(both(found, spaces) if found is not None else spaces, NAMESPACE)
    if spec.serviceAccountSelector.strip():
        accounts = prefixed(parse(spec.serviceAccountSelector), OF_ACCOUNT)
        found = both(found, accounts) if found is not None else accounts
        found = found if policy.namespaced else _workloads(found, ACCOUNT)
    return found or All()


def peer_selector(end: CalicoEntityRule, namespace: str) -> Node | None:
    """Of the pods and sets that one end of a rule means, without its notSelector; None where it names none. `namespace`
    is the policy's, "" where it has none."""
    spaces: Node | None = None
    if end.namespaceSelector.strip():
        spaces = _workloads(prefixed(parse(end.namespaceSelector), OF_NAMESPACE), NAMESPACE)
    elif namespace:
        spaces = Compared(NAMESPACE, "==", namespace)
    parts = [_accounts(end.serviceAccounts), parse(end.selector) if end.selector.strip() else None]
    said = [part for part in parts if part is not None]
    wanted = both(*said) if said else None
    if spaces is None:
        return wanted
    if wanted is not None:
        return both(spaces, wanted)
    return spaces if end.notSelector.strip() or end.namespaceSelector.strip() else None


def _accounts(match: CalicoServiceAccountMatch | None) -> Node | None:
    if match is None:
        return None
    chosen = prefixed(parse(match.selector), OF_ACCOUNT) if match.selector.strip() else None
    if not match.names:
        return chosen
    named = Among(ACCOUNT, True, tuple(sorted(set(match.names))))
    return both(chosen, named) if chosen is not None else named


def _workloads(node: Node, label: str) -> Node:
    """all() as what has the label, global() as what has not."""

    def change(leaf: Node) -> Node:
        if isinstance(leaf, All):
            return Has(label)
        return Not(Has(label)) if isinstance(leaf, Global) else leaf

    return node.mapped(change)
