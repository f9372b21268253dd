"""kube-proxy of one node in one IP family: its rules (and flannel's few) in the kernel, and what it does besides.

A Service whose rules the kernel refuses stays as it was, or away where it is new; all others go on.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from k8snetlab.agent.rules import RulesKeeper
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.rules import Family, RuleDelta, RuleSet
from k8snetlab.errors import KernelError
from k8snetlab.kernel import conntrack
from k8snetlab.kernel.iptables import Iptables
from k8snetlab.kernel.iptables.command import RestoreRefused
from k8snetlab.render import hostports
from k8snetlab.render.node import pods_of
from k8snetlab.render.proxy import NOTHING, HealthCheck, ProxyRules, Shared, health_checks, stale_udp
from k8snetlab.render.proxy.service import ServiceRules

ANY_ADDRESS: dict[Family, str] = {"ipv4": "0.0.0.0", "ipv6": "::"}


class KubeProxy:
    """`counters` tells whether the namespace has kube-proxy's nfacct counters."""

    def __init__(self, node: str, iptables: Iptables, shared: Shared, counters: bool) -> None:
        self._node, self._iptables, self._shared, self._counters = node, iptables, shared, counters
        self._keeper = RulesKeeper(iptables)
        self._flannel: tuple[RuleSet, ...] = ()
        self._wanted: ProxyRules | None = None
        self._written: ProxyRules | None = None
        self._refused: dict[Key, RestoreRefused] = {}
        self._checked: object = None
        self._udp: Mapping[tuple[str, int], frozenset[str]] = {}
        self.checks: Mapping[int, HealthCheck] = {}
        """What the healthCheckNodePorts answer, by port."""

    @property
    def failure(self) -> KernelError | None:
        """The Services that the kernel does not take, with the line it stumbled over."""
        if not self._refused:
            return None
        (namespace, name), refusal = next(iter(self._refused.items()))
        others = f" and {len(self._refused) - 1} more" if len(self._refused) > 1 else ""
        hint = "the rules of all other Services are written; this one is tried again"
        return KernelError(f"Service {namespace}/{name}{others}: {refusal.message}", hint, refusal.line)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where NodePorts and health checks listen."""
        held = self._wanted.settings.node_port_addresses if self._wanted else ()
        return (ANY_ADDRESS[self._iptables.family],) if held is None else held

    def suspect(self) -> None:
        self._keeper.suspect()

    def foreign_change(self) -> bool:
        return self._keeper.foreign_change()

    def drift(self) -> list[str]:
        return self._keeper.drift()

    def sync(self, snapshot: Snapshot, flannel: tuple[RuleSet, ...], trusting: bool = False) -> int:
        """Returns the number of chains and jumps that were changed. Raises KernelError when no Service is to blame."""
        old, delta = self._wanted, None
        if old is None:
            wanted = ProxyRules.build(snapshot, self._node, self._iptables.family, self._counters, self._shared)
        else:
            wanted, delta = old.update(snapshot)
            if self._refused or flannel != self._flannel or wanted.settings != old.settings:
                delta = None
        self._wanted, self._flannel = wanted, flannel
        try:
            count = self._write(wanted, delta, trusting)
            self._refused = {}
        except RestoreRefused as refusal:
            if not refusal.line:
                raise  # no rule is to blame: it was killed, or found no memory
            count = self._write_apart(wanted, refusal)
        udp = hostports.serving_udp(pods_of(snapshot, self._node), self._iptables.family)
        if new := {port: ends for port, ends in udp.items() if self._udp.get(port) != ends}:
            conntrack.forget_udp(self._iptables.namespace, self._iptables.family, new)
        self._udp = udp
        if self._checked is not wanted.services:
            self._checked, self.checks = wanted.services, health_checks(wanted)
        return count

    def _write(self, rules: ProxyRules, delta: RuleDelta | None = None, trusting: bool = False) -> int:
        # A pod comes when kube-proxy is there already: portmap's jumps are put in last.
        late = [one for one in self._flannel if one.prefixes == names.PORTMAP_CHAINS]
        wanted = (*(one for one in self._flannel if one not in late), rules.ruleset, *late)
        count = self._keeper.sync(wanted, delta, trusting)
        # A new agent knows nothing of what went before it: every UDP Service is looked at, as kube-proxy does.
        before = self._written or msgspec.structs.replace(rules, services={})
        self._written = rules
        if rules.services is not before.services and (stale := stale_udp(before, rules)):
            conntrack.forget_udp(self._iptables.namespace, self._iptables.family, stale)
        return count

    def _standing(self, wanted: ProxyRules) -> Mapping[Key, ServiceRules]:
        """The Services that a new agent finds in the kernel: they work, and must go on as they are."""
        held = self._iptables.save()
        return {
            key: msgspec.structs.replace(rules, chains={chain: tuple(held[chain]) for chain in rules.chains})
            for key, rules in wanted.services.items()
            if held.keys() >= rules.chains.keys()
        }

    def _write_apart(self, wanted: ProxyRules, refusal: RestoreRefused) -> int:
        """Writes what the kernel takes: first nothing new, then the new rules by halves of the Services, down to one.

        Those that were refused before come last, so that they are not in the way of the others again.
        """
        written = self._written
        if written is None:
            before = self._standing(wanted)
        else:
            before = written.services if written.settings == wanted.settings else {}
        changed = [key for key, rules in wanted.services.items() if before.get(key) is not rules]
        suspects = [key for key in changed if key in self._refused]
        groups = [[key for key in changed if key not in self._refused], suspects]
        good = {key: before.get(key, NOTHING) for key in changed}
        try:
            count = self._write(wanted.with_services(good))
        except RestoreRefused:
            raise refusal from None
        self._refused, clean = {}, True
        while groups:
            group = groups.pop(0)
            trial = {key: rules for key, rules in good.items() if key not in group}
            if trial == good:
                continue
            try:
                count += self._write(wanted.with_services(trial))
                good, clean = trial, True
            except RestoreRefused as refused:
                clean = False
                half = len(group) // 2
                if half:
                    groups[:0] = [group[:half], group[half:]]
                else:
                    self._refused[group[0]] = refused
        if not clean:
            count += self._write(wanted.with_services(good))
        return count
