"""Which kinds there are: their types, plural names, short names, REST paths and store keys.

Source: the tables of `kubectl api-resources` and the key layout of kube-apiserver in etcd.
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.calico_policy import CalicoNetworkPolicy, GlobalNetworkPolicy, GlobalNetworkSet, NetworkSet
from k8snetlab.api.cluster_policy import ClusterNetworkPolicy
from k8snetlab.api.config import ConfigMap, Secret, ServiceAccount
from k8snetlab.api.coordination import Lease, PriorityClass
from k8snetlab.api.core import Endpoints, Namespace, Node, Pod, Service
from k8snetlab.api.custom import Custom, stored_type, value_of
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.events import Event
from k8snetlab.api.extensions import CustomResourceDefinition, DefinedVersion
from k8snetlab.api.former import FORMER, Former
from k8snetlab.api.gateway import GROUP as GATEWAY
from k8snetlab.api.gateway import Gateway, GatewayClass, HTTPRoute, ReferenceGrant
from k8snetlab.api.guest import Guest
from k8snetlab.api.ignored import Ignored
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR
from k8snetlab.api.rbac import ClusterRole, ClusterRoleBinding, Role, RoleBinding
from k8snetlab.api.routes import TCPRoute, TLSRoute
from k8snetlab.api.workloads import ControllerRevision, DaemonSet, Job, ReplicationController, StatefulSet


class Resource(msgspec.Struct, frozen=True, eq=False):
    """One kind. `registry` is the path of its keys in the store below /registry/, `categories` are words that `get`
    takes for several kinds; objects that are `singly` deleted are not by a request for all of them.

    `defined` is the version of a CustomResourceDefinition that it was made of; `stored` is the version, with its
    group, in which such objects are kept. `former` is the version of old times in which it is asked for."""

    type: type[Object]
    plural: str
    short: tuple[str, ...] = ()
    registry: str = ""
    categories: tuple[str, ...] = ()
    singly: bool = False
    singular: str = ""
    listed: str = ""
    defined: DefinedVersion | None = None
    stored: str = ""
    former: Former | None = None

    @property
    def version(self) -> str:
        """Group and version by which it is asked for."""
        if self.former is not None:
            return self.former.version
        if self.defined is not None and issubclass(self.type, Custom):
            return f"{self.type.GROUP}/{self.defined.name}"
        return self.type.API_VERSION

    @property
    def group(self) -> str:
        return self.version.rpartition("/")[0]

    @property
    def singular_name(self) -> str:
        return self.singular or self.kind.lower()

    @property
    def kind(self) -> str:
        return self.type.KIND

    @property
    def namespaced(self) -> bool:
        return self.type.namespaced

    @property
    def shape(self) -> str:
        """The name of its type in `reference`."""
        return self.type.REFERENCE or self.kind

    @property
    def list_kind(self) -> str:
        return self.listed or f"{self.kind}List"

    @property
    def names(self) -> tuple[str, ...]:
        """All that `get` takes for this kind, lower case."""
        return tuple(dict.fromkeys((self.plural, self.singular_name, *self.short)))

    def key(self, namespace: str, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.type.namespaced else f"{self.prefix}{name}"

    @property
    def prefix(self) -> str:
        return f"/registry/{self.registry or self.plural}/"


ALL, GATEWAYS = ("all",), ("gateway-api",)
CALICO = "projectcalico.org"
RESOURCES: tuple[Resource, ...] = (
    Resource(Namespace, "namespaces", ("ns",), singly=True),
    Resource(Node, "nodes", ("no",), "minions"),
    Resource(Pod, "pods", ("po",), categories=ALL),
    Resource(Service, "services", ("svc",), "services/specs", categories=ALL),
    Resource(Endpoints, "endpoints", ("ep",), "services/endpoints"),
    Resource(EndpointSlice, "endpointslices", ()),
    Resource(Deployment, "deployments", ("deploy",), categories=ALL),
    Resource(ReplicaSet, "replicasets", ("rs",), categories=ALL),
    Resource(DaemonSet, "daemonsets", ("ds",), categories=ALL),
    Resource(StatefulSet, "statefulsets", ("sts",), categories=ALL),
    Resource(ReplicationController, "replicationcontrollers", ("rc",), "controllers", categories=ALL),
    Resource(Job, "jobs", categories=ALL),
    Resource(ControllerRevision, "controllerrevisions"),
    Resource(Event, "events", ("ev",)),
    Resource(ConfigMap, "configmaps", ("cm",)),
    Resource(Secret, "secrets"),
    Resource(ServiceAccount, "serviceaccounts", ("sa",)),
    Resource(
        CustomResourceDefinition,
        "customresourcedefinitions",
        ("crd", "crds"),
        "apiextensions.k8s.io/customresourcedefinitions",
        categories=("api-extensions",),
    ),
    Resource(Ingress, "ingresses", ("ing",), "ingress"),
    Resource(IngressClass, "ingressclasses"),
    Resource(NetworkPolicy, "networkpolicies", ("netpol",)),
    Resource(
        ClusterNetworkPolicy, "clusternetworkpolicies", ("cnp",), "policy.networking.k8s.io/clusternetworkpolicies"
    ),
    Resource(CalicoNetworkPolicy, "networkpolicies", ("cnp", "caliconetworkpolicy"), f"{CALICO}/networkpolicies"),
    Resource(GlobalNetworkPolicy, "globalnetworkpolicies", ("gnp", "cgnp"), f"{CALICO}/globalnetworkpolicies"),
    Resource(NetworkSet, "networksets", ("netset", "netsets"), f"{CALICO}/networksets"),
    Resource(GlobalNetworkSet, "globalnetworksets", (), f"{CALICO}/globalnetworksets"),
    Resource(GatewayClass, "gatewayclasses", ("gc",), f"{GATEWAY}/gatewayclasses", GATEWAYS),
    Resource(Gateway, "gateways", ("gtw",), f"{GATEWAY}/gateways", GATEWAYS),
    Resource(HTTPRoute, "httproutes", (), f"{GATEWAY}/httproutes", GATEWAYS),
    Resource(TLSRoute, "tlsroutes", (), f"{GATEWAY}/tlsroutes", GATEWAYS),
    Resource(TCPRoute, "tcproutes", (), f"{GATEWAY}/tcproutes", GATEWAYS),
    Resource(ReferenceGrant, "referencegrants", ("refgrant",), f"{GATEWAY}/referencegrants", GATEWAYS),
    Resource(ServiceCIDR, "servicecidrs"),
    Resource(IPAddress, "ipaddresses", ("ip",)),
    Resource(Lease, "leases"),
    Resource(PriorityClass, "priorityclasses", ("pc",)),
    Resource(Role, "roles"),
    Resource(RoleBinding, "rolebindings"),
    Resource(ClusterRole, "clusterroles"),
    Resource(ClusterRoleBinding, "clusterrolebindings"),
    Resource(Lab, "labs", (), "k8snetlab/labs"),
    Resource(Guest, "guests", (), "k8snetlab/guests"),
    Resource(Ignored, "ignored", (), "k8snetlab/ignored"),
    Resource(KubeProxyConfiguration, "kubeproxyconfigurations", (), "k8snetlab/kubeproxyconfigurations"),
)

OLD = tuple(
    msgspec.structs.replace(resource, former=former, short=() if former.gone else resource.short, categories=())
    for former in FORMER.values()
    for resource in RESOURCES
    if resource.kind == former.kind and resource.group != CALICO
)
"""Kinds in versions of old times."""
BY_KIND: dict[str, Resource] = {r.kind: r for r in reversed(RESOURCES)}
"""Of two kinds of one name Kubernetes' own, which comes first."""
BY_NAME: dict[str, Resource] = {name: r for r in reversed(RESOURCES) for name in r.names}
BY_TYPE: dict[type[Object], Resource] = {r.type: r for r in RESOURCES}


def resource_of_kind(version: str, kind: str) -> Resource | None:
    """The kind that an object says it is; where no group has both, the one that is called so."""
    return _BY_VERSION.get((version, kind)) or BY_KIND.get(kind)


_BY_VERSION = {(r.type.API_VERSION, r.kind): r for r in RESOURCES}


def resource_of(obj: Object) -> Resource:
    return resource_of_type(type(obj))


def resource_of_type(type_: type[Object]) -> Resource:
    """Of a kind that users bring no more than what its keys in the store are made of."""
    if issubclass(type_, Custom):
        return _custom(type_)
    return BY_TYPE[type_]


def _custom(type_: type[Custom]) -> Resource:
    return Resource(type_, type_.PLURAL, registry=f"{type_.GROUP}/{type_.PLURAL}")


def store_key(obj: Object) -> str:
    return resource_of(obj).key(obj.namespace, obj.name)


BY_PREFIX = {r.prefix: r for r in RESOURCES}
"""By the beginning of their keys in the store."""
_encoder = msgspec.json.Encoder()
_heads: dict[type[Object], bytes] = {
    r.type: _encoder.encode({"apiVersion": r.type.API_VERSION, "kind": r.kind})[:-1] + b"," for r in RESOURCES
}
"""What an object begins with, and a comma: none is without metadata."""


def to_dict(obj: Object) -> dict[str, Any]:
    """The object as JSON-like builtins with apiVersion and kind first, as the API server answers it."""
    if isinstance(obj, Custom):
        return value_of(obj)
    value = {"apiVersion": obj.API_VERSION, "kind": obj.KIND, **msgspec.to_builtins(obj)}
    if isinstance(obj, EndpointSlice):
        value["endpoints"], value["ports"] = value["endpoints"] or None, value["ports"] or None
    elif isinstance(obj, Pod):
        # Never set by any kubelet, but a field of Go's that nothing leaves out.
        value["status"]["conditions"] = [{"lastProbeTime": None, **c} for c in value["status"].get("conditions", ())]
        if not obj.status.conditions:
            del value["status"]["conditions"]
    elif isinstance(obj, Node):
        # A node's conditions are posted when one of them changes.
        held = value.get("status", {}).get("conditions", ())
        for condition in held:
            condition.setdefault("lastHeartbeatTime", condition.get("lastTransitionTime"))
    return value


def without_nulls(value: Any) -> Any:
    """The value with every field left out that is null: in Kubernetes the two are the same."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def encode(obj: Object) -> bytes:
    """The object as the JSON kept in the store: its apiVersion and kind, and then all that it says itself."""
    if isinstance(obj, Custom):
        return _encoder.encode(value_of(obj))
    return _heads[type(obj)] + _encoder.encode(obj)[1:]


def resource_for_key(key: str, data: bytes = b"") -> Resource | None:
    """The kind a store key belongs to; `data`, what is stored there, says of a kind that users bring how it is
    called."""
    head = key[: key.rfind("/") + 1]
    if (likely := BY_PREFIX.get(head[: head.rfind("/", 0, -1) + 1]) or BY_PREFIX.get(head)) is not None:
        return likely
    for resource in RESOURCES:
        if key.startswith(resource.prefix):
            return resource
    custom = stored_type(key, data)
    return _custom(custom) if custom else None
