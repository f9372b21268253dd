"""The two generations of kube-proxy's layout; a lab chooses one (`proxy.layout`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from k8snetlab.api.core import Service
from k8snetlab.dataplane.rules import ChainKey, Hook, Rules
from k8snetlab.render.proxy import classic, frame, service
from k8snetlab.render.proxy.service import ServiceRules, Slices
from k8snetlab.render.proxy.settings import Settings


class Layout(NamedTuple):
    """`shared_chains` hold the rows of all Services and end with `last_rows`; they can be written in this order."""

    render_service: Callable[[Service, Slices, Settings, bool], ServiceRules]
    fixed_chains: Callable[[Settings], dict[ChainKey, Rules]]
    shared_chains: tuple[ChainKey, ...]
    last_rows: Callable[[Settings], dict[ChainKey, Rules]]
    hooks: tuple[Hook, ...]


LAYOUTS: Mapping[str, Layout] = {
    name: Layout(of.render_service, frame.fixed_chains, of.SHARED_CHAINS, frame.last_rows, frame.HOOKS)
    for name, of, frame in (("current", service, frame), ("classic", classic, classic))
}
