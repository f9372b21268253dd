"""All of kube-proxy's rules on one node for one IP family, kept current at the cost of what changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from k8snetlab.api.core import Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.rules import ChainKey, Family, RuleDelta, Rules, RuleSet, refusing_first
from k8snetlab.render.proxy.chains import Chains
from k8snetlab.render.proxy.layout import LAYOUTS, Layout
from k8snetlab.render.proxy.service import ServiceRules, Slices
from k8snetlab.render.proxy.settings import Settings
from k8snetlab.render.proxy.shared import Shared

LARGE_CLUSTER = 1000
"""Above this many endpoints kube-proxy leaves out the comments of endpoints."""


class ProxyRules(msgspec.Struct, frozen=True):
    """A value: `update` gives a new one that shares all that stayed the same.

    `services` are the rules of each Service by (namespace, name), `slices` the EndpointSlices of each, `endpoints` the
    number of all endpoints, `dispatch` the chains that all Services share.
    """

    snapshot: Snapshot
    settings: Settings
    shared: Shared
    slices: Mapping[Key, Slices]
    services: Mapping[Key, ServiceRules]
    endpoints: int
    dispatch: Mapping[ChainKey, Rules]
    chains: Chains

    @staticmethod
    def build(
        snapshot: Snapshot, node_name: str, family: Family, counters: bool = False, shared: Shared | None = None
    ) -> ProxyRules:
        """The rules of kube-proxy on `node_name`.

        `counters` writes the matches for nfacct counters, which must exist in the node's namespace. `shared` is
        given where several nodes of a lab are rendered in one process, so that they hold equal rules once.
        """
        return _build(snapshot, Settings.of(snapshot, node_name, family, counters), shared or Shared())

    @property
    def brief(self) -> bool:
        return self.endpoints > LARGE_CLUSTER

    @property
    def ruleset(self) -> RuleSet:
        hooks = self._layout.hooks
        obsolete = tuple(hook for layout in LAYOUTS.values() for hook in layout.hooks if hook not in hooks)
        return RuleSet(self.settings.family, self.chains, names.KUBE_PROXY_CHAINS, hooks, obsolete)

    @property
    def _layout(self) -> Layout:
        return LAYOUTS[self.settings.layout]

    def full_sync(self) -> RuleDelta:
        """Everything, to be written to a node whose rules are not known.

        As in every delta of `update`, a rule of a chain in `write` jumps only to chains before its own, and the chains
        of one Service stand together: any run of them can be written by itself, the shared chains last, then `delete`.
        """
        return RuleDelta(self.settings.family, dict(self.chains), hooks=self._layout.hooks)

    def update(self, snapshot: Snapshot) -> tuple[ProxyRules, RuleDelta]:
        """The rules for a later snapshot, and the chains to write and to delete on the way there."""
        settings = Settings.of(snapshot, self.settings.node, self.settings.family, self.settings.counters)
        if settings != self.settings:
            return self._replaced_by(_build(snapshot, settings, self.shared))
        order = snapshot.all(Service)
        slices, touched = self._regroup(snapshot)
        touched |= set(_changed(Service, self.snapshot, snapshot))
        touched = {key for key in touched if key in order or key in self.services}
        if not touched:
            return msgspec.structs.replace(self, snapshot=snapshot, slices=slices), RuleDelta(settings.family, {})
        anywhere = settings.anywhere
        services = dict(self.services)
        steps: list[tuple[ServiceRules, ServiceRules]] = []
        for key in sorted(touched):
            old, new = services.pop(key, NOTHING), NOTHING
            if key in order:
                known = None if old is NOTHING else old
                new = self.shared.render(
                    order[key], slices.get(key, ()), settings, anywhere=anywhere, brief=self.brief, known=known
                )
                services[key] = new
            steps.append((old, new))
        endpoints = self.endpoints + sum(new.endpoints - old.endpoints for old, new in steps)
        if (endpoints > LARGE_CLUSTER) != self.brief:
            return self._replaced_by(_build(snapshot, settings, self.shared))
        dispatch = dict(self.dispatch)
        for chain in dispatch:
            if any(old.rows.get(chain) != new.rows.get(chain) for old, new in steps):
                dispatch[chain] = _gather(chain, services, order, self._layout.last_rows(settings))
        rules = ProxyRules(
            snapshot=snapshot,
            settings=settings,
            shared=self.shared,
            slices=slices,
            services=services,
            endpoints=endpoints,
            dispatch=dispatch,
            chains=_chains(settings, services, snapshot, dispatch),
        )
        return rules, RuleDelta(settings.family, *_difference(steps, self.dispatch, dispatch))

    def with_services(self, services: Mapping[Key, ServiceRules]) -> ProxyRules:
        """The same, but for some Services, whose rules are these instead; with `NOTHING` a Service is left out."""
        replaced = {**self.services, **services}
        order, last = self.snapshot.all(Service), self._layout.last_rows(self.settings)
        dispatch = {chain: _gather(chain, replaced, order, last) for chain in self.dispatch}
        endpoints = sum(rules.endpoints for rules in replaced.values())
        chains = _chains(self.settings, replaced, self.snapshot, dispatch)
        return msgspec.structs.replace(self, services=replaced, endpoints=endpoints, dispatch=dispatch, chains=chains)

    def _regroup(self, snapshot: Snapshot) -> tuple[Mapping[Key, Slices], set[Key]]:
        """The slices by Service, and the Services whose slices changed."""
        before, after = self.snapshot.all(EndpointSlice), snapshot.all(EndpointSlice)
        changed = _changed(EndpointSlice, self.snapshot, snapshot)
        if not changed:
            return self.slices, set()
        groups = dict(self.slices)
        touched: set[Key] = set()
        for key in changed:
            old, new = before.get(key), after.get(key)
            for piece in (old, new):
                if piece is not None and piece.service_key:
                    touched.add(piece.service_key)
                    rest = [p for p in groups.get(piece.service_key, ()) if p.key != key]
                    groups[piece.service_key] = _sorted([*rest, piece] if piece is new else rest)
        for owner in touched:
            if not groups[owner]:
                del groups[owner]
        return groups, touched

    def _replaced_by(self, other: ProxyRules) -> tuple[ProxyRules, RuleDelta]:
        write = {chain: rules for chain, rules in other.chains.items() if self.chains.get(chain) != rules}
        delete = tuple(chain for chain in self.chains if chain not in other.chains)
        hooks = tuple(hook for hook in other._layout.hooks if hook not in self._layout.hooks)
        return other, RuleDelta(other.settings.family, refusing_first(write, self.dispatch), delete, hooks)


NOTHING = ServiceRules(Service(), (), {}, {}, 0, True)


def _build(snapshot: Snapshot, settings: Settings, shared: Shared) -> ProxyRules:
    layout = LAYOUTS[settings.layout]
    groups: dict[Key, list[EndpointSlice]] = {}
    for piece in snapshot.all(EndpointSlice).values():
        if piece.service_key:
            groups.setdefault(piece.service_key, []).append(piece)
    slices = {key: _sorted(pieces) for key, pieces in groups.items()}
    objects = snapshot.all(Service)
    with shared.turn:
        services = _render_all(objects, slices, settings, shared)
    last = layout.last_rows(settings)
    dispatch = {chain: _gather(chain, services, objects, last) for chain in layout.shared_chains}
    endpoints = sum(rules.endpoints for rules in services.values())
    return ProxyRules(
        snapshot=snapshot,
        settings=settings,
        shared=shared,
        slices=slices,
        services=services,
        endpoints=endpoints,
        dispatch=dispatch,
        chains=_chains(settings, services, snapshot, dispatch),
    )


def _chains(
    settings: Settings,
    services: Mapping[Key, ServiceRules],
    snapshot: Snapshot,
    dispatch: Mapping[ChainKey, Rules],
) -> Chains:
    fixed = LAYOUTS[settings.layout].fixed_chains(settings)
    return Chains(fixed, services, snapshot.all(Service), dispatch)


def _render_all(
    objects: Mapping[Key, Service], slices: Mapping[Key, Slices], settings: Settings, shared: Shared
) -> dict[Key, ServiceRules]:
    """With comments of endpoints, unless they prove too many on the way; first as it was with the node before."""
    anywhere = settings.anywhere
    for brief in (shared.brief, not shared.brief):
        services: dict[Key, ServiceRules] = {}
        endpoints = 0
        for key, service in objects.items():
            services[key] = shared.render(service, slices.get(key, ()), settings, anywhere=anywhere, brief=brief)
            endpoints += services[key].endpoints
            if endpoints > LARGE_CLUSTER and not brief:
                break
        if brief == (endpoints > LARGE_CLUSTER):
            shared.brief = brief
            return services
    raise AssertionError("unreachable")


def _difference(
    steps: Iterable[tuple[ServiceRules, ServiceRules]],
    before: Mapping[ChainKey, Rules],
    after: Mapping[ChainKey, Rules],
) -> tuple[dict[ChainKey, Rules], tuple[ChainKey, ...]]:
    """What to write and to delete where Services change as in `steps`, the shared chains from `before` to `after`."""
    write: dict[ChainKey, Rules] = {}
    delete: list[ChainKey] = []
    for old, new in steps:
        if old.chains is new.chains:
            continue
        write.update((chain, rules) for chain, rules in new.chains.items() if old.chains.get(chain) != rules)
        delete += (chain for chain in old.chains if chain not in new.chains)
    write.update((chain, rules) for chain, rules in after.items() if before[chain] is not rules)
    return refusing_first(write, before), tuple(delete)


def _gather(
    chain: ChainKey, services: Mapping[Key, ServiceRules], order: Iterable[Key], last: Mapping[ChainKey, Rules]
) -> Rules:
    rows: list[str] = []
    for key in order:
        rows += services[key].rows.get(chain, ())
    return (*rows, *last.get(chain, ()))


def _sorted(pieces: Iterable[EndpointSlice]) -> Slices:
    return tuple(sorted(pieces, key=lambda piece: piece.name))


def _changed(type_: type[Object], before: Snapshot, after: Snapshot) -> list[Key]:
    """The keys whose object is another one, or is in one of the two only."""
    old, new = before.all(type_), after.all(type_)
    return [key for key in after.changes(type_, before) if old.get(key) is not new.get(key)]
