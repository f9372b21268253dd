"""The lab file: apiVersion k8snetlab/v1alpha1, kind Lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from k8snetlab.api import addressing
from k8snetlab.api.bgp import BGP, ASNumber
from k8snetlab.api.dns import Dns
from k8snetlab.api.load_balancer import LoadBalancer
from k8snetlab.api.meta import Object, Port, Value, always

MaxPods = Annotated[int, Meta(ge=1, le=1023)]
"""A bridge has 1,023 ports."""


ProxyMode = Literal["iptables", "external"]
"""Who writes the rules of Services: the lab's own kube-proxy, or a guest of the user's."""


class NodeProxy(Value):
    """kube-proxy on one node."""

    mode: ProxyMode


class LabNode(Value):
    """A node of the lab; `address` and `podCIDR` are allocated in order where left out, `maxPods` and `proxy` are the
    lab's.

    `podCIDR` may hold one CIDR per family, separated by a comma. Of Calico's network are `blocks`, CIDRs that the node
    claims first, `asNumber`, its autonomous system (by default the lab's), and `routeReflectorClusterID`, by which it
    is a route reflector of that cluster.
    """

    name: str
    address: str = ""
    podCIDR: str = ""
    blocks: tuple[str, ...] = ()
    asNumber: ASNumber | None = None
    routeReflectorClusterID: str = ""
    labels: Mapping[str, str] = {}
    maxPods: MaxPods | None = None
    proxy: NodeProxy | None = None


class UnderlayLink(Value):
    """One of several links: the routers on it, of which the first is its nodes' way to all others, and the nodes.
    `cost` is what OSPF counts for it."""

    name: str
    cidr: str
    routers: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    cost: Annotated[int, Meta(ge=1, le=65535)] = always(10)


class Underlay(Value):
    """The network the nodes stand in: `cidr` with the router at `router`, and beyond it one host at `outside`.

    For dual-stack labs `cidr`, `router` and `outside` hold one value per family, separated by a comma. With `links`
    nodes stand on several, whose networks are parts of `cidr`, with `routers` between; the lab's own, router, is one.
    """

    cidr: str = always("192.168.0.0/24")
    router: str = ""
    outside: str = always("203.0.113.10/24")
    mtu: Annotated[int, Meta(ge=576, le=65535)] = always(1500)
    links: tuple[UnderlayLink, ...] = ()
    routers: tuple[str, ...] = ()


Backend = Literal["vxlan", "host-gw", "bgp", "ospf", "rip", "calico"]
"""Who makes the routes between nodes: flannel by either of the first two, daemons by a protocol for the next, Calico
by itself or by a daemon."""
ROUTED: tuple[Backend, ...] = ("bgp", "ospf", "rip")
"""The backends with which flannel only gives out subnets ("alloc", as it calls that)."""
Daemon = Literal["", "bird", "frr"]


class Routing(Value):
    """The daemons that speak a routing protocol, one set a node.

    With `daemon` left out it is FRR for OSPF with IPv4 alone, BIRD else: whichever has its routes first. Timers that
    are fast find a dead neighbour within seconds; textbook ones are the protocol's own defaults. `asNumber` is the
    autonomous system of all nodes, for BGP. With a `password` daemons believe only who signs with it, by MD5. With
    `bfd` neighbours say by BFD that they are there, three times a second, whatever the protocol's own timers. With
    `outside` the host at `underlay.outside` takes part, and so reaches pods by their own addresses. With
    Calico `routes` says who makes the routes of pools with an ipipMode: BIRD (classic, as it was until Calico 3.32 and
    as books show it) or Felix (current).
    """

    daemon: Daemon = ""
    timers: Literal["fast", "textbook"] = always("fast")
    asNumber: ASNumber = always(64512)
    routes: Literal["classic", "current"] = always("classic")
    password: str = ""
    bfd: bool = False
    outside: bool = False


Encapsulation = Literal["Never", "Always", "CrossSubnet"]
Tunnel = Literal["", "vxlan", "ipip"]


class IPPool(Value):
    """Calico's, with its words and defaults: addresses for pods, given to nodes that `nodeSelector` selects in blocks
    of prefix length `blockSize`. With `ipipMode` or `vxlanMode` packets to pods of other nodes travel in others, or
    (CrossSubnet) only those to nodes on another network. What leaves all pools is masqueraded with `natOutgoing`.
    """

    cidr: str
    name: str = ""
    blockSize: Annotated[int, Meta(ge=20, le=32)] = always(26)
    ipipMode: Encapsulation = always("Never")
    vxlanMode: Encapsulation = always("Never")
    natOutgoing: bool = False
    nodeSelector: str = always("all()")

    @property
    def tunnel(self) -> Tunnel:
        """What carries packets to pods of other nodes, "" for nothing."""
        return "vxlan" if self.vxlanMode != "Never" else "ipip" if self.ipipMode != "Never" else ""

    @property
    def mode(self) -> Encapsulation:
        """When it does."""
        return self.ipipMode if self.tunnel == "ipip" else self.vxlanMode


class Network(Value):
    """The overlay, with flannel's words: `vni`, `port` (UDP) and `mtu` of flannel.<vni>; `routing` is of the backends
    that are routing protocols.

    With backend calico pods have addresses of `ipPools`, or of one pool that is the pod network and has natOutgoing;
    with `strictAffinity` no node takes addresses of another one's blocks; `bgp` is whom nodes have sessions with.
    With all others nodes get subnets of the pod network with prefix length `subnetLen`, from the one at `subnetMin`
    to the one at `subnetMax`; by default a /24 each (IPv6: a /64), from the second subnet to the last. They hold
    them by leases of `leaseTTL` seconds.
    """

    backend: Backend = always("vxlan")
    routing: Routing = always(Routing())
    vni: Annotated[int, Meta(ge=1, le=16777215)] = always(1)
    port: Port = always(8472)
    mtu: Annotated[int, Meta(ge=576, le=65535)] | None = None
    directRouting: bool = False
    resolve: Literal["proactive", "on-miss"] = always("proactive")
    routes: Literal["per-node", "flat"] = always("per-node")
    subnetLen: int | None = None
    subnetMin: str = ""
    subnetMax: str = ""
    ipv6SubnetLen: int | None = None
    ipv6SubnetMin: str = ""
    ipv6SubnetMax: str = ""
    leaseTTL: Annotated[int, Meta(ge=2, le=31_536_000)] = always(86_400)
    ipPools: tuple[IPPool, ...] = ()
    strictAffinity: bool = False
    bgp: BGP = BGP()

    @property
    def calico(self) -> bool:
        return self.backend == "calico"

    @property
    def routed(self) -> bool:
        """Whether daemons make routes: with Calico those of pools without VXLAN."""
        if self.calico:
            return not self.ipPools or any(pool.vxlanMode == "Never" for pool in self.ipPools)
        return self.backend in ROUTED

    @property
    def protocol(self) -> str:
        """That the daemons speak."""
        return "bgp" if self.calico else self.backend

    @property
    def flannel(self) -> str:
        """The backend that flannel has."""
        return "alloc" if self.routed else self.backend

    def subnets(self, cidr: addressing.IPNetwork) -> addressing.SubnetRange:
        """What nodes get of the pod network `cidr`. Raises ValueError, saying what is wrong."""
        if cidr.version == 4:
            return addressing.subnet_range(cidr, self.subnetLen, self.subnetMin, self.subnetMax)
        return addressing.subnet_range(cidr, self.ipv6SubnetLen, self.ipv6SubnetMin, self.ipv6SubnetMax)


class OutsideHost(Value):
    """A machine that is none of the cluster's: with an `address` of the underlay it stands beside the nodes, else
    beyond the router. It answers on its TCP `ports` as a pod without a command does; `address` may hold one for each
    family, separated by a comma.
    """

    name: str
    address: str
    ports: tuple[Port, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(addressing.split(self.address))

    def is_beside(self, underlay: Underlay) -> bool:
        """Whether it stands in the network of the nodes."""
        try:
            networks = addressing.parse_networks(underlay.cidr)
            own = [addressing.address(text) for text in self.addresses]
        except ValueError:
            return False
        return any(one in network for one in own for network in networks if network.version == one.version)


class Outside(Value):
    """The world around the cluster, besides the host at `underlay.outside`: databases, other people's servers."""

    hosts: tuple[OutsideHost, ...] = ()


class Proxy(Value):
    """kube-proxy on every node. `iptables` chooses the variant ("auto": whichever the host's `iptables` is).

    With `mode` external the lab writes no rules of Services: a guest does.
    """

    mode: ProxyMode = always("iptables")
    iptables: Literal["auto", "nft", "legacy"] = always("auto")
    layout: Literal["current", "classic"] = always("current")


class LabNetworkPolicy(Value):
    """`controller` brings NetworkPolicies into every node's kernel as kube-router does, or, with Calico's network, as
    Felix; with none they are stored and have no effect, as with flannel alone. Connections that are there go on when a
    policy changes, as with kube-router; with `cutEstablished` those that are allowed no more are cut."""

    controller: Literal["kube-router", "none"] = always("kube-router")
    cutEstablished: bool = False


class IngressPorts(Value):
    """The node ports of the controller's Service; 0 has one allocated."""

    http: Annotated[int, Meta(ge=0, le=65535)] = 0
    https: Annotated[int, Meta(ge=0, le=65535)] = 0


class IngressSettings(Value):
    """`controller` is who acts on Ingresses: nginx as ingress-nginx configures it, or nobody. Its pods are those of the
    Deployment ingress-nginx-controller in the namespace ingress-nginx; its Service there has the cluster IP `address`
    (by default an allocated one). `defaultCertificate` names a Secret, NAMESPACE/NAME, for hosts without one of their
    own. With `defaultClass` Ingresses that name no class are its own.
    """

    controller: Literal["none", "nginx"] = always("none")
    replicas: Annotated[int, Meta(ge=0, le=100)] = always(1)
    nodePorts: IngressPorts = IngressPorts()
    serviceType: Literal["NodePort", "LoadBalancer"] = always("NodePort")
    address: str = ""
    defaultCertificate: str = ""
    defaultClass: bool = always(True)


class GatewaySettings(Value):
    """`controller` is who serves Gateways: nginx as nginx-gateway-fabric runs it, or nobody. Each Gateway has
    `replicas` pods, when it is made, and a Service of its own, beside it; the GatewayClass is nginx."""

    controller: Literal["none", "nginx"] = always("none")
    replicas: Annotated[int, Meta(ge=1, le=100)] = always(1)
    serviceType: Literal["NodePort", "LoadBalancer"] = always("NodePort")


class StoreSpec(Value):
    """`endpoints` are URLs of etcd's members, `ca`, `cert` and `key` PEM files. `insecure` admits plain http: whoever
    reaches such a store can write to the lab, and a Pod's command runs as root.
    """

    type: Literal["embedded", "etcd"] = always("embedded")
    endpoints: tuple[str, ...] = ()
    ca: str = ""
    cert: str = ""
    key: str = ""
    insecure: bool = False

    @property
    def open(self) -> bool:
        """Whether anybody who reaches one of the endpoints is let in."""
        return any(url.startswith("http://") for url in self.endpoints)


class ApiSpec(Value):
    """`listen` is where the API is reached by TCP besides its socket: host:port of this machine, "" for nowhere (until
    `kubeconfig` asks for it). With `rbac` users and ServiceAccounts may do what Roles and their bindings say, and
    nothing else."""

    listen: str = ""
    rbac: bool = False


class ControlPlane(Value):
    """With `replicas` and `etcd` that many API servers share an etcd of that many members, in nodes control-plane1 …
    of their own, with a balancer in front of them at the router; else the lab's daemon is the only API server, with a
    store of its own.

    A node whose Lease is not renewed for `nodeMonitorGracePeriod` seconds is NotReady, as with that option of
    kube-controller-manager; in a lab of machines those are 40.
    """

    replicas: Annotated[int, Meta(ge=0, le=5)] = 0
    etcd: Annotated[int, Meta(ge=0, le=5)] = 0
    nodeMonitorGracePeriod: Annotated[int, Meta(ge=1, le=3600)] = always(40)


class LabSpec(Value):
    """`nodes` is a list, or a number N that stands for node1 … nodeN.

    With `machines` the nodes are real machines, which join by themselves (`up --node`, `node join`); `nodes` then is a
    list of what is known of some of them beforehand, and no number. A node takes `maxPods` pods, as kubelet has it.
    Volumes of hostPath are written to only where `hostPath` allows it. A pause process holds the namespaces of pods
    that run commands, or `always`. `images` says by name which directory of the machine an image is: a root directory,
    or an OCI layout; commands of others have the machine's own files.
    """

    nodes: tuple[LabNode, ...] | Annotated[int, Meta(ge=1, le=1000)] = always(2)
    machines: bool = False
    podCIDR: str = always("10.244.0.0/16")
    serviceCIDR: str = always("10.96.0.0/12")
    underlay: Underlay = always(Underlay())
    network: Network = always(Network())
    proxy: Proxy = always(Proxy())
    store: StoreSpec = always(StoreSpec())
    api: ApiSpec = ApiSpec()
    dns: Dns = Dns()
    networkPolicy: LabNetworkPolicy = LabNetworkPolicy()
    controlPlane: ControlPlane = ControlPlane()
    loadBalancer: LoadBalancer = LoadBalancer()
    ingress: IngressSettings = IngressSettings()
    gateway: GatewaySettings = GatewaySettings()
    hostPath: Literal["ReadOnly", "ReadWrite"] = "ReadOnly"
    pause: Literal["commands", "always"] = "commands"
    images: Mapping[str, str] = {}
    maxPods: MaxPods = always(110)
    outside: Outside = Outside()

    @property
    def hosts(self) -> tuple[OutsideHost, ...]:
        """Those outside that the lab makes: none beside machines."""
        return () if self.machines else self.outside.hosts

    @property
    def daemon(self) -> Daemon:
        """The daemon that makes the routes between nodes, or that tells the router of load balancers' addresses; "" for
        none."""
        if not self.network.routed:
            return "bird" if self.loadBalancer.mode == "bgp" else ""
        fast = self.network.backend == "ospf" and ":" not in self.podCIDR
        return self.network.routing.daemon or ("frr" if fast else "bird")

    @property
    def protocol(self) -> str:
        """Of the routes that the daemon makes, as `ip route` writes it after "proto"; "" where there is none."""
        return {"bird": "bird", "frr": self.network.backend}.get(self.daemon, "")

    @property
    def author(self) -> str:
        """Who makes those, in words."""
        if self.network.calico:
            return "BIRD, as Calico configures it"
        return f"{self.daemon.upper()}, by {self.spoken.upper()}"

    @property
    def spoken(self) -> str:
        """The protocol that the daemon speaks."""
        return self.network.protocol if self.network.routed else "bgp"


class Lab(Object):
    KIND: ClassVar[str] = "Lab"
    API_VERSION: ClassVar[str] = "k8snetlab/v1alpha1"
    namespaced: ClassVar[bool] = False

    spec: LabSpec = always(LabSpec())
