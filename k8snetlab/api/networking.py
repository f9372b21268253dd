"""Kinds of networking.k8s.io/v1: Ingress, IngressClass, NetworkPolicy, ServiceCIDR, IPAddress.

Source: Kubernetes API reference, networking/v1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import msgspec

from k8snetlab.api.core import Condition, Protocol
from k8snetlab.api.meta import LabelSelector, Object, OrBlank, Value, always

PathType = Literal["Exact", "ImplementationSpecific", "Prefix"]
PolicyType = Literal["Ingress", "Egress"]
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
"""Annotation of the IngressClass that an Ingress gets which names none."""
CLASS = "kubernetes.io/ingress.class"
"""Annotation that named an Ingress's class before the field did."""
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
IP_FAMILY, MANAGED_BY, ALLOCATOR = (
    "ipaddress.kubernetes.io/ip-family",
    "ipaddress.kubernetes.io/managed-by",
    "ipallocator.k8s.io",
)
"""Labels of an IPAddress, and who has made those of the Services."""

# --- Ingress --------------------------------------------------------------------------------------------------------


class ServiceBackendPort(Value):
    """By name or by number."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(Value):
    name: str = always("")
    port: ServiceBackendPort = always(ServiceBackendPort())


class TypedLocalObjectReference(Value):
    apiGroup: str | None = None
    kind: str = always("")
    name: str = always("")


class IngressBackend(Value):
    """A Service, or an object of another kind of the same namespace."""

    service: IngressServiceBackend | None = None
    resource: TypedLocalObjectReference | None = None


class HTTPIngressPath(Value):
    backend: IngressBackend = always(IngressBackend())
    path: str = ""
    pathType: PathType | None = None


class HTTPIngressRuleValue(Value):
    paths: tuple[HTTPIngressPath, ...] = always(())


class IngressRule(Value):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Value):
    hosts: tuple[str, ...] = ()
    secretName: str = ""


class IngressSpec(Value):
    ingressClassName: str | None = None
    defaultBackend: IngressBackend | None = None
    tls: tuple[IngressTLS, ...] = ()
    rules: tuple[IngressRule, ...] = ()


class IngressPortStatus(Value):
    port: int
    protocol: Protocol
    error: str | None = None


class IngressLoadBalancerIngress(Value):
    ip: str = ""
    hostname: str = ""
    ports: tuple[IngressPortStatus, ...] = ()


class IngressLoadBalancerStatus(Value):
    ingress: tuple[IngressLoadBalancerIngress, ...] = ()


class IngressStatus(Value):
    loadBalancer: IngressLoadBalancerStatus = always(IngressLoadBalancerStatus())


class Ingress(Object):
    KIND: ClassVar[str] = "Ingress"
    API_VERSION: ClassVar[str] = "networking.k8s.io/v1"
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: IngressSpec = always(IngressSpec())
    status: IngressStatus = always(IngressStatus())

    @property
    def services(self) -> tuple[str, ...]:
        """Names of the Services that it leads to, each once."""
        backends = [self.spec.defaultBackend]
        backends += [path.backend for rule in self.spec.rules if rule.http for path in rule.http.paths]
        return tuple(dict.fromkeys(one.service.name for one in backends if one and one.service))


class IngressClassParametersReference(Value):
    apiGroup: str | None = None
    kind: str = always("")
    name: str = always("")
    scope: Literal["Cluster", "Namespace"] | None = None
    namespace: str | None = None


class IngressClassSpec(Value):
    controller: str = ""
    parameters: IngressClassParametersReference | None = None


class IngressClass(Object):
    KIND: ClassVar[str] = "IngressClass"
    API_VERSION: ClassVar[str] = "networking.k8s.io/v1"
    namespaced: ClassVar[bool] = False
    counted: ClassVar[bool] = True

    spec: IngressClassSpec = always(IngressClassSpec())

    @property
    def default(self) -> bool:
        return self.metadata.annotations.get(DEFAULT_CLASS) == "true"


# --- NetworkPolicy --------------------------------------------------------------------------------------------------


class NetworkPolicyPort(Value):
    """`port` is a number or a container port's name, None for all; with `endPort` a range."""

    protocol: Annotated[Protocol | None, OrBlank] = None
    port: int | str | None = None
    endPort: int | None = None


class IPBlock(Value):
    """`except_` is the API's `except`."""

    cidr: str = always("")
    except_: tuple[str, ...] = msgspec.field(default=(), name="except")


class NetworkPolicyPeer(Value):
    podSelector: LabelSelector | None = None
    namespaceSelector: LabelSelector | None = None
    ipBlock: IPBlock | None = None


class NetworkPolicyIngressRule(Value):
    """`from_` is the API's `from`."""

    ports: tuple[NetworkPolicyPort, ...] = ()
    from_: tuple[NetworkPolicyPeer, ...] = msgspec.field(default=(), name="from")


class NetworkPolicyEgressRule(Value):
    ports: tuple[NetworkPolicyPort, ...] = ()
    to: tuple[NetworkPolicyPeer, ...] = ()


class NetworkPolicySpec(Value):
    podSelector: LabelSelector = always(LabelSelector())
    ingress: tuple[NetworkPolicyIngressRule, ...] = ()
    egress: tuple[NetworkPolicyEgressRule, ...] = ()
    policyTypes: tuple[PolicyType, ...] = ()


class NetworkPolicy(Object):
    KIND: ClassVar[str] = "NetworkPolicy"
    API_VERSION: ClassVar[str] = "networking.k8s.io/v1"
    counted: ClassVar[bool] = True
    lined: ClassVar[bool] = True

    spec: NetworkPolicySpec = always(NetworkPolicySpec())


# --- the service network ----------------------------------------------------------------------------------------------


class ServiceCIDRSpec(Value):
    """At most one CIDR of each family."""

    cidrs: tuple[str, ...] = ()


class ServiceCIDRStatus(Value):
    conditions: tuple[Condition, ...] = ()


class ServiceCIDR(Object):
    KIND: ClassVar[str] = "ServiceCIDR"
    API_VERSION: ClassVar[str] = "networking.k8s.io/v1"
    namespaced: ClassVar[bool] = False

    spec: ServiceCIDRSpec = always(ServiceCIDRSpec())
    status: ServiceCIDRStatus = always(ServiceCIDRStatus())


class ParentReference(Value):
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""


class IPAddressSpec(Value):
    parentRef: ParentReference | None = None


class IPAddress(Object):
    """An address of the service network that is taken; it is the object's name."""

    KIND: ClassVar[str] = "IPAddress"
    API_VERSION: ClassVar[str] = "networking.k8s.io/v1"
    namespaced: ClassVar[bool] = False

    spec: IPAddressSpec = always(IPAddressSpec())

    @property
    def allocated(self) -> bool:
        """Whether it is a Service's, and comes and goes with it."""
        return self.metadata.labels.get(MANAGED_BY) == ALLOCATOR


def ingresses_by_service(ingress: Ingress) -> Iterable[tuple[str, str]]:
    """(namespace, name) of the Services it leads to, for `Snapshot.select`."""
    return [(ingress.namespace, name) for name in ingress.services]
