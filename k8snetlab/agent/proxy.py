"""kube-proxy of one node: its rules in the kernel, and what it does besides.

A Service whose rules the kernel refuses stays as it was, or away where it is new; all others go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from k8snetlab.agent.additions import AddedCounters
from k8snetlab.agent.protocol import Manager
from k8snetlab.agent.table_part import RuleSets, TablePart, Write
from k8snetlab.api.selection import is_proxied_by_guest
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.workload import HealthWork
from k8snetlab.dataplane.names import HOST_NETNS, KUBE_PROXY_CHAINS, KUBE_PROXY_NFACCT, KUBE_ROUTER_CHAINS, is_host
from k8snetlab.dataplane.rules import ChainKey, Family, RuleDelta
from k8snetlab.errors import KernelError
from k8snetlab.kernel import conntrack, fault, nfacct
from k8snetlab.kernel.iptables import Iptables, RestoreRefused
from k8snetlab.render.proxy import (
    COUNTERS,
    NOTHING,
    HealthCheck,
    ProxyRules,
    ServiceRules,
    Shared,
    health_checks,
    stale_udp,
)

ANY_ADDRESS: dict[Family, str] = {"ipv4": "0.0.0.0", "ipv6": "::"}


class KubeProxy(Manager):
    """Its rules are worked out by what has changed, and told apart by Service where the kernel refuses some."""

    _tables: tuple[ProxyPart, ...] = ()

    def table_part(self, iptables: Iptables) -> ProxyPart:
        left = self.around.locks / f"{self.node}.{iptables.family}.{iptables.variant}.left"

        def counters() -> bool:
            return self._has_counters(iptables)

        part = ProxyPart(self.name, self.node, iptables, self.around.shared, counters=counters, left=left)
        others = [one for one in self._tables if one.family != iptables.family]
        self._tables = tuple(sorted((*others, part), key=lambda one: one.family))
        return part

    def settled(self, snapshot: Snapshot, namespace: str) -> None:
        """Has the healthCheckNodePorts answered as it is now."""
        if not self._tables:
            return
        checks = {port: check for part in reversed(self._tables) for port, check in part.checks.items()}
        self.health = HealthWork(
            namespace,
            {port: (check.status, msgspec.json.encode(check.body).decode()) for port, check in checks.items()},
            addresses=tuple(address for part in self._tables for address in part.addresses),
        )

    def _has_counters(self, iptables: Iptables) -> bool:
        """Makes kube-proxy's nfacct counters, where kernel and iptables have what it takes."""
        namespace, owner = iptables.namespace, self.around.owner
        if is_host(namespace) and (missing := tuple(sorted({*COUNTERS} - nfacct.held(HOST_NETNS)))):
            owner.own_additions([AddedCounters(missing)])
        if not nfacct.ensure(namespace, COUNTERS):
            return False
        return _matches_counters(iptables)


_matching: set[tuple[str, Family]] = set()
"""The variants and families in which this machine has iptables' match nfacct: each was tried in one namespace."""
_trial = threading.Lock()


def _matches_counters(iptables: Iptables) -> bool:
    chain = ChainKey("filter", KUBE_PROXY_NFACCT)
    with _trial:
        if (iptables.variant, iptables.family) in _matching:
            return True
        if not iptables.knows(RuleDelta(iptables.family, {chain: (f"-m nfacct --nfacct-name {COUNTERS[0]}",)})):
            return False
        _matching.add((iptables.variant, iptables.family))
    return True


class ProxyPart(TablePart):
    """kube-proxy's rules in one IP family. `counters` tells whether the namespace has its nfacct counters.

    Rules that are left to a guest are its own from the moment that the lab's are gone, of which the file `left` tells.
    """

    def __init__(
        self, name: str, node: str, iptables: Iptables, shared: Shared, *, counters: Callable[[], bool], left: Path
    ) -> None:
        super().__init__(name, iptables.family)
        self._node, self._iptables, self._shared, self._counters = node, iptables, shared, counters
        self._file, self._left = left, left.exists()
        self._rules: ProxyRules | None = None
        self._written: ProxyRules | None = None
        self._refused: dict[Key, RestoreRefused] = {}
        self._checked: object = None
        self.checks: Mapping[int, HealthCheck] = {}
        """What the healthCheckNodePorts answer, by port."""

    @property
    def failure(self) -> KernelError | None:
        """The Services whose rules the kernel refuses, with the line it refuses; or what else it refuses of them."""
        if self.refused or not self._refused:
            return self.refused
        (namespace, name), refusal = next(iter(self._refused.items()))
        others = f" and {len(self._refused) - 1} more" if len(self._refused) > 1 else ""
        hint = "the rules of all other Services are written; this one is tried again"
        return KernelError(f"Service {namespace}/{name}{others}: {refusal.message}", hint, refusal.line)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where NodePorts and health checks listen."""
        held = self._rules.settings.node_port_addresses if self._rules else ()
        return (ANY_ADDRESS[self.family],) if held is None else held

    def want(self, snapshot: Snapshot, rules: RuleSets) -> None:
        if is_proxied_by_guest(snapshot, self._node):
            self._leave(snapshot)
            return
        if self._left:
            fault.point()
            self._file.unlink(missing_ok=True)
            self._left = False
        old, self.delta = self._rules, None
        if old is None:
            new = ProxyRules.build(snapshot, self._node, self.family, self._counters(), self._shared)
        else:
            new, delta = old.update(snapshot)
            self.delta = delta if not self.failure and new.settings == old.settings else None
        self._rules = new
        self.wanted = (new.ruleset,)
        if self._checked is not new.services:
            self._checked, self.checks = new.services, health_checks(new)

    def _leave(self, snapshot: Snapshot) -> None:
        """What the lab wrote goes, once, as with `kube-proxy --cleanup`; whatever comes after that is a guest's.

        Raises KernelError; it is tried again.
        """
        if not self._left:
            self._iptables.remove(KUBE_PROXY_CHAINS, spare=KUBE_ROUTER_CHAINS)
            fault.point()
            self._file.touch()
            self._left = True
        if self._rules is not None:
            self._taken = None
        self._rules = self._written = self._checked = None
        self._refused, self.refused, self.checks = {}, None, {}
        super().want(snapshot, ())

    @property
    def is_new(self) -> bool:
        return self._rules is not self._written

    def succeeded(self) -> None:
        if self._rules is None:
            super().succeeded()
            return
        self._took(self._rules)
        self._refused, self.refused = {}, None

    def lost(self) -> None:
        """What stands in the kernel is looked up, as a new agent does."""
        self._written = None

    def before(self) -> RuleSets:
        if self._rules is None:
            return ()
        wanted = self._wanted
        return (wanted.with_services(self._good(wanted)).ruleset,)

    def apart(self, write: Write) -> int:
        """Writes the new rules by halves of the Services, down to one.

        Those that were refused before come last, so that they are not in the way of the others again.
        """
        if self._rules is None:
            return super().apart(write)
        wanted, count, self.refused = self._wanted, 0, None
        good = self._good(wanted)
        self._took(wanted.with_services(good))
        suspects = [key for key in good if key in self._refused]
        groups = [[key for key in good if key not in self._refused], suspects]
        self._refused, clean = {}, True
        while groups:
            group = groups.pop(0)
            trial = {key: rules for key, rules in good.items() if key not in group}
            if trial == good:
                continue
            try:
                count += self._try(write, wanted.with_services(trial))
                good, clean = trial, True
            except RestoreRefused as refused:
                clean = False
                half = len(group) // 2
                if half:
                    groups[:0] = [group[:half], group[half:]]
                else:
                    self._refused[group[0]] = refused
        if not clean:
            count += self._try(write, wanted.with_services(good))
        return count

    @property
    def _wanted(self) -> ProxyRules:
        assert self._rules is not None
        return self._rules

    def _try(self, write: Write, rules: ProxyRules) -> int:
        count = write((rules.ruleset,))
        self._took(rules)
        return count

    def _took(self, rules: ProxyRules) -> None:
        """Forgets the UDP connections to endpoints that have gone."""
        # A new agent knows nothing of what went before it: every UDP Service is looked at, as kube-proxy does.
        before = self._written or msgspec.structs.replace(rules, services={})
        self._written = rules
        if rules.services is not before.services and (stale := stale_udp(before, rules)):
            conntrack.forget_udp(self._iptables.namespace, self.family, stale)

    def _good(self, wanted: ProxyRules) -> dict[Key, ServiceRules]:
        """For each Service that is to change, what it has now: NOTHING where it is new."""
        if self._written is None:
            before = self._standing(wanted)
        else:
            before = self._written.services if self._written.settings == wanted.settings else {}
        return {key: before.get(key, NOTHING) for key, rules in wanted.services.items() if before.get(key) is not rules}

    def _standing(self, wanted: ProxyRules) -> Mapping[Key, ServiceRules]:
        """The Services that a new agent finds in the kernel: they work, and must go on as they are."""
        held = self._iptables.save()
        return {
            key: msgspec.structs.replace(rules, chains={chain: tuple(held[chain]) for chain in rules.chains})
            for key, rules in wanted.services.items()
            if held.keys() >= rules.chains.keys()
        }
