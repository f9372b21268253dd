"""One lab as a fault sees it: a node, what is on it and what it should hold, and choices among them by a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

from k8snetlab.api import topology
from k8snetlab.api.core import Node, Pod, Service, ServicePort
from k8snetlab.api.pools import subnets_of
from k8snetlab.api.selection import pods_of
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import family_of, pick
from k8snetlab.dataplane.links import Veth, Vxlan
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.dataplane.rules import RuleSet
from k8snetlab.errors import NotFoundError
from k8snetlab.render import node as rendering
from k8snetlab.render.pods import sandbox_name, veth
from k8snetlab.render.proxy import ProxyRules

T = TypeVar("T")
SYSTEM = "kube-system"


class LacksError(NotFoundError):
    """The lab has not what a fault needs: a second node, a Service with two pods."""


class Scene:
    """`node` is where the damage is to be; `seed` decides between what would do as well."""

    def __init__(self, snapshot: Snapshot, node: str, variant: str, seed: int = 0) -> None:
        self.snapshot, self.variant, self._seed = snapshot, variant, seed
        self.node = snapshot.node(node)
        self.netns = names.namespace_of(snapshot.lab.name, node, snapshot.lab.spec.machines)

    def one(self, things: Sequence[T], lacking: str) -> T:
        """One of the things; raises LacksError, with what is `lacking`, where there is none."""
        if not things:
            raise LacksError(f"this lab has no {lacking}", "another node, or another lab")
        return things[self._seed % len(things)]

    @cached_property
    def plane(self) -> NodeDataplane:
        return rendering.render(self.snapshot, self.node.name)

    @cached_property
    def proxy(self) -> RuleSet:
        return ProxyRules.build(self.snapshot, self.node.name, "ipv4").ruleset

    # --- nodes ---

    @cached_property
    def peer(self) -> Node:
        """Another node, one with pods where there is one."""
        others = [node for node in self.snapshot.all(Node).values() if node.name != self.node.name]
        return self.one([n for n in others if self._on(n.name)] or others, "second node")

    @property
    def peer_netns(self) -> str:
        return names.node_netns(self.snapshot.lab.name, self.peer.name)

    @property
    def subnet(self) -> str:
        """The node's own pod subnet, or its first block."""
        return pick(subnets_of(self.node), "ipv4")

    @property
    def peer_subnet(self) -> str:
        return pick(subnets_of(self.peer), "ipv4")

    @property
    def peer_address(self) -> str:
        return pick(self.peer.addresses, "ipv4")

    @property
    def address(self) -> str:
        return pick(self.node.addresses, "ipv4")

    @property
    def outside(self) -> str:
        """The address of the host beyond the router."""
        return pick(self.snapshot.lab.spec.underlay.outside, "ipv4").partition("/")[0]

    @property
    def gateway(self) -> str:
        """The node's first way out of its underlay."""
        return self.one([r for r in self.plane.node.routes if r.dst == "default" and "." in r.via], "default route").via

    # --- what flannel keeps ---

    @cached_property
    def tunnel(self) -> Vxlan:
        found = [link for link in self.plane.node.links if isinstance(link, Vxlan) and "." in link.local]
        return self.one(found, "VXLAN between its nodes")

    @property
    def route(self) -> Route:
        """The one that leads to the peer's pods."""
        found = [route for route in self.plane.node.routes if route.dst == self.peer_subnet]
        return self.one(found, f"route to the pods of {self.peer.name}")

    @property
    def fdb(self) -> FdbEntry:
        found = [e for e in self.plane.node.fdb if e.dev == self.tunnel.name and e.dst == self.peer_address]
        return self.one(found, f"FDB entry for {self.peer.name}")

    @property
    def neighbour(self) -> Neighbour:
        mac = self.fdb.lladdr
        found = [n for n in self.plane.node.neighbours if n.dev == self.tunnel.name and n.lladdr == mac]
        return self.one(found, f"neighbour entry for {self.peer.name}")

    # --- pods ---

    def _on(self, node: str) -> list[Pod]:
        pods = [p for p in self.snapshot.all(Pod).values() if p.spec.nodeName == node and p.ready]
        return [p for p in pods if not p.spec.hostNetwork and p.namespace != SYSTEM and not p.ended]

    @property
    def pods(self) -> list[Pod]:
        """Those of the node that have a network of their own."""
        return self._on(self.node.name)

    @property
    def all_pods(self) -> list[Pod]:
        """All that are bound to the node, whatever their state."""
        return [pod for pod in self.snapshot.all(Pod).values() if pod.spec.nodeName == self.node.name]

    @cached_property
    def client(self) -> Pod:
        """A pod of the node to probe from, best one that no Service has."""
        pods = self._on(self.node.name)
        idle = [pod for pod in pods if not any(pod in pods_of(s, self.snapshot) for s in self._services)]
        return self.one(idle or pods, f"pod on {self.node.name}")

    @cached_property
    def pod(self) -> Pod:
        """A pod of the node that serves TCP."""
        return self.one(_serving(self._on(self.node.name)), f"pod that serves TCP on {self.node.name}")

    @cached_property
    def neighbouring(self) -> Pod:
        """A pod of the node beside `pod`."""
        return self.one([p for p in self._on(self.node.name) if p is not self.pod], f"second pod on {self.node.name}")

    @cached_property
    def far_client(self) -> Pod:
        return self.one(self._on(self.peer.name), f"pod on {self.peer.name}")

    @cached_property
    def far(self) -> Pod:
        """A pod of the peer that serves TCP."""
        return self.one(_serving(self._on(self.peer.name)), f"pod that serves TCP on {self.peer.name}")

    @cached_property
    def distant(self) -> Pod:
        """A pod that serves TCP, on a node of another link."""
        underlay = self.snapshot.lab.spec.underlay
        nodes = [n.name for n in self.snapshot.all(Node).values()]
        nodes = [name for name in nodes if not topology.shares_link(underlay, name, self.node.name)]
        return self.one(
            _serving([pod for name in nodes for pod in self._on(name)]), "pod that serves TCP on another link"
        )

    def netns_of(self, pod: Pod) -> str:
        return sandbox_name(self.snapshot.lab, pod)

    def veth_of(self, pod: Pod) -> Veth:
        return veth(self.snapshot.lab, pod)

    # --- Services ---

    @cached_property
    def _services(self) -> list[Service]:
        found = [s for s in self.snapshot.all(Service).values() if s.namespace != SYSTEM and s.spec.selector]
        return [s for s in found if s.clusterIPs[:1] not in ((), ("None",)) and family_of(s.clusterIPs[0]) == "ipv4"]

    def services(self, pods: int = 1) -> list[Service]:
        """Those with a TCP port and so many ready pods at least."""
        return [
            s for s in self._services if len(self.ready(s)) >= pods and any(p.protocol == "TCP" for p in s.spec.ports)
        ]

    def service(self, pods: int = 1) -> Service:
        return self.one(self.services(pods), f"Service of TCP with {pods} ready pod{'s' if pods > 1 else ''}")

    @property
    def dns(self) -> Service:
        """The one that pods ask for names."""
        found = self.snapshot.get(Service, "kube-dns", SYSTEM)
        return self.one([found] if found else [], "DNS")

    @property
    def door(self) -> Service:
        """A Service with a node port."""
        return self.one(
            [s for s in self.services() if any(p.nodePort for p in s.spec.ports)], "Service with a NodePort"
        )

    @property
    def udp(self) -> Service:
        found = [s for s in self._services if self.ready(s) and any(p.protocol == "UDP" for p in s.spec.ports)]
        return self.one(found, "Service of UDP with a ready pod")

    def ready(self, service: Service) -> list[Pod]:
        return [pod for pod in pods_of(service, self.snapshot) if pod.ready]


def named(obj: Pod | Service) -> str:
    """What `probe` takes for it."""
    kind = "svc" if isinstance(obj, Service) else "pod"
    return f"{kind}/{obj.namespace}/{obj.name}"


def port_of(pod: Pod) -> int:
    """Its first TCP port."""
    return next(p.containerPort for c in pod.spec.serving_containers for p in c.ports if p.protocol == "TCP")


def tcp_port(service: Service) -> ServicePort:
    """Its first TCP port."""
    return next(port for port in service.spec.ports if port.protocol == "TCP")


def number(text: str) -> int:
    """The same number for the same text, on any machine: what a seed of words decides by."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def _serving(pods: list[Pod]) -> list[Pod]:
    return [pod for pod in pods if any(p.protocol == "TCP" for c in pod.spec.serving_containers for p in c.ports)]
