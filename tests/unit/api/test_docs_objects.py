"""docs/objects.md says which fields are acted on, and says it of the code as it is.

`python tests/unit/api/test_docs_objects.py` writes its tables anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import inspect

from k8snetlab.api import reference
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.coordination import Lease, PriorityClass
from k8snetlab.api.core import Endpoints, Namespace, Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.networking import Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR
from k8snetlab.api.shape import held
from k8snetlab.api.workloads import DaemonSet, Job, ReplicationController, StatefulSet

PAGE = Path(__file__).parents[3] / "docs" / "objects.md"
MARK = "<!-- tables -->\n"
KINDS = (
    *(Namespace, Node, Pod, Deployment, ReplicaSet, Service, Endpoints, EndpointSlice, KubeProxyConfiguration),
    *(DaemonSet, StatefulSet, ReplicationController, Job),
    *(Ingress, IngressClass, NetworkPolicy, ServiceCIDR, IPAddress, Lease, PriorityClass),
)
SKIPPED = ("ObjectMeta", "ObjectReference")


def rows() -> Iterator[str]:
    seen: set[str] = set()
    for kind in KINDS:
        yield from _rows(inspect.type_info(kind), kind.KIND, seen)


def _rows(info: Any, type_: str, seen: set[str]) -> Iterator[str]:
    theirs = reference.fields(type_)
    if type_ in seen or not theirs or type_ in SKIPPED or type_.endswith(("Status", "Condition")):
        return
    seen.add(type_)
    ours = {field.encode_name: field.type for field in info.fields}
    hidden = ("apiVersion", "kind", "metadata", "status")
    acted = [name for name in theirs if name in ours and name not in hidden and not held(type_, name)]
    rest = [name for name in theirs if name not in acted and name not in hidden]
    yield f"| {type_} | {_listed(acted)} | {_listed(rest)} |"
    for name in acted:
        yield from _rows(_inner(ours[name]), theirs[name].strip("[]{}"), seen)


def _inner(info: Any) -> Any:
    """The struct inside lists, unions and annotations."""
    while not isinstance(info, inspect.StructType):
        if isinstance(info, inspect.UnionType):
            structs = [t for t in info.types if not isinstance(t, inspect.NoneType)]
            info = structs[0]
        elif hasattr(info, "item_type"):
            info = info.item_type
        elif isinstance(info, inspect.Metadata):
            info = info.type
        else:
            return info
    return info


def _listed(names: list[str]) -> str:
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
            assert field.encode_name in reference.fields(kind.KIND), (kind.KIND, field.encode_name)


if __name__ == "__main__":
    PAGE.write_text(page())
