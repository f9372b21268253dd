"""Which component of a control plane runs which controllers, where each component is a process of its own.

The rest is the lab's daemon's then: what kubelets, the CNI plugins, the API server and the cloud do themselves.
"""

from __future__ import annotations

from k8snetlab.controllers.leaders import MANAGER, SCHEDULER
from k8snetlab.controllers.load_balancers import CONTROLLER as LOAD_BALANCERS

ALL, DAEMON = "", "daemon"
"""The component that runs everything, as the daemon of a lab without a control plane of its own; and that daemon where
the lab has one."""
__all__ = ["ALL", "DAEMON", "MANAGER", "SCHEDULER", "runs"]
_OF = {
    "default-scheduler": SCHEDULER,
    **dict.fromkeys(
        (
            *("node-controller", "node-leases", "kubelet", "host-local", "calico-ipam"),
            *("kubernetes-service", "rbac-bootstrap", "priority-classes", "customresourcedefinition-controller"),
            LOAD_BALANCERS,
        ),
        DAEMON,
    ),
}


def runs(component: str, controller: str) -> bool:
    """Whether the controller of that name is this component's to run; who leads says leader election itself."""
    if component == ALL:
        return True
    return controller != "leader-election" and _OF.get(controller, MANAGER) == component
