"""Faults of labs whose routes daemons make: their packets are dropped, or what they made is overridden."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from k8snetlab.api.bgp import BGPPeer
from k8snetlab.api.scheme import to_dict
from k8snetlab.dataplane.families import pick
from k8snetlab.dataplane.holds import Hold
from k8snetlab.dataplane.names import ETH0
from k8snetlab.faults.fault import Damage, Edit, Fault, Said, content
from k8snetlab.faults.scene import LacksError, Scene
from k8snetlab.faults.typed import across, back, hold, inserted, ip, sysctl

OSPF = "89"
"""An IP protocol."""


def _bgp_dropped(scene: Scene) -> Damage:
    """As a firewall that guards a node from all others; the sessions end when their hold time is over."""
    _needs(scene, "bgp", "calico")
    nodes = pick(scene.snapshot.lab.spec.underlay.cidr, "ipv4")
    do, undo = inserted(scene, scene.netns, "filter", "INPUT", f"-s {nodes} -p tcp -j DROP")
    return Damage("filter INPUT", across(scene), (do,), (undo,))


def _as_wrong(scene: Scene) -> Damage:
    """Somebody has told this node of its peer, and of another autonomous system than that one's."""
    _needs(scene, "calico")
    lab, expected = scene.snapshot.lab, 64999
    network = lab.spec.network
    peer = BGPPeer(name="wrong-as", node=scene.node.name, peerIP=scene.peer_address, asNumber=expected)
    told = replace(network, bgp=replace(network.bgp, peers=(peer, *network.bgp.peers)))
    after = replace(lab, spec=replace(lab.spec, network=told))
    edit = Edit("Lab", "", lab.name, content(to_dict(lab)), content(to_dict(after)))
    return Damage(scene.peer_subnet, across(scene), edits=(edit,))


def _ospf_dropped(scene: Scene) -> Damage:
    """As a firewall that lets TCP, UDP and ICMP pass, and has never heard of OSPF."""
    _needs(scene, "ospf")
    do, undo = inserted(scene, scene.netns, "filter", "INPUT", f"-p {OSPF} -j DROP")
    return Damage("ospf", across(scene), (do,), (undo,))


def _hello_lost(scene: Scene) -> Damage:
    """Hellos go out to nobody: the others forget this node, which hears them still."""
    _needs(scene, "ospf")
    do, undo = inserted(scene, scene.netns, "filter", "OUTPUT", f"-p {OSPF} -j DROP")
    return Damage("ospf", across(scene), (do,), (undo,))


def _shadowed(scene: Scene) -> Damage:
    """A route that somebody typed has a better metric than any daemon's."""
    _needs(scene, "bgp", "ospf", "rip")
    words = ("blackhole", scene.peer_subnet)
    do, undo = ip(scene.netns, "route", "add", *words), ip(scene.netns, "route", "del", *words)
    return Damage(scene.peer_subnet, across(scene), (do,), (undo,))


def _proxy_arp(scene: Scene) -> Damage:
    """Nobody answers for the gateway that no device has, once the pod has forgotten who did."""
    _needs(scene, "calico")
    device = scene.veth_of(scene.pod).name
    key = f"net.ipv4.conf.{device}.proxy_arp"
    forget = ip(scene.netns_of(scene.pod), "neigh", "flush", "dev", ETH0)
    return Damage(key, back(scene), (sysctl(scene.netns, key, "0"), forget), holds=(Hold(scene.netns, "sysctl", key),))


def _pod_route(scene: Scene) -> Damage:
    """What is for the pod falls into its block's blackhole."""
    _needs(scene, "calico")
    device = scene.veth_of(scene.pod).name
    route = next(route for route in scene.plane.node.routes if route.dev == device)
    gone = ip(scene.netns, "route", "del", route.dst, "dev", device)
    return Damage(route.dst, back(scene), (gone,), holds=hold(scene.netns, route))


def _needs(scene: Scene, *backends: str) -> None:
    found = scene.snapshot.lab.spec.network.backend
    if found not in backends:
        raise LacksError(f"the routes of this lab are made by {found}", f"network: {{backend: {backends[0]}}}")


def faults() -> Iterator[Fault]:
    lost = "some seconds later pods of this node reach none of another node"
    yield Fault(
        name="bgp-dropped",
        title="a firewall drops TCP of other nodes, and with it BGP",
        level=2,
        group="routing",
        touches="the node's firewall",
        symptom=lost,
        said=Said("rule", "foreign"),
        make=_bgp_dropped,
    )
    yield Fault(
        name="bgp-as-wrong",
        title="a node expects another autonomous system of its peer than that one has",
        level=2,
        group="routing",
        touches="the peers of BGP in the lab file",
        symptom=lost,
        said=Said("route", "as"),
        make=_as_wrong,
    )
    yield Fault(
        name="ospf-dropped",
        title="a firewall drops OSPF, which is neither TCP nor UDP",
        level=2,
        group="routing",
        touches="the node's firewall",
        symptom=lost,
        said=Said("route", "deaf"),
        make=_ospf_dropped,
    )
    yield Fault(
        name="ospf-mute",
        title="a node's own OSPF packets are dropped on their way out",
        level=3,
        group="routing",
        touches="the node's firewall",
        symptom=lost,
        said=Said("route", "deaf"),
        make=_hello_lost,
    )
    yield Fault(
        name="proxy-arp-off",
        title="the node answers no more for a pod's gateway, which no device has",
        level=2,
        group="routing",
        touches="a pod's cali device",
        symptom="one pod answers nobody, and reaches nobody",
        said=Said("sysctl", "wrong"),
        make=_proxy_arp,
    )
    yield Fault(
        name="pod-route-missing",
        title="a pod's own route is gone, and its block is a blackhole",
        level=2,
        group="routing",
        touches="the node's routes",
        symptom="one pod cannot be reached",
        said=Said("route", "missing"),
        make=_pod_route,
    )
    yield Fault(
        name="learned-route-shadowed",
        title="a blackhole has a better metric than the route that a daemon made",
        level=2,
        group="routing",
        touches="the node's routes",
        symptom="pods of this node reach none of another node",
        said=Said("route", "wrong"),
        make=_shadowed,
    )
