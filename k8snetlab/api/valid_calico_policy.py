"""What can be wrong with Calico's own kinds for policies.

Source: Calico libcalico-go/lib/validator/v3, and the schemas of the CustomResourceDefinitions, whose words these are.
What is Calico's and not brought about here is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from k8snetlab.api import addressing
from k8snetlab.api.calico_policy import (
    DEFAULT_TIER,
    PROTOCOLS,
    AnyCalicoPolicy,
    CalicoEntityRule,
    CalicoICMPFields,
    CalicoNetworkPolicy,
    CalicoNetworkPolicySpec,
    CalicoRule,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    NetworkSet,
    Port,
    policy_name,
    port_range,
    protocol_number,
)
from k8snetlab.api.calico_selector import Global, SelectorError, mentions_global, parse
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.problems import Report, dns_subdomain, place, title
from k8snetlab.api.rules import forbidden, invalid
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path, shorten, unsupported

WITH_PORTS = (6, 17, 132)
HINT = "AssumeNeededOnEveryNode"
KINDS = (CalicoNetworkPolicy, GlobalNetworkPolicy, NetworkSet, GlobalNetworkSet)
MOST_RULES, MOST_NETS, MOST_PORTS = 1024, 256, 50
NAMESPACE_LABEL = "projectcalico.org/namespace"
NO_TIERS = f"there is one tier here, {DEFAULT_TIER}; leave it out"
NO_HOSTS = "it is for host endpoints, of which a lab has none"
NO_SOURCE_PORTS = (
    "ports of senders are not matched here: they are the kernel's choice, and no answer could say what passes"
)
NOWHERE = "services are not matched here; write a selector of the pods, and their ports"
ONLY_CALICO = "enforced by Calico's network alone (spec.network.backend: calico)"
GLOBAL_ONLY = "global() can only be used in an EntityRule namespaceSelector"
GLOBAL_ALONE = "global() cannot be combined with other selectors"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)?\Z")


def calico_policy(report: Report, obj: AnyCalicoPolicy, world: Snapshot) -> None:
    _Look(report, obj, world).policy()


def network_set(report: Report, obj: NetworkSet | GlobalNetworkSet, world: Snapshot) -> None:
    look = _Look(report, obj, world)
    look.elsewhere()
    if NAMESPACE_LABEL in obj.metadata.labels:
        look.error(("metadata", "labels"), f"{NAMESPACE_LABEL} is not a valid label name")
    for number, text in enumerate(obj.spec.nets):
        look.network(("spec", "nets", number), text, strict=False)


def kept(report: Report, lab: Lab, world: Snapshot) -> None:
    """Whether a lab that gives Calico's network up has such objects still, beside those that are looked at now."""
    if lab.spec.network.calico:
        return
    them = [obj for kind in KINDS for obj in world.all(kind).values() if not report.holds(obj)]
    if them:
        more = f" and {len(them) - 1} more" if len(them) > 1 else ""
        why = f"{title(them[0])}{more} {'are' if more else 'is'} {ONLY_CALICO}: delete {'them' if more else 'it'} first"
        report.error(lab, ("spec", "network", "backend"), why)


class _Look:
    def __init__(self, report: Report, obj: Object, world: Snapshot) -> None:
        self.report, self.obj, self.world = report, obj, world

    def error(self, path: Path, message: str) -> None:
        self.report.error(self.obj, path, message)

    def elsewhere(self) -> None:
        if self.world.all(Lab) and not self.world.lab.spec.network.calico:
            backend = self.world.lab.spec.network.backend
            self.error(
                ("kind",), f"{self.obj.API_VERSION} {self.obj.KIND} is {ONLY_CALICO}, and this lab's is {backend}"
            )

    def policy(self) -> None:
        obj = self.obj
        assert isinstance(obj, CalicoNetworkPolicy | GlobalNetworkPolicy)
        self.elsewhere()
        self._named(obj)
        spec = obj.spec
        if spec.tier not in ("", DEFAULT_TIER):
            self.error(("spec", "tier"), invalid(spec.tier, NO_TIERS))
        if spec.order is not None and not math.isfinite(spec.order):
            self.error(("spec", "order"), invalid(str(spec.order), "must be a finite number"))
        self._selectors(("spec",), spec, ("selector", "serviceAccountSelector"))
        if isinstance(obj, GlobalNetworkPolicy):
            self._global(obj)
        self._listed(spec)
        for field, rules in (("ingress", spec.ingress), ("egress", spec.egress)):
            self._many(("spec", field), rules, MOST_RULES)
            for number, rule in enumerate(rules):
                self._rule(("spec", field, number), rule)

    def _listed(self, spec: CalicoNetworkPolicySpec) -> None:
        for number, kind in enumerate(spec.types):
            if kind in spec.types[:number]:
                self.error(("spec", "types", number), f"'{kind}' type specified more than once")
        for number, hint in enumerate(spec.performanceHints):
            if hint != HINT:
                self.error(("spec", "performanceHints", number), unsupported(hint, (HINT,)))

    def _global(self, obj: GlobalNetworkPolicy) -> None:
        self._selectors(("spec",), obj.spec, ("namespaceSelector",))
        for field in ("doNotTrack", "preDNAT", "applyOnForward"):
            if getattr(obj.spec, field):
                self.error(("spec", field), forbidden(NO_HOSTS))

    def _named(self, obj: AnyCalicoPolicy) -> None:
        if dns_subdomain(obj.name):
            return  # said already
        if not _NAME.match(obj.name):
            why = "a policy's name has lower case letters, digits and '-', and at most one '.'"
            self.error(("metadata", "name"), invalid(obj.name, why))
        for other in self.world.all(type(obj)).values():
            same = other.namespace == obj.namespace and policy_name(other) == policy_name(obj)
            if same and self.report.earlier(other, obj):
                why = f"is the same policy as {place(other)}: Calico drops default. before a name"
                self.error(("metadata", "name"), f"{obj.name} {why}")

    # --- rules ---

    def _rule(self, path: Path, rule: CalicoRule) -> None:
        if rule.ipVersion not in (None, 4, 6):
            self.error((*path, "ipVersion"), f'Unsupported value: {rule.ipVersion}: supported values: "4", "6"')
        for field in ("http", "metadata"):
            if getattr(rule, field) is not None:
                self.error((*path, field), forbidden(_NOT_HERE[field]))
        for field in ("protocol", "notProtocol"):
            self._protocol((*path, field), getattr(rule, field), rule)
        self._icmp((*path, "icmp"), rule.icmp)
        self._icmp((*path, "notICMP"), rule.notICMP)
        for field in ("icmp", "notICMP"):
            if getattr(rule, field) is not None and protocol_number(rule.protocol or 0) not in (1, 58):
                self.error((*path, field), "ICMP fields require protocol to be ICMP or ICMPv6")
        for field in ("source", "destination"):
            self._end((*path, field), getattr(rule, field), rule)
        self._versions(path, rule)

    def _protocol(self, path: Path, protocol: int | str | None, rule: CalicoRule) -> None:
        if protocol is None:
            return
        number = protocol_number(protocol)
        if not number:
            names = ", ".join(PROTOCOLS)
            self.error(path, invalid(protocol, f"is none of {names}, and no number from 1 to 255"))
        for one, version, name in ((1, 4, "ICMP"), (58, 6, "ICMPv6")):
            if number == one and rule.ipVersion not in (None, version):
                self.error(path, f"protocol {name} requires ipVersion {version}")

    def _icmp(self, path: Path, icmp: CalicoICMPFields | None) -> None:
        if icmp is None:
            return
        if icmp.code is not None and icmp.type is None:
            self.error((*path, "code"), "ICMP code specified without an ICMP type")
        for field, value, most in (("type", icmp.type, 254), ("code", icmp.code, 255)):
            if value is not None and not 0 <= value <= most:
                self.error((*path, field), invalid(value, f"must be between 0 and {most}, inclusive"))

    def _end(self, path: Path, end: CalicoEntityRule, rule: CalicoRule) -> None:
        self._selectors(path, end, ("selector", "notSelector"))
        self._spaces((*path, "namespaceSelector"), end.namespaceSelector)
        if end.services is not None:
            self.error((*path, "services"), forbidden(NOWHERE))
        if end.serviceAccounts is not None:
            self._selectors((*path, "serviceAccounts"), end.serviceAccounts, ("selector",))
            for number, name in enumerate(end.serviceAccounts.names):
                if problem := dns_subdomain(name):
                    self.error((*path, "serviceAccounts", "names", number), problem)
        for field in ("ports", "notPorts"):
            self._ports((*path, field), getattr(end, field), rule)
        for field in ("nets", "notNets"):
            self._many((*path, field), getattr(end, field), MOST_NETS)
            for number, text in enumerate(getattr(end, field)):
                self.network((*path, field, number), text, whole=field == "notNets")

    def _spaces(self, path: Path, text: str) -> None:
        try:
            found = parse(text)
        except SelectorError as error:
            self._unread(path, text, error)
            return
        if mentions_global(found) and not isinstance(found, Global):
            self.error(path, invalid(text, GLOBAL_ALONE))

    def _ports(self, path: Path, ports: Sequence[Port], rule: CalicoRule) -> None:
        self._many(path, ports, MOST_PORTS)
        if ports and path[-2] == "source":
            self.error(path, forbidden(NO_SOURCE_PORTS))
            return
        numbers = False
        for number, port in enumerate(ports):
            try:
                numbers |= port_range(port) is not None
            except ValueError as error:
                self.error((*path, number), invalid(port, str(error)))
        if rule.protocol is None and numbers:
            self.error(path, "rules with numeric port or port range must set protocol to TCP or UDP or SCTP")
        elif ports and rule.protocol is not None and protocol_number(rule.protocol) not in WITH_PORTS:
            self.error(path, "rules that specify ports must set protocol to TCP or UDP or SCTP")

    def network(self, path: Path, text: str, strict: bool = True, whole: bool = False) -> None:
        """A network; `strict`: without bits of a host. `whole`: all addresses are none."""
        try:
            found = addressing.api_network(text, strict=strict)
        except ValueError as error:
            self.error(path, str(error))
            return
        if whole and not found.prefixlen:
            why = "catch-all CIDR in negation creates logical contradiction (matches no traffic)"
            self.error(path, invalid(text, why))

    def _versions(self, path: Path, rule: CalicoRule) -> None:
        """Nets of two IP versions, or of another than the rule's."""
        seen = {rule.ipVersion} if rule.ipVersion in (4, 6) else set()
        for where, text in _nets(path, rule):
            try:
                version = addressing.api_network(text, strict=False).version
            except ValueError:
                continue
            if seen and version not in seen:
                said = "rule IP version doesn't match CIDR version" if rule.ipVersion else ""
                self.error(where, invalid(text, said or "rule contains both IPv4 and IPv6 CIDRs"))
                return
            seen.add(version)

    # --- bounds and selectors ---

    def _selectors(self, path: Path, value: Any, fields: tuple[str, ...]) -> None:
        for field in fields:
            text = getattr(value, field)
            try:
                found = parse(text)
            except SelectorError as error:
                self._unread((*path, field), text, error)
                continue
            if mentions_global(found):
                self.error((*path, field), invalid(text, GLOBAL_ONLY))

    def _unread(self, path: Path, text: str, error: SelectorError) -> None:
        self.error(path, f'Invalid value: "{shorten(text)}": {error}')

    def _many(self, path: Path, items: Sequence[object], most: int) -> None:
        if len(items) > most:
            self.error(path, f"Too many: {len(items)}: must have at most {most} items")


_NOT_HERE = {
    "http": "requests are not read here, as they are not by Calico without Istio's proxies; write ports",
    "metadata": "notes on rules are kept nowhere here; write a comment in the file",
}


def _nets(path: Path, rule: CalicoRule) -> Iterator[tuple[Path, str]]:
    for side, end in (("source", rule.source), ("destination", rule.destination)):
        for field in ("nets", "notNets"):
            for number, text in enumerate(getattr(end, field)):
                yield (*path, side, field, number), text
