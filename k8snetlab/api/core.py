"""Kinds of the core group, v1: Namespace, Node, Pod, Service, Endpoints.

What shapes the network is typed, and so is what the API server fills in; fields that are only handed on hold plain
values (`Any`); others are named in a warning when a manifest is loaded.
Source: Kubernetes API reference, core/v1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from k8snetlab.api.environment import EnvFromSource, EnvVarSource
from k8snetlab.api.meta import Object, ObjectMeta, OrBlank, Port, Value, always
from k8snetlab.api.placement import Affinity, TopologySpreadConstraint
from k8snetlab.api.probes import Lifecycle, Probe
from k8snetlab.api.volumes import Volume, VolumeMount

Protocol = Literal["TCP", "UDP", "SCTP"]
IPFamily = Literal["IPv4", "IPv6"]
DNSPolicy = Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]


class Condition(Value):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    observedGeneration: int = 0
    lastTransitionTime: str | None = None
    lastUpdateTime: str | None = None


class NamespaceSpec(Value):
    finalizers: tuple[str, ...] = always(("kubernetes",))


class NamespaceStatus(Value):
    phase: Literal["Active", "Terminating"] = always("Active")
    conditions: tuple[Condition, ...] = ()


class Namespace(Object):
    KIND: ClassVar[str] = "Namespace"
    API_VERSION: ClassVar[str] = "v1"
    namespaced: ClassVar[bool] = False

    spec: NamespaceSpec = always(NamespaceSpec())
    status: NamespaceStatus = always(NamespaceStatus())


# --- Node -----------------------------------------------------------------------------------------------------------


class NodeAddress(Value):
    type: str
    address: str


class Taint(Value):
    key: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    value: str = ""
    timeAdded: str | None = None


class NodeSpec(Value):
    """`podCIDRs` holds at most one CIDR per IP family; `podCIDR` is the first of them."""

    podCIDR: str = ""
    podCIDRs: tuple[str, ...] = ()
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeSystemInfo(Value):
    """What kubelet tells of its machine; `kubeProxyVersion` is empty since 1.33."""

    architecture: str = always("")
    bootID: str = always("")
    containerRuntimeVersion: str = always("")
    kernelVersion: str = always("")
    kubeProxyVersion: str = always("")
    kubeletVersion: str = always("")
    machineID: str = always("")
    operatingSystem: str = always("")
    osImage: str = always("")
    systemUUID: str = always("")


class DaemonEndpoint(Value):
    Port: int = always(0)


class NodeDaemonEndpoints(Value):
    kubeletEndpoint: DaemonEndpoint = always(DaemonEndpoint())


class NodeStatus(Value):
    """`capacity` and `allocatable` are quantities as Kubernetes writes them: {"cpu": "2", "memory": "4Gi"}."""

    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()
    capacity: Mapping[str, str] = {}
    allocatable: Mapping[str, str] = {}
    daemonEndpoints: NodeDaemonEndpoints = always(NodeDaemonEndpoints())
    nodeInfo: NodeSystemInfo = always(NodeSystemInfo())


class Node(Object):
    KIND: ClassVar[str] = "Node"
    API_VERSION: ClassVar[str] = "v1"
    namespaced: ClassVar[bool] = False

    spec: NodeSpec = always(NodeSpec())
    status: NodeStatus = always(NodeStatus())

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
    protocol: Annotated[Protocol, OrBlank] = always("TCP")
    hostPort: int = 0
    hostIP: str = ""


class EnvVar(Value):
    name: str
    value: str = ""
    valueFrom: EnvVarSource | None = None


_SHELLS = ("ash", "bash", "dash", "sh")


class Container(Value):
    """Without `argv`, the built-in responder answers on every one of `ports`.

    `restartPolicy` is for init containers: "Always" makes one a sidecar, which runs beside the others.
    """

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    envFrom: tuple[EnvFromSource, ...] = ()
    workingDir: str = ""
    stdin: bool = False
    restartPolicy: Literal["Always", "OnFailure", "Never"] | None = None
    imagePullPolicy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    resources: Mapping[str, Any] = always({})
    livenessProbe: Probe | None = None
    readinessProbe: Probe | None = None
    startupProbe: Probe | None = None
    lifecycle: Lifecycle | None = None
    volumeMounts: tuple[VolumeMount, ...] = ()
    terminationMessagePath: Annotated[str, OrBlank] = always("/dev/termination-log")
    terminationMessagePolicy: Annotated[Literal["File", "FallbackToLogsOnError"], OrBlank] = always("File")

    @property
    def argv(self) -> tuple[str, ...]:
        """The program that is run, and its words; none where a stand-in answers.

        `args` alone are words to the image's own program, which is not here: a shell's image runs them. So they are run
        unless the first is an option, or the image serves `ports` and it is no shell (`netexec` of agnhost's).
        """
        if self.command or not self.args or not self.args[0]:
            return (*self.command, *self.args) if self.command else ()
        first = self.args[0]
        theirs = first.startswith("-") or (self.ports and first.rpartition("/")[2] not in _SHELLS)
        return () if theirs else self.args


class Toleration(Value):
    key: str = ""
    operator: Literal["", "Exists", "Equal", "Lt", "Gt"] = ""
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    tolerationSeconds: int | None = None


class PodDNSConfigOption(Value):
    """`value` None: an option that has none, as "single-request"."""

    name: str = ""
    value: str | None = None


class PodDNSConfig(Value):
    """Added to what `dnsPolicy` gives."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[PodDNSConfigOption, ...] = ()


class HostAlias(Value):
    """Names of an address, for the pod's /etc/hosts."""

    ip: str
    hostnames: tuple[str, ...] = ()


class PodSpec(Value):
    """`initContainers` are run one after the other, before the others begin; sidecars among them, those with a
    restartPolicy Always, go on beside these."""

    containers: tuple[Container, ...] = ()
    initContainers: tuple[Container, ...] = ()
    restartPolicy: Annotated[Literal["Always", "OnFailure", "Never"], OrBlank] = always("Always")
    nodeName: str = ""
    hostname: str = ""
    subdomain: str = ""
    hostNetwork: bool = False
    nodeSelector: Mapping[str, str] = {}
    affinity: Affinity | None = None
    terminationGracePeriodSeconds: int = always(30)
    activeDeadlineSeconds: int | None = None
    dnsPolicy: Annotated[DNSPolicy, OrBlank] = always("ClusterFirst")
    dnsConfig: PodDNSConfig | None = None
    hostAliases: tuple[HostAlias, ...] = ()
    setHostnameAsFQDN: bool | None = None
    enableServiceLinks: bool | None = None
    preemptionPolicy: Literal["PreemptLowerPriority", "Never"] | None = None
    priority: int | None = None
    priorityClassName: str = ""
    schedulerName: Annotated[str, OrBlank] = always("default-scheduler")
    securityContext: Mapping[str, Any] = always({})
    shareProcessNamespace: bool | None = None
    serviceAccount: str = ""
    serviceAccountName: str = ""
    automountServiceAccountToken: bool | None = None
    tolerations: tuple[Toleration, ...] = ()
    topologySpreadConstraints: tuple[TopologySpreadConstraint, ...] = ()
    volumes: tuple[Volume, ...] = ()

    @property
    def all_containers(self) -> tuple[Container, ...]:
        return (*self.initContainers, *self.containers)

    @property
    def sidecars(self) -> tuple[Container, ...]:
        """Init containers that go on running: those with restartPolicy Always."""
        return tuple(c for c in self.initContainers if c.restartPolicy == "Always")

    @property
    def beginning(self) -> tuple[Container, ...]:
        """Init containers that end before the others begin."""
        return tuple(c for c in self.initContainers if c.restartPolicy != "Always")

    @property
    def serving_containers(self) -> tuple[Container, ...]:
        """Whatever runs while the pod does, in the order in which Kubernetes looks for a named port."""
        return self.containers + self.sidecars

    @property
    def serving_ports(self) -> tuple[ContainerPort, ...]:
        """What those say they answer at, in that order."""
        return tuple(port for container in self.serving_containers for port in container.ports)


MIRROR = "kubernetes.io/config.mirror"
"""Annotation of a Pod that shows a static pod: that one's hash."""
_STATIC = re.compile(r"[0-9a-f]{32}")


class PodIP(Value):
    ip: str


class ContainerStateWaiting(Value):
    """Why it does not run yet, or not again: ContainerCreating, CrashLoopBackOff, RunContainerError, …"""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(Value):
    startedAt: str | None = always(None)


class ContainerStateTerminated(Value):
    """`reason` is Completed, Error, StartError or ContainerStatusUnknown; for one that a signal ended, `exitCode` is
    128 plus the signal's number, as containerd has it."""

    exitCode: int = always(0)
    signal: int = 0
    reason: str = ""
    message: str = ""
    startedAt: str | None = always(None)
    finishedAt: str | None = always(None)
    containerID: str = ""


class ContainerState(Value):
    """Exactly one of the three is set; all None is read as waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class HostIP(Value):
    ip: str


class ContainerStatus(Value):
    """`lastState` is how the run before this one ended."""

    name: str
    state: ContainerState = always(ContainerState())
    lastState: ContainerState = always(ContainerState())
    ready: bool = always(False)
    restartCount: int = always(0)
    image: str = always("")
    imageID: str = always("")
    containerID: str = ""
    started: bool | None = None


class PodStatus(Value):
    """`phase` is Pending, Running, Succeeded or Failed; the condition of type Ready decides over endpoints.

    `reason` is "NodeLost" while the pod's node sends no heartbeat. `nominatedNodeName` is the node on which room is
    made for the pod.
    """

    phase: str = always("Pending")
    podIP: str = ""
    podIPs: tuple[PodIP, ...] = ()
    hostIP: str = ""
    startTime: str | None = None
    hostIPs: tuple[HostIP, ...] = ()
    qosClass: Literal["", "Guaranteed", "Burstable", "BestEffort"] = ""
    observedGeneration: int = 0
    nominatedNodeName: str = ""
    conditions: tuple[Condition, ...] = ()
    initContainerStatuses: tuple[ContainerStatus, ...] = ()
    containerStatuses: tuple[ContainerStatus, ...] = ()
    reason: str = ""
    message: str = ""


class Pod(Object):
    KIND: ClassVar[str] = "Pod"
    API_VERSION: ClassVar[str] = "v1"
    counted: ClassVar[bool] = True

    spec: PodSpec = always(PodSpec())
    status: PodStatus = always(PodStatus())

    @property
    def own_ports(self) -> tuple[ContainerPort, ...]:
        """Those at the pod's addresses: in the host's network a port may be at another one of the node's (hostIP)."""
        ports, elsewhere = self.spec.serving_ports, self.spec.hostNetwork
        return tuple(p for p in ports if not elsewhere or p.hostIP in ("", "0.0.0.0", "::", *self.ips))

    @property
    def ips(self) -> tuple[str, ...]:
        return tuple(p.ip for p in self.status.podIPs) or ((self.status.podIP,) if self.status.podIP else ())

    @property
    def run_uid(self) -> str:
        """By which its kubelet knows it: of a mirror pod the static pod's, which goes on when its mirror is another."""
        static = self.metadata.annotations.get(MIRROR, "")
        return static if _STATIC.fullmatch(static) else self.metadata.uid

    @property
    def ready(self) -> bool:
        for condition in self.status.conditions:  # noqa: SIM110 (asked of all pods, all the time: any() takes thrice as long)
            if condition.type == "Ready" and condition.status == "True":
                return True
        return False

    @property
    def ended(self) -> bool:
        """Whether it has run and will not again: it has no namespace any more."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def hostname(self) -> str:
        """At most 63 characters, as kubelet cuts it: the kernel takes 64."""
        return (self.spec.hostname or self.metadata.name)[:63].rstrip("-.")

    @property
    def sandbox_id(self) -> str:
        """What a container runtime calls the pod's sandbox: 64 hex digits, the same for as long as the pod lives."""
        import hashlib  # loads OpenSSL, which no verb that shows objects needs

        return hashlib.sha256(self.metadata.uid.encode()).hexdigest()


class PodTemplateSpec(Value):
    metadata: ObjectMeta = always(ObjectMeta())
    spec: PodSpec = always(PodSpec())


# --- Service --------------------------------------------------------------------------------------------------------


NODE_PORTS = range(30000, 32768)
KUBERNETES = ("default", "kubernetes")
"""The API server's own Service, which has the first address of the service network."""


class ServicePort(Value):
    """`targetPort` is a number or the name of a container port; None means: the same as `port`."""

    port: Port
    name: str = ""
    protocol: Annotated[Protocol, OrBlank] = always("TCP")
    targetPort: int | str | None = None
    nodePort: int = 0
    appProtocol: str | None = None


class ClientIPConfig(Value):
    timeoutSeconds: Annotated[int, Meta(ge=1, le=86400)] = always(10800)


class SessionAffinityConfig(Value):
    clientIP: ClientIPConfig = always(ClientIPConfig())


class ServiceSpec(Value):
    """`clusterIP` is "" before one is allocated and "None" for a headless Service."""

    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] | None = None
    type: Annotated[Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"], OrBlank] = always("ClusterIP")
    clusterIP: str = ""
    clusterIPs: tuple[str, ...] = ()
    ipFamilies: tuple[IPFamily, ...] = ()
    ipFamilyPolicy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    externalIPs: tuple[str, ...] = ()
    externalName: str = ""
    externalTrafficPolicy: Literal["", "Cluster", "Local"] = ""
    internalTrafficPolicy: Literal["Cluster", "Local"] | None = None
    healthCheckNodePort: int = 0
    loadBalancerIP: str = ""
    loadBalancerSourceRanges: tuple[str, ...] = ()
    loadBalancerClass: str | None = None
    allocateLoadBalancerNodePorts: bool | None = None
    publishNotReadyAddresses: bool = False
    sessionAffinity: Annotated[Literal["None", "ClientIP"], OrBlank] = always("None")
    sessionAffinityConfig: SessionAffinityConfig | None = None
    trafficDistribution: Literal["PreferClose", "PreferSameZone", "PreferSameNode"] | None = None


class LoadBalancerIngress(Value):
    ip: str = ""
    hostname: str = ""
    ipMode: Literal["VIP", "Proxy"] | None = None

    @property
    def here(self) -> str:
        """The address that nodes themselves answer for, "" where there is none."""
        return self.ip if self.ipMode != "Proxy" else ""


class LoadBalancerStatus(Value):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Value):
    loadBalancer: LoadBalancerStatus = always(LoadBalancerStatus())


class Service(Object):
    KIND: ClassVar[str] = "Service"
    API_VERSION: ClassVar[str] = "v1"

    spec: ServiceSpec = always(ServiceSpec())
    status: ServiceStatus = always(ServiceStatus())

    @property
    def clusterIPs(self) -> tuple[str, ...]:
        """Allocated cluster IPs; empty for headless, ExternalName and not yet allocated ones."""
        ips = self.spec.clusterIPs or ((self.spec.clusterIP,) if self.spec.clusterIP else ())
        return tuple(ip for ip in ips if ip not in ("", "None")) if "None" in ips or "" in ips else ips


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
    protocol: Annotated[Protocol, OrBlank] = always("TCP")


class EndpointSubset(Value):
    addresses: tuple[EndpointAddress, ...] = ()
    notReadyAddresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Object):
    """Hand-written for a Service without selector; a controller mirrors it into an EndpointSlice."""

    KIND: ClassVar[str] = "Endpoints"
    API_VERSION: ClassVar[str] = "v1"

    subsets: tuple[EndpointSubset, ...] = ()
