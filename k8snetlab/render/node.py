"""From a snapshot to everything one node's agent makes: the sum of what its managers want."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.netns import NodeDataplane, joined
from k8snetlab.render import bridge, calico, flannel, nodelocal, portmap, uplink
from k8snetlab.render.netpol import node as netpol
from k8snetlab.render.proxy import sysctls

Part = Callable[[Snapshot, str], NodeDataplane]
"""From a snapshot and a node's name to what one manager wants on that node. Pure."""

PARTS: Mapping[str, Part] = {
    "node": uplink.render,
    "cni": bridge.render,
    "flannel": flannel.render,
    "kube-proxy": sysctls.render,
    "portmap": portmap.render,
    "node-local-dns": nodelocal.render,
    "kube-router": netpol.render,
    "calico": calico.render,
}
"""By the manager's name. The first says what the namespace is called, the rest is put together in this order, rules as
well: portmap's jumps are put in last, since a pod comes when kube-proxy is there already, and first kube-router's, or
Felix': what no policy allows nobody else is to let through."""


def render(snapshot: Snapshot, name: str) -> NodeDataplane:
    """The namespace of node `name` with all devices and rules, and the sandboxes of its pods.

    kube-proxy's rules are not part of it: they come from `render.proxy`, as on a real node from another program.
    Raises NotFoundError for a machine that does not name the interface by which others reach it.
    """
    return joined(part(snapshot, name) for part in PARTS.values())


class Rendered:
    """Each node of one snapshot, rendered when it is first asked for: for who asks for one again and again."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot, self._held = snapshot, dict[str, NodeDataplane]()

    def __getitem__(self, name: str) -> NodeDataplane:
        """Raises NotFoundError, as `render` does."""
        if name not in self._held:
            self._held[name] = render(self._snapshot, name)
        return self._held[name]
