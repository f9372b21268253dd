"""Faults of routes, of nodes and of pods."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k8snetlab.dataplane.families import pick
from k8snetlab.dataplane.holds import Hold
from k8snetlab.faults.fault import Class, Damage, Fault, Said, Seen
from k8snetlab.faults.scene import Scene, named
from k8snetlab.faults.typed import across, back, hold, ip, sysctl


def _missing(scene: Scene) -> Damage:
    gone = ip(scene.netns, "route", "del", scene.route.dst)
    return Damage(scene.route.dst, across(scene), (gone,), holds=hold(scene.netns, scene.route))


def _wrong_hop(scene: Scene) -> Damage:
    wrong = ip(scene.netns, "route", "replace", scene.route.dst, "via", scene.gateway)
    return Damage(scene.route.dst, across(scene), (wrong,), holds=hold(scene.netns, scene.route))


def _blackhole(scene: Scene) -> Damage:
    gone = ip(scene.netns, "route", "del", scene.route.dst)
    wrong = ip(scene.netns, "route", "add", "blackhole", scene.route.dst)
    undo = ip(scene.netns, "route", "del", "blackhole", scene.route.dst)
    return Damage(scene.route.dst, across(scene), (gone, wrong), (undo,), hold(scene.netns, scene.route))


def _no_way_back(scene: Scene) -> Damage:
    """Requests arrive, answers do not."""
    gone = ip(scene.netns, "route", "del", scene.route.dst)
    seen = back(scene)
    return Damage(scene.route.dst, seen, (gone,), holds=hold(scene.netns, scene.route))


def _overlapping(scene: Scene) -> Damage:
    """As a VPN that has the same network."""
    network = f"{scene.peer_subnet.partition('/')[0]}/25"
    do = ip(scene.netns, "route", "add", network, "via", scene.gateway)
    return Damage(network, across(scene), (do,), (ip(scene.netns, "route", "del", network),))


def _astray(scene: Scene) -> Damage:
    address = f"{pick(scene.far.ips, 'ipv4')}/32"
    do = ip(scene.netns, "route", "add", address, "via", scene.gateway)
    return Damage(address, across(scene), (do,), (ip(scene.netns, "route", "del", address),))


def _rule(scene: Scene) -> Damage:
    words = ("to", pick(scene.far.ips, "ipv4"), "pref", "100", "blackhole")
    return Damage(
        "100", across(scene), (ip(scene.netns, "rule", "add", *words),), (ip(scene.netns, "rule", "del", *words),)
    )


def _asymmetric(scene: Scene) -> Damage:
    """What comes by flannel.1 has a route back by eth0: strict rp_filter drops it."""
    direct = msgspec.structs.replace(scene.route, via=scene.peer_address, dev=scene.tunnel.dev, onlink=False)
    key = "net.ipv4.conf.all.rp_filter"
    does = (ip(scene.netns, "route", "replace", *direct.words().split()), sysctl(scene.netns, key, "1"))
    seen = back(scene)
    return Damage(key, seen, does, holds=(*hold(scene.netns, scene.route), Hold(scene.netns, "sysctl", key)))


def _pod_default(scene: Scene) -> Damage:
    netns = scene.netns_of(scene.client)
    state = next(pod for pod in scene.plane.pods if pod.name == netns)
    route = next(route for route in state.routes if route.dst == "default" and "." in route.via)
    seen = Seen(named(scene.client), named(scene.service()))
    return Damage("default", seen, (ip(netns, "route", "del", "default"),), holds=hold(netns, route))


def _node_default(scene: Scene) -> Damage:
    route = next(route for route in scene.plane.node.routes if route.dst == "default" and "." in route.via)
    gone = ip(scene.netns, "route", "del", "default")
    return Damage("default", Seen(scene.node.name, scene.outside, "ICMP"), (gone,), holds=hold(scene.netns, route))


def faults() -> Iterator[Fault]:
    group: Class = "routes"
    lost = "pods of this node reach none of another node"
    yield Fault(
        name="route-missing",
        title="no route to another node's pods",
        level=1,
        group=group,
        touches="the node's routes",
        symptom=lost,
        said=Said("route", "missing"),
        make=_missing,
    )
    yield Fault(
        name="route-wrong-hop",
        title="the route to another node's pods leads to the router",
        level=1,
        group=group,
        touches="the node's routes",
        symptom=lost,
        said=Said("route", "wrong"),
        make=_wrong_hop,
    )
    yield Fault(
        name="route-blackhole",
        title="the route to another node's pods is a blackhole",
        level=1,
        group=group,
        touches="the node's routes",
        symptom=lost,
        said=Said("route", "wrong"),
        make=_blackhole,
    )
    yield Fault(
        name="return-route-missing",
        title="requests arrive from another node, and there is no route back",
        level=2,
        group=group,
        touches="the node's routes",
        symptom="pods of another node get no answer from this one's",
        said=Said("route", "missing"),
        make=_no_way_back,
    )
    yield Fault(
        name="overlapping-network",
        title="a route of another network covers a part of the pods' addresses",
        level=2,
        group=group,
        touches="the node's routes",
        symptom="pods of this node reach some of another node and not others",
        said=Said("route", "foreign"),
        make=_overlapping,
    )
    yield Fault(
        name="route-astray",
        title="a route for one pod's address leads away from it",
        level=2,
        group=group,
        touches="the node's routes",
        symptom="pods of this node reach all but one of another node",
        said=Said("route", "foreign"),
        make=_astray,
    )
    yield Fault(
        name="policy-rule",
        title="a policy routing rule throws packets for one pod away",
        level=3,
        group=group,
        touches="the node's routing rules",
        symptom="pods of this node reach all but one of another node",
        said=Said("rule", "foreign"),
        make=_rule,
    )
    yield Fault(
        name="rp-filter",
        title="packets come by flannel.1, the way back is by eth0, and rp_filter is strict",
        level=3,
        group=group,
        touches="rp_filter and the node's routes",
        symptom="pods of another node get no answer from this one's",
        said=Said("sysctl", "wrong"),
        make=_asymmetric,
    )
    yield Fault(
        name="pod-default-route",
        title="a pod has no default route",
        level=1,
        group=group,
        touches="a pod's routes",
        symptom="one pod reaches no Service and nothing outside",
        said=Said("route", "missing"),
        make=_pod_default,
    )
    yield Fault(
        name="node-default-route",
        title="a node has no default route",
        level=1,
        group=group,
        touches="the node's routes",
        symptom="the node and its pods reach nothing outside",
        said=Said("route", "missing"),
        make=_node_default,
    )
