"""The managers of a node: the one list of them."""

from __future__ import annotations

from collections.abc import Mapping

from k8snetlab.agent.addons import AddOns
from k8snetlab.agent.balancing import LoadBalancers
from k8snetlab.agent.calico import Calico
from k8snetlab.agent.flannel import Flannel
from k8snetlab.agent.kube_router import KubeRouter
from k8snetlab.agent.links import LinkSettings
from k8snetlab.agent.portmap import Portmap
from k8snetlab.agent.protocol import Make, Manager, Surroundings
from k8snetlab.agent.proxy import KubeProxy
from k8snetlab.agent.routing import Routing
from k8snetlab.agent.sandboxes import SandboxManager
from k8snetlab.render.node import PARTS

MANAGERS: Mapping[str, Make] = {
    "cni": SandboxManager,
    "flannel": Flannel,
    "calico": Calico,
    "kube-proxy": KubeProxy,
    "portmap": Portmap,
    "kube-router": KubeRouter,
    "add-ons": AddOns,
    "routing": Routing,
    "links": LinkSettings,
    "load-balancers": LoadBalancers,
}
"""Those that do more than their part of the dataplane (`render.node.PARTS`) says, by name. A part without one of these
is kept by a plain `Manager`; one of these without a part wants nothing of the dataplane, and has its turn last."""


def managers(around: Surroundings) -> list[Manager]:
    """One node's, in the order of their parts."""
    names = dict.fromkeys((*PARTS, *MANAGERS))
    return [MANAGERS.get(name, Manager)(name, PARTS.get(name), around) for name in names]
