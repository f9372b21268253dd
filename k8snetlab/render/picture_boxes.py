"""What a picture of a lab consists of: values, which are not drawn yet."""

from __future__ import annotations

import msgspec

from k8snetlab.dataplane import names


class PodBox(msgspec.Struct, frozen=True):
    """A pod of a picture."""

    name: str
    """ "namespace/name", in namespace default the name alone."""
    addresses: tuple[str, ...]
    """Its IP addresses."""
    services: tuple[int, ...] = ()
    """The Services that it is an endpoint of, as indexes into the picture's `services`."""
    host: bool = False
    """Whether it uses its node's network and addresses."""
    broken: str = ""
    """In which state it is if it does not run ("Pending"), else ""."""


class NodeBox(msgspec.Struct, frozen=True):
    """A node of a picture."""

    name: str
    """The node's."""
    uplink: str
    """The device towards the other nodes."""
    addresses: tuple[str, ...]
    """IP addresses of that device."""
    bridge: tuple[str, ...]
    """IP addresses of cni0, with prefix lengths; with Calico the node's blocks."""
    tunnel: tuple[str, ...]
    """VXLAN devices with their addresses ("flannel.1 172.30.76.0"), none where there is no tunnel."""
    pods: tuple[PodBox, ...]
    """Those that are on it."""
    broken: tuple[str, ...] = ()
    """Devices of it that are broken; "" stands for the node itself."""
    joint: str = names.BRIDGE
    """What its pods are plugged into: "cni0", or "cali*" where each has a device of its own."""

    number: int = 0
    """Its autonomous system, 0 without BGP."""

    def is_broken(self, device: str) -> bool:
        """Whether this device of the node is broken; "" stands for the node itself."""
        return device in self.broken


class ServiceBox(msgspec.Struct, frozen=True):
    """A Service of a picture."""

    name: str
    """ "namespace/name", in namespace default the name alone."""
    addresses: tuple[str, ...]
    """As "10.96.0.10:80/TCP"; node ports as "NodePort 30080/TCP"."""
    endpoints: tuple[str, ...]
    """As "10.244.1.5:8080"."""
    foreign: tuple[str, ...] = ()
    """The endpoints that are not those of a pod in the picture."""
    broken: bool = False
    """Whether a diagnosis finds it broken."""


class Alarm(msgspec.Struct, frozen=True):
    """Something that is broken: a device of a node ("" for the node itself), a pod or a Service ("namespace/name")."""

    message: str
    node: str = ""
    device: str = ""
    object: str = ""


class HostBox(msgspec.Struct, frozen=True):
    """A host of `spec.outside`."""

    name: str
    """Its name."""
    addresses: tuple[str, ...]
    """Its IP addresses."""
    ports: tuple[int, ...]
    """The TCP ports that it answers on."""
    beside: bool
    """Whether it stands beside the nodes; else beyond the router."""

    @property
    def lines(self) -> tuple[str, ...]:
        """As a box says it."""
        ports = f", TCP {', '.join(map(str, self.ports))}" if self.ports else ""
        where = "beside the nodes" if self.beside else "beyond the router"
        return (self.name, *self.addresses, f"{where}{ports}")


class LinkBox(msgspec.Struct, frozen=True):
    """One of several links of an underlay."""

    name: str
    """Its name."""
    network: str
    """As CIDR."""
    cost: int
    """What it counts for the cheapest way; 0 where a protocol counts routers."""
    routers: tuple[tuple[str, str], ...]
    """Those on it, each with its address there."""
    nodes: tuple[int, ...]
    """The nodes on it, as indexes into the picture's `nodes`."""
    area: str = ""
    """The area of OSPF that it is of, "" without OSPF."""
    down: tuple[str, ...] = ()
    """The routers whose devices on it are broken."""

    @property
    def lines(self) -> tuple[str, ...]:
        """As a box says it."""
        return (f"link {self.name}", self.network, *filter(None, (self.counts,)))

    @property
    def counts(self) -> str:
        """Its cost, and OSPF's area; "" where neither is."""
        cost = f"cost {self.cost}" if self.cost else ""
        return cost + (f", area {self.area}" if self.area else "")


class RouterBox(msgspec.Struct, frozen=True):
    """A router of an underlay with several links."""

    name: str
    """Its name."""
    addresses: tuple[str, ...]
    """Each as the link's name, a space, and its address there."""
    number: int = 0
    """Its autonomous system, 0 without BGP."""

    @property
    def lines(self) -> tuple[str, ...]:
        """As a box says it."""
        return (self.name, *self.addresses, *((f"AS {self.number}",) if self.number else ()))


class SessionLine(msgspec.Struct, frozen=True):
    """A session of BGP between two nodes, or routers."""

    one: str
    """The name of either."""
    other: str
    """That of the other."""
    words: str
    """ "iBGP, AS 64512", "eBGP, AS 64512 and 64513"."""


class Picture(msgspec.Struct, frozen=True):
    """A lab as a picture, before anybody draws it."""

    lab: str
    """Its name."""
    outside: tuple[str, ...]
    """IP addresses of the host outside; none where the nodes are machines."""
    router: tuple[str, ...]
    """IP addresses of the router; none where the nodes are machines."""
    underlay: tuple[str, ...]
    """The networks that the nodes stand in, as CIDR."""
    backend: str
    """How pods of different nodes reach each other, in a few words."""
    tunnelled: bool
    """Whether by tunnels."""
    nodes: tuple[NodeBox, ...]
    """All nodes."""
    services: tuple[ServiceBox, ...]
    """All Services."""
    alarms: tuple[str, ...] = ()
    """What a diagnosis finds broken, in sentences."""
    hosts: tuple[HostBox, ...] = ()
    """The other hosts outside."""
    links: tuple[LinkBox, ...] = ()
    """Those of an underlay that has several, with the routers between; none where all nodes share one."""
    routers: tuple[RouterBox, ...] = ()
    """Those between several links, the first one first."""
    sessions: tuple[SessionLine, ...] = ()
    """Those of BGP that the lab file asks for, each once; none where no daemon speaks it."""
