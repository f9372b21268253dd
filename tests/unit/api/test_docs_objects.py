"""docs/objects.md says which fields are acted on, and says it of the code as it is.

`python tests/unit/api/test_docs_objects.py` writes its tables anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import inspect

from k8snetlab.api import reference
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.calico_policy import CalicoNetworkPolicy, GlobalNetworkPolicy, GlobalNetworkSet, NetworkSet
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.coordination import Lease, PriorityClass
from k8snetlab.api.core import Endpoints, Namespace, Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.effects import effects
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.networking import Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR
from k8snetlab.api.workloads import DaemonSet, Job, ReplicationController, StatefulSet

PAGE = Path(__file__).parents[3] / "docs" / "objects.md"
MARK = "<!-- tables -->\n"
KINDS = (
    *(Namespace, Node, Pod, Deployment, ReplicaSet, Service, Endpoints, EndpointSlice, KubeProxyConfiguration),
    *(DaemonSet, StatefulSet, ReplicationController, Job),
    *(Ingress, IngressClass, NetworkPolicy, ServiceCIDR, IPAddress, Lease, PriorityClass),
    *(ClusterNetworkPolicy, CalicoNetworkPolicy, GlobalNetworkPolicy, NetworkSet, GlobalNetworkSet),
)


def rows() -> Iterator[str]:
    for one in effects(KINDS):
        yield f"| {one.type_} | {_listed(one.acted)} | {_listed(one.rest)} |"


def _listed(names: Sequence[str]) -> str:
    return " ".join(f"`{name}`" for name in names) or "none"


def page() -> str:
    head = "| Type | acted on | named in a warning |\n|---|---|---|\n"
    return PAGE.read_text().split(MARK)[0] + MARK + head + "\n".join(rows()) + "\n"


def test_the_page_says_which_fields_are_acted_on() -> None:
    assert PAGE.read_text() == page()


def test_every_field_of_ours_is_one_of_kubernetes() -> None:
    """Else it could be written nowhere but here, and would be refused by a cluster."""
    listed = "\n".join(rows())
    assert "| PodSpec |" in listed and "| ServicePort |" in listed and "`nodePort`" in listed
    for kind in KINDS:
        for field in inspect.type_info(kind).fields:
            assert field.encode_name in reference.fields(kind.REFERENCE or kind.KIND), (kind.KIND, field.encode_name)


if __name__ == "__main__":
    PAGE.write_text(page())
