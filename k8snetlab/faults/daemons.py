"""Faults of labs whose routes daemons make: their packets are dropped, or what they made is overridden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from k8snetlab.api import topology
from k8snetlab.api.bgp import BGPPeer
from k8snetlab.api.defaults import expanded_nodes
from k8snetlab.api.pools import BLOCKS
from k8snetlab.api.scheme import to_dict
from k8snetlab.dataplane.families import pick
from k8snetlab.dataplane.holds import Hold
from k8snetlab.dataplane.names import ETH0, ROUTER, node_netns
from k8snetlab.faults.fault import VTYSH, Command, Damage, Edit, Fault, Said, Seen, content
from k8snetlab.faults.scene import LacksError, Scene, named
from k8snetlab.faults.typed import across, back, hold, inserted, ip, sysctl
from k8snetlab.render import underlay
from k8snetlab.render.routing.speakers import speakers

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
    return Damage("filter INPUT", across(scene), (do,), (undo,))


def _hello_lost(scene: Scene) -> Damage:
    """Hellos go out to nobody: the others forget this node, which hears them still."""
    _needs(scene, "ospf")
    do, undo = inserted(scene, scene.netns, "filter", "OUTPUT", f"-p {OSPF} -j DROP")
    return Damage("filter OUTPUT", across(scene), (do,), (undo,))


def _area_wrong(scene: Scene) -> Damage:
    """Whoever set the node up has put its device into another area than all others have there."""
    network = _by_frr(scene)
    router = ("configure terminal", "router ospf")
    wrong = (*router, f"no network {network} area 0", f"network {network} area 1")
    right = (*router, f"no network {network} area 1", f"network {network} area 0")
    return Damage(ETH0, across(scene), (_told(scene, wrong),), (_told(scene, right),))


def _hello_wrong(scene: Scene) -> Damage:
    """Somebody has typed the intervals that books have, on one side alone."""
    _by_frr(scene)
    device = ("configure terminal", f"interface {ETH0}")
    timers = scene.snapshot.lab.spec.network.routing.timers
    right = "ip ospf dead-interval minimal hello-multiplier 4" if timers == "fast" else "no ip ospf dead-interval"
    wrong = _told(scene, (*device, "ip ospf dead-interval 60"))
    return Damage(ETH0, across(scene), (wrong,), (_told(scene, (*device, right)),))


def _mtu_small(scene: Scene) -> Damage:
    """Neighbours compare MTUs when they begin to tell each other what they know."""
    _by_frr(scene)
    uplink = next(link for link in scene.plane.node.links if link.name == ETH0)
    do, undo = (ip(scene.netns, "link", "set", ETH0, "mtu", str(size)) for size in (uplink.mtu - 100, uplink.mtu))
    return Damage(ETH0, across(scene), (do,), (undo,), holds=hold(scene.netns, uplink))


def _by_frr(scene: Scene) -> str:
    """The network of the node's link."""
    _needs(scene, "ospf")
    if scene.snapshot.lab.spec.daemon != "frr":
        raise LacksError("BIRD takes no words at its console that change what it does", "routing: {daemon: frr}")
    return next(d.network for one in speakers(scene.snapshot, scene.node.name) for d in one.devices)


def _told(scene: Scene, words: Sequence[str]) -> Command:
    """What is typed at FRR's console."""
    return Command(scene.netns, (VTYSH, *(part for word in words for part in ("-c", word))))


def _link_down(scene: Scene) -> Damage:
    """Of the router, where the node stands: whoever stands there has no way but to each other."""
    lab = scene.snapshot.lab
    link = topology.link_of(lab.spec.underlay, scene.node.name)
    if link is None:
        raise LacksError("all nodes of this lab stand on one link", "underlay: {links: […], routers: […]}")
    if (router := link.routers[0]) == ROUTER:
        raise LacksError(f"the router of link {link.name} is the lab's own", "a node on a link of another router")
    netns = node_netns(lab.name, router)
    down = ip(netns, "link", "set", link.name, "down")
    seen = Seen(named(scene.client), named(scene.distant))
    own = next(one for one in underlay.render(scene.snapshot).pods if one.name == netns)
    gone = (Hold(netns, "route", route.dst) for route in own.routes if route.dev == link.name)
    return Damage(link.name, seen, (down,), holds=(Hold(netns, "link", link.name), *gone))


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


def _block_twice(scene: Scene) -> Damage:
    """A claim that another node has too, as a race of two nodes left it; nobody takes either from its node."""
    _needs(scene, "calico")
    _by_bird(scene)
    if any(scene.peer_subnet in node.blocks for node in expanded_nodes(scene.snapshot.lab.spec)):
        raise LacksError("the lab file fixes whose block it is", "nodes without `blocks`")
    held = scene.node.metadata.annotations.get(BLOCKS)
    after = ",".join(filter(None, (held, scene.peer_subnet)))
    edit = Edit("Node", "", scene.node.name, held, after, annotation=BLOCKS)
    return Damage(scene.peer_subnet, across(scene), edits=(edit,))


def _leaked(scene: Scene) -> Damage:
    """The blackhole of a block that the node had once, and has let go; BIRD learns it and tells others of it."""
    _needs(scene, "calico")
    _by_bird(scene)
    words = ("blackhole", scene.peer_subnet)
    do, undo = ip(scene.netns, "route", "prepend", *words), ip(scene.netns, "route", "del", *words, "proto", "boot")
    return Damage(scene.peer_subnet, across(scene), (do,), (undo,))


def _by_bird(scene: Scene) -> None:
    if not scene.snapshot.lab.spec.daemon:
        raise LacksError("Felix makes the routes of this lab: nobody is told of blocks", "a pool without vxlanMode")


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
        said=Said("rule", "foreign"),
        make=_ospf_dropped,
    )
    yield Fault(
        name="ospf-area-wrong",
        title="a node's device is in another area of OSPF than those of all others",
        level=2,
        group="routing",
        touches="what FRR was told of OSPF",
        symptom=lost,
        said=Said("route", "area"),
        make=_area_wrong,
    )
    yield Fault(
        name="ospf-hello-wrong",
        title="a node's OSPF has other intervals than its neighbours",
        level=2,
        group="routing",
        touches="what FRR was told of OSPF",
        symptom=lost,
        said=Said("route", "hello"),
        make=_hello_wrong,
    )
    yield Fault(
        name="link-mtu-small",
        title="a node's device takes shorter packets than its neighbours by OSPF send",
        level=3,
        group="routing",
        touches="the node's uplink",
        symptom=lost,
        said=Said("link", "neighbours"),
        make=_mtu_small,
    )
    yield Fault(
        name="link-down",
        title="the link on which a node stands has lost its router",
        level=1,
        group="routing",
        touches="a router's device",
        symptom="pods of this node reach none behind a router",
        said=Said("link", "down"),
        make=_link_down,
    )
    yield Fault(
        name="ospf-mute",
        title="a node's own OSPF packets are dropped on their way out",
        level=3,
        group="routing",
        touches="the node's firewall",
        symptom=lost,
        said=Said("rule", "foreign"),
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
        name="block-owned-twice",
        title="two nodes claim one block of addresses, and both tell others of it",
        level=3,
        group="routing",
        touches="a Node's blocks",
        symptom="pods of this node reach none of another node, and third nodes reach them only now and then",
        said=Said("route", "twice"),
        make=_block_twice,
    )
    yield Fault(
        name="leaked-route",
        title="the blackhole of a block that is another node's now was left behind",
        level=3,
        group="routing",
        touches="the node's routes",
        symptom="pods of this node reach none of another node, and third nodes reach them only now and then",
        said=Said("route", "leaked"),
        make=_leaked,
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
