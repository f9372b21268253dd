"""Faults of load balancers: who answers for an address, who is let in, and which nodes are asked."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Service
from k8snetlab.api.selection import balanced
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import family_of
from k8snetlab.dataplane.holds import Hold
from k8snetlab.dataplane.names import ETH0, UNDERLAY_BRIDGE
from k8snetlab.faults.fault import Class, Damage, Fault, Said, Seen
from k8snetlab.faults.scene import LacksError, Scene, tcp_port
from k8snetlab.faults.typed import changed, inserted, ip

NOWHERE = "192.0.2.0/24"
"""A network of no lab's: TEST-NET-1."""


def _mode(scene: Scene, *modes: str) -> None:
    if scene.snapshot.lab.spec.loadBalancer.mode not in modes:
        raise LacksError("this lab has no such load balancer", f"loadBalancer: {{mode: {modes[0]}, pool: […]}}")


def _address(service: Service) -> str:
    """Its address of the load balancer, "" for none."""
    found = (one.ip for one in service.status.loadBalancer.ingress)
    return next((one for one in found if one and family_of(one) == "ipv4"), "")


def _balanced(scene: Scene, local: bool = False) -> Service:
    """A Service with an address; `local`: traffic stays on nodes with a pod, and the scene's node has none."""
    found = [one for one in scene.services() if _address(one) and balanced(one)]
    if local:
        found = [one for one in found if one.spec.externalTrafficPolicy == "Local" and not _here(scene, one)]
    wanted = "load balancer with externalTrafficPolicy Local whose pods are on other nodes"
    return scene.one(found, wanted if local else "Service with an address of the load balancer")


def _here(scene: Scene, service: Service) -> bool:
    return any(pod.spec.nodeName == scene.node.name for pod in scene.ready(service))


def _seen(service: Service) -> Seen:
    return Seen(names.OUTSIDE, f"{_address(service)}:{tcp_port(service).port}")


def _at(service: Service) -> str:
    return f"{service.namespace}/{service.name}"


def _twice(scene: Scene) -> Damage:
    """As another tool's that puts such addresses on a device: that node's kernel answers, and sooner."""
    _mode(scene, "l2")
    service, router = _balanced(scene, local=True), names.node_netns(scene.snapshot.lab.name, names.ROUTER)
    address = f"{_address(service)}/32"
    does = (
        ip(scene.netns, "addr", "add", address, "dev", ETH0),
        ip(router, "neigh", "flush", "to", _address(service), "dev", UNDERLAY_BRIDGE),
    )
    undo = (ip(scene.netns, "addr", "del", address, "dev", ETH0), does[1])
    return Damage(_at(service), _seen(service), does, undo, (Hold(scene.netns, "address", f"{ETH0} {address}"),))


def _unasked(scene: Scene) -> Damage:
    """As a firewall that knows the NodePorts, and not the port by which a balancer asks."""
    _mode(scene, "cloud")
    found = [one for one in scene.services() if _address(one) and one.spec.healthCheckNodePort]
    found = [one for one in found if all(pod.spec.nodeName == scene.node.name for pod in scene.ready(one))]
    service = scene.one(found, f"load balancer with externalTrafficPolicy Local whose pods are on {scene.node.name}")
    rule = f"-p tcp --dport {service.spec.healthCheckNodePort} -j DROP"
    do, undo = inserted(scene, scene.netns, "filter", "INPUT", rule)
    return Damage(_at(service), _seen(service), (do,), (undo,))


def _session_dropped(scene: Scene) -> Damage:
    """As a firewall that knows what nodes serve, and not that they tell the router of it: by TCP, too."""
    _mode(scene, "bgp")
    found = [one for one in scene.services() if _address(one) and one.spec.externalTrafficPolicy == "Local"]
    found = [one for one in found if all(pod.spec.nodeName == scene.node.name for pod in scene.ready(one))]
    service = scene.one(found, f"load balancer with externalTrafficPolicy Local whose pods are on {scene.node.name}")
    do, undo = inserted(scene, scene.netns, "filter", "INPUT", f"-s {scene.gateway} -p tcp -j DROP")
    return Damage(_at(service), _seen(service), (do,), (undo,))


def _ranges(scene: Scene) -> Damage:
    _mode(scene, "l2", "bgp", "cloud")
    service = _balanced(scene)
    return Damage(_at(service), _seen(service), edits=(changed(service, loadBalancerSourceRanges=(NOWHERE,)),))


def _no_address(scene: Scene) -> Damage:
    """It asks for an address that the pool does not have, and so it has none."""
    _mode(scene, "l2", "bgp", "cloud")
    service = _balanced(scene)
    wanted = NOWHERE.replace("0/24", "9")
    return Damage(_at(service), _seen(service), edits=(changed(service, loadBalancerIP=wanted),))


def _local(scene: Scene) -> Damage:
    """Somebody wants the clients' addresses, and the pods are on other nodes."""
    found = [one for one in scene.services() if one.spec.type == "NodePort" and not _here(scene, one)]
    found = [one for one in found if one.spec.externalTrafficPolicy != "Local"]
    service = scene.one(found, f"Service with a NodePort and without a pod on {scene.node.name}")
    seen = Seen(names.OUTSIDE, f"{scene.address}:{tcp_port(service).nodePort}")
    return Damage(_at(service), seen, edits=(changed(service, externalTrafficPolicy="Local"),))


def faults() -> Iterator[Fault]:
    group: Class = "balancers"
    unreached = "from outside a Service is not reached by its external address"
    yield Fault(
        name="vip-answered-twice",
        title="a second node answers ARP for a load balancer's address",
        level=3,
        group=group,
        touches="the address of a Service with externalTrafficPolicy Local",
        symptom=unreached,
        said=Said("service", "duplicate"),
        make=_twice,
    )
    yield Fault(
        name="health-check-dropped",
        title="a firewall drops the health checks of the load balancer",
        level=2,
        group=group,
        touches="what a node lets in",
        symptom=unreached,
        said=Said("service", "unhealthy"),
        make=_unasked,
    )
    yield Fault(
        name="vip-session-dropped",
        title="a firewall drops the router's TCP, and with it BGP",
        level=2,
        group=group,
        touches="what a node lets in",
        symptom=f"some seconds later {unreached}",
        said=Said("rule", "foreign"),
        make=_session_dropped,
    )
    yield Fault(
        name="source-ranges-narrow",
        title="loadBalancerSourceRanges leave out those who ask",
        level=1,
        group=group,
        touches="a Service",
        symptom=unreached,
        said=Said("service", "ranges"),
        make=_ranges,
    )
    yield Fault(
        name="vip-not-in-pool",
        title="a Service asks for an address that the pool does not have",
        level=1,
        group=group,
        touches="a Service",
        symptom=unreached,
        said=Said("service", "pending"),
        make=_no_address,
    )
    yield Fault(
        name="local-without-pod",
        title="externalTrafficPolicy is Local, and the pods are on other nodes",
        level=1,
        group=group,
        touches="a Service",
        symptom="a NodePort is closed on some nodes",
        said=Said("service", "local"),
        make=_local,
    )
