"""All chains of a node's kube-proxy as one mapping, assembled on first use."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping
from functools import cached_property

from k8snetlab.api.snapshot import Key
from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.render.proxy.service import ServiceRules


class Chains(Mapping[ChainKey, Rules]):
    """The fixed chains, those of each Service in `order`, then the shared ones: rules jump only to earlier chains.

    Most changes are written from their delta alone, so that nobody asks for the whole; it costs nothing until then.
    """

    def __init__(
        self,
        fixed: Mapping[ChainKey, Rules],
        services: Mapping[Key, ServiceRules],
        order: Iterable[Key],
        shared: Mapping[ChainKey, Rules],
    ) -> None:
        self._fixed, self._services, self._order, self._shared = fixed, services, order, shared

    @cached_property
    def _all(self) -> dict[ChainKey, Rules]:
        chains = dict(self._fixed)
        for key in self._order:
            chains.update(self._services[key].chains)
        chains.update(self._shared)
        return chains

    def __getitem__(self, key: ChainKey) -> Rules:
        return self._all[key]

    def __iter__(self) -> Iterator[ChainKey]:
        return iter(self._all)

    def items(self) -> ItemsView[ChainKey, Rules]:
        return self._all.items()

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"Chains({self._all!r})"
