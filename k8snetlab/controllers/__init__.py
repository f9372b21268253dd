"""Controllers as pure functions: from a Snapshot to the writes to make. No clock but the time that they are told, no
randomness, no I/O."""

from k8snetlab.controllers.changes import MOMENT, Context
from k8snetlab.controllers.endpoint_memory import EndpointMemory
from k8snetlab.controllers.reconcile import ENOUGH, Bug, Outcome, Write, reconcile, work_out
from k8snetlab.controllers.replica_memory import ReplicaMemory

__all__ = [
    "ENOUGH",
    "MOMENT",
    "Bug",
    "Context",
    "EndpointMemory",
    "Outcome",
    "ReplicaMemory",
    "Write",
    "admission",
    "components",
    "correlation",
    "deployments",
    "endpoints",
    "filters",
    "identity",
    "leaders",
    "load_balancers",
    "namespaces",
    "node_leases",
    "node_lifecycle",
    "nodes",
    "reconcile",
    "rejection",
    "replica_sets",
    "returning",
    "scheduler",
    "subnets",
    "work_out",
]
