"""Kinds of the core group, v1: Namespace, Node, Pod, Service, Endpoints.

Only the fields that shape the network are typed; others are named in a warning when a manifest is loaded.
Source: Kubernetes API reference, core/v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from k8snetlab.api.meta import Object, ObjectMeta, Port, Value

Protocol = Literal["TCP", "UDP", "SCTP"]
IPFamily = Literal["IPv4", "IPv6"]


class Namespace(Object):
    KIND: ClassVar[str] = "Namespace"
    API_VERSION: ClassVar[str] = "v1"
    namespaced: ClassVar[bool] = False


# --- Node -----------------------------------------------------------------------------------------------------------


class NodeAddress(Value):
    type: str
    address: str


class NodeSpec(Value):
    """`podCIDRs` holds at most one CIDR per IP family; `podCIDR` is the first of them."""

    podCIDR: str = ""
    podCIDRs: tuple[str, ...] = ()
    unschedulable: bool = False


class Condition(Value):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    lastTransitionTime: str | None = None


class NodeStatus(Value):
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Node(Object):
    KIND: ClassVar[str] = "Node"
    API_VERSION: ClassVar[str] = "v1"
    namespaced: ClassVar[bool] = False

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Internal IPs, in order."""
        return tuple(a.address for a in self.status.addresses if a.type == "InternalIP")

    @property
    def podCIDRs(self) -> tuple[str, ...]:
        return self.spec.podCIDRs or ((self.spec.podCIDR,) if self.spec.podCIDR else ())

    @property
    def network_available(self) -> bool:
        """False when the lease of its pod subnet has expired: other nodes then lead nothing to it."""
        return not any(c.type == "NetworkUnavailable" and c.status == "True" for c in self.status.conditions)


# --- Pod ------------------------------------------------------------------------------------------------------------


class ContainerPort(Value):
    containerPort: Port
    name: str = ""
    protocol: Protocol = "TCP"
    hostPort: int = 0
    hostIP: str = ""


class EnvVar(Value):
    name: str
    value: str = ""


class ProbeAction(Value):
    """A readiness or liveness probe is accepted; k8snetlab takes a pod as ready when its responder listens."""


class Container(Value):
    """Without `command` and `args`, the built-in responder answers on every one of `ports`.

    `restartPolicy` is for init containers: "Always" makes one a sidecar, which runs beside the others.
    """

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    workingDir: str = ""
    restartPolicy: Literal["Always", "OnFailure", "Never"] | None = None


class PodSpec(Value):
    """Of `initContainers` only sidecars are run: those with a restartPolicy Always."""

    containers: tuple[Container, ...] = ()
    initContainers: tuple[Container, ...] = ()
    restartPolicy: Literal["Always", "OnFailure", "Never"] = "Always"
    nodeName: str = ""
    hostname: str = ""
    subdomain: str = ""
    hostNetwork: bool = False
    nodeSelector: Mapping[str, str] = {}
    terminationGracePeriodSeconds: int = 30

    @property
    def sidecars(self) -> tuple[Container, ...]:
        """Init containers that go on running: those with restartPolicy Always."""
        return tuple(c for c in self.initContainers if c.restartPolicy == "Always")

    @property
    def serving_containers(self) -> tuple[Container, ...]:
        """Whatever runs while the pod does, in the order in which Kubernetes looks for a named port."""
        return self.containers + self.sidecars


class PodIP(Value):
    ip: str


class ContainerStateWaiting(Value):
    """Why it does not run yet, or not again: ContainerCreating, CrashLoopBackOff, RunContainerError, …"""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(Value):
    startedAt: str | None = None


class ContainerStateTerminated(Value):
    """`reason` is Completed, Error, StartError or ContainerStatusUnknown; of one that a signal ended `exitCode` is 128
    and the signal's number, as containerd says it."""

    exitCode: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    startedAt: str | None = None
    finishedAt: str | None = None
    containerID: str = ""


class ContainerState(Value):
    """Exactly one of the three is set; all None is read as waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Value):
    """`lastState` is how it ended before it was started for the last time."""

    name: str
    state: ContainerState = ContainerState()
    lastState: ContainerState = ContainerState()
    ready: bool = False
    restartCount: int = 0
    image: str = ""
    imageID: str = ""
    containerID: str = ""
    started: bool | None = None


class PodStatus(Value):
    """`phase` is Pending, Running, Succeeded or Failed; the condition of type Ready decides over endpoints.

    `reason` is "NodeLost" while nobody hears of the pod's node.
    """

    phase: str = "Pending"
    podIP: str = ""
    podIPs: tuple[PodIP, ...] = ()
    hostIP: str = ""
    startTime: str | None = None
    conditions: tuple[Condition, ...] = ()
    initContainerStatuses: tuple[ContainerStatus, ...] = ()
    containerStatuses: tuple[ContainerStatus, ...] = ()
    reason: str = ""
    message: str = ""


class Pod(Object):
    KIND: ClassVar[str] = "Pod"
    API_VERSION: ClassVar[str] = "v1"

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ips(self) -> tuple[str, ...]:
        return tuple(p.ip for p in self.status.podIPs) or ((self.status.podIP,) if self.status.podIP else ())

    @property
    def ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)

    @property
    def ended(self) -> bool:
        """Whether it has run and will not again: it has no namespace any more."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def hostname(self) -> str:
        return self.spec.hostname or self.metadata.name


class PodTemplateSpec(Value):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


# --- Service --------------------------------------------------------------------------------------------------------


class ServicePort(Value):
    """`targetPort` is a number or the name of a container port; None means: the same as `port`."""

    port: Port
    name: str = ""
    protocol: Protocol = "TCP"
    targetPort: int | str | None = None
    nodePort: int = 0
    appProtocol: str | None = None


class ClientIPConfig(Value):
    timeoutSeconds: Annotated[int, Meta(ge=1, le=86400)] = 10800


class SessionAffinityConfig(Value):
    clientIP: ClientIPConfig = ClientIPConfig()


class ServiceSpec(Value):
    """`clusterIP` is "" before one is allocated and "None" for a headless Service."""

    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] | None = None
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    clusterIP: str = ""
    clusterIPs: tuple[str, ...] = ()
    ipFamilies: tuple[IPFamily, ...] = ()
    ipFamilyPolicy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    externalIPs: tuple[str, ...] = ()
    externalName: str = ""
    externalTrafficPolicy: Literal["", "Cluster", "Local"] = ""
    internalTrafficPolicy: Literal["Cluster", "Local"] = "Cluster"
    healthCheckNodePort: int = 0
    loadBalancerIP: str = ""
    loadBalancerSourceRanges: tuple[str, ...] = ()
    loadBalancerClass: str | None = None
    allocateLoadBalancerNodePorts: bool = True
    publishNotReadyAddresses: bool = False
    sessionAffinity: Literal["None", "ClientIP"] = "None"
    sessionAffinityConfig: SessionAffinityConfig | None = None
    trafficDistribution: str | None = None


class LoadBalancerIngress(Value):
    ip: str = ""
    hostname: str = ""
    ipMode: Literal["VIP", "Proxy"] = "VIP"


class LoadBalancerStatus(Value):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Value):
    loadBalancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Object):
    KIND: ClassVar[str] = "Service"
    API_VERSION: ClassVar[str] = "v1"

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

    @property
    def clusterIPs(self) -> tuple[str, ...]:
        """Allocated cluster IPs; empty for headless, ExternalName and not yet allocated ones."""
        ips = self.spec.clusterIPs or ((self.spec.clusterIP,) if self.spec.clusterIP else ())
        return tuple(ip for ip in ips if ip not in ("", "None"))


# --- Endpoints ------------------------------------------------------------------------------------------------------


class ObjectReference(Value):
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""
    apiVersion: str = ""
    resourceVersion: str = ""
    fieldPath: str = ""


class EndpointAddress(Value):
    ip: str
    hostname: str = ""
    nodeName: str | None = None
    targetRef: ObjectReference | None = None


class EndpointPort(Value):
    port: Port
    name: str = ""
    protocol: Protocol = "TCP"


class EndpointSubset(Value):
    addresses: tuple[EndpointAddress, ...] = ()
    notReadyAddresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Object):
    """Hand-written for a Service without selector; a controller mirrors it into an EndpointSlice."""

    KIND: ClassVar[str] = "Endpoints"
    API_VERSION: ClassVar[str] = "v1"

    subsets: tuple[EndpointSubset, ...] = ()
