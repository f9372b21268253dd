"""Rules that are the same on several nodes, rendered and held once."""

from __future__ import annotations

from weakref import WeakValueDictionary

from k8snetlab.api.core import Service
from k8snetlab.api.snapshot import Key
from k8snetlab.render.proxy.layout import LAYOUTS
from k8snetlab.render.proxy.service import ServiceRules, Slices
from k8snetlab.render.proxy.settings import Settings


class Shared:
    """One for the kube-proxies of all nodes of a lab: it knows what each Service was last rendered to.

    Only the very same objects are taken as unchanged, as snapshots share them. What no node uses any more is gone.
    """

    def __init__(self) -> None:
        self.brief = False
        """Whether the endpoints of the node that was rendered last had no comments: the next one's are as many."""
        self._held: WeakValueDictionary[tuple[Key, Settings, bool], ServiceRules] = WeakValueDictionary()

    def render(
        self, service: Service, slices: Slices, settings: Settings, anywhere: Settings, brief: bool
    ) -> ServiceRules:
        """`anywhere` is `settings.anywhere`, given so that it is made once for many Services."""
        where = (service.key, anywhere, brief)
        rules = self._held.get(where)
        if rules is not None and rules.service is service and _same(rules.slices, slices):
            return rules
        rules = LAYOUTS[settings.layout].render_service(service, slices, settings, brief)
        if rules.everywhere:
            self._held[where] = rules
        return rules


def _same(one: Slices, other: Slices) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
