"""Rules that are the same on several nodes, rendered and held once."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

from msgspec.structs import replace

from k8snetlab.api.core import Service
from k8snetlab.api.snapshot import Key
from k8snetlab.render.proxy.idle import alike
from k8snetlab.render.proxy.layout import LAYOUTS
from k8snetlab.render.proxy.service import ServiceRules, Slices, number
from k8snetlab.render.proxy.settings import Settings

CURRENT = "current"
"""The layout whose rules lead to no endpoint that is idle."""


class Shared:
    """One for the kube-proxies of all nodes of a lab: it knows what each Service was last rendered to.

    Only the very same objects are taken as unchanged, as snapshots share them. What no node uses any more is gone.
    """

    def __init__(self) -> None:
        self.brief = False
        """Whether the endpoints of the node that was rendered last had no comments: the next one's are as many."""
        self.turn = threading.RLock()
        """Of who renders: nodes that come to the same at once would each render it. Who renders all keeps it meanwhile:
        to take turns at each Service takes half as long again."""
        self._held: WeakValueDictionary[tuple[Key, Settings, bool], ServiceRules] = WeakValueDictionary()

    def render(
        self,
        service: Service,
        slices: Slices,
        settings: Settings,
        *,
        anywhere: Settings,
        brief: bool,
        known: ServiceRules | None = None,
    ) -> ServiceRules:
        """`anywhere` is `settings.anywhere`, given so that it is made once for many Services; `known` are the node's
        own rules until now. Where endpoints come or go that no rule leads to, the same chains are answered."""
        with self.turn:
            return self._rendered(service, slices, settings, (service.key, anywhere, brief), known)

    def _rendered(
        self,
        service: Service,
        slices: Slices,
        settings: Settings,
        where: tuple[Key, Settings, bool],
        known: ServiceRules | None,
    ) -> ServiceRules:
        rules = self._held.get(where, known)
        if rules is not None and rules.service is service:
            if _same(rules.slices, slices):
                return rules
            if settings.layout == CURRENT and alike(rules.slices, slices):
                return self._kept(where, replace(rules, slices=slices, endpoints=number(service, slices, settings)))
        rules = LAYOUTS[settings.layout].render_service(service, slices, settings, where[2])
        return self._kept(where, rules)

    def _kept(self, where: tuple[Key, Settings, bool], rules: ServiceRules) -> ServiceRules:
        if rules.everywhere:
            self._held[where] = rules
        return rules


def _same(one: Slices, other: Slices) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
