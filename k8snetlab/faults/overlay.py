"""Faults of the pod network between nodes: flannel's device, its entries, and the packets that carry others."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k8snetlab.dataplane.links import Vxlan
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.faults.fault import Class, Command, Damage, Fault, Said
from k8snetlab.faults.scene import Scene
from k8snetlab.faults.typed import across, back, bridge, hold, inserted, ip

NOBODY, NO_MAC, NO_VTEP = "192.168.0.99", "02:00:00:00:00:01", "02:00:00:00:00:02"


def _fdb_missing(scene: Scene) -> Damage:
    entry = scene.fdb
    gone = bridge(scene.netns, "fdb", "del", entry.lladdr, "dev", entry.dev)
    return Damage(entry.lladdr, across(scene), (gone,), holds=hold(scene.netns, entry))


def _fdb_stale(scene: Scene) -> Damage:
    entry = msgspec.structs.replace(scene.fdb, dst=NOBODY)
    wrong = bridge(scene.netns, "fdb", "replace", *entry.words().split())
    return Damage(entry.lladdr, across(scene), (wrong,), holds=hold(scene.netns, entry))


def _neighbour_missing(scene: Scene) -> Damage:
    entry = scene.neighbour
    gone = ip(scene.netns, "neigh", "del", entry.dst, "dev", entry.dev)
    return Damage(entry.dst, across(scene), (gone,), holds=hold(scene.netns, entry))


def _neighbour_stale(scene: Scene) -> Damage:
    entry = msgspec.structs.replace(scene.neighbour, lladdr=NO_MAC)
    wrong = ip(scene.netns, "neigh", "replace", *entry.words().split())
    return Damage(entry.dst, across(scene), (wrong,), holds=hold(scene.netns, entry))


def _tunnel_down(scene: Scene) -> Damage:
    down = ip(scene.netns, "link", "set", scene.tunnel.name, "down")
    return Damage(scene.tunnel.name, across(scene), (down,), holds=hold(scene.netns, scene.tunnel))


def _made_anew(scene: Scene, tunnel: Vxlan) -> Damage:
    """The device deleted and made otherwise; what stood on it the agent puts back."""
    netns = scene.netns
    gone = ip(netns, "link", "del", tunnel.name)
    made = ip(netns, *str(ItemOperation("add", netns, tunnel)).split()[3:])
    return Damage(tunnel.name, across(scene), (gone, made), holds=hold(netns, tunnel))


def _port(scene: Scene) -> Damage:
    return _made_anew(scene, msgspec.structs.replace(scene.tunnel, port=4789 if scene.tunnel.port != 4789 else 8472))


def _vni(scene: Scene) -> Damage:
    return _made_anew(scene, msgspec.structs.replace(scene.tunnel, vni=scene.tunnel.vni + 6))


def _interface(scene: Scene) -> Damage:
    """As flannel does it without --iface: it takes the address of another network, which the node has no more."""
    return _made_anew(scene, msgspec.structs.replace(scene.tunnel, local=NOBODY))


def _vtep_mac(scene: Scene) -> Damage:
    wrong = ip(scene.netns, "link", "set", scene.tunnel.name, "address", NO_VTEP)
    return Damage(scene.tunnel.name, across(scene), (wrong,), holds=hold(scene.netns, scene.tunnel))


def _dropped_in(scene: Scene) -> Damage:
    do, undo = inserted(scene, scene.netns, "filter", "INPUT", f"-p udp --dport {scene.tunnel.port} -j DROP")
    return Damage("filter INPUT 1", across(scene), (do,), (undo,))


def _dropped_out(scene: Scene) -> Damage:
    do, undo = inserted(scene, scene.netns, "filter", "OUTPUT", f"-p udp --dport {scene.tunnel.port} -j DROP")
    return Damage("filter OUTPUT 1", across(scene), (do,), (undo,))


def _queue(scene: Scene) -> Damage:
    dev = scene.tunnel.name
    do = Command(scene.netns, ("tc", "qdisc", "add", "dev", dev, "root", "blackhole"))
    undo = Command(scene.netns, ("tc", "qdisc", "del", "dev", dev, "root"))
    return Damage(f"blackhole {dev}", across(scene), (do,), (undo,))


def _underlay_mtu(scene: Scene) -> Damage:
    uplink = next(link for link in scene.plane.node.links if link.name == scene.tunnel.dev)
    size = str(scene.tunnel.mtu)
    small = ip(scene.netns, "link", "set", uplink.name, "mtu", size)
    seen = back(scene, "large")
    return Damage(uplink.name, seen, (small,), holds=hold(scene.netns, uplink))


def faults() -> Iterator[Fault]:
    group: Class = "overlay"
    lost = "pods of this node reach none of another node"
    yield Fault(
        name="fdb-missing",
        title="no FDB entry for another node's VTEP",
        level=2,
        group=group,
        touches="the FDB of flannel.1",
        symptom=lost,
        said=Said("fdb", "missing"),
        make=_fdb_missing,
    )
    yield Fault(
        name="fdb-stale",
        title="the FDB sends to an address that no node has any more",
        level=2,
        group=group,
        touches="the FDB of flannel.1",
        symptom=lost,
        said=Said("fdb", "wrong"),
        make=_fdb_stale,
    )
    yield Fault(
        name="neighbour-missing",
        title="no neighbour entry for another node's flannel.1",
        level=2,
        group=group,
        touches="the neighbours of flannel.1",
        symptom=lost,
        said=Said("neighbour", "missing"),
        make=_neighbour_missing,
    )
    yield Fault(
        name="neighbour-stale",
        title="a neighbour entry with the MAC of a VTEP that is gone",
        level=2,
        group=group,
        touches="the neighbours of flannel.1",
        symptom=lost,
        said=Said("neighbour", "wrong"),
        make=_neighbour_stale,
    )
    yield Fault(
        name="tunnel-down",
        title="flannel.1 is down",
        level=1,
        group=group,
        touches="the tunnel flannel.1",
        symptom=lost,
        said=Said("link", "down"),
        make=_tunnel_down,
    )
    yield Fault(
        name="vxlan-port",
        title="flannel.1 uses another UDP port than the other nodes",
        level=3,
        group=group,
        touches="the tunnel flannel.1",
        symptom=lost,
        said=Said("link", "wrong"),
        make=_port,
    )
    yield Fault(
        name="vni",
        title="flannel.1 has another VNI than the other nodes",
        level=3,
        group=group,
        touches="the tunnel flannel.1",
        symptom=lost,
        said=Said("link", "wrong"),
        make=_vni,
    )
    yield Fault(
        name="wrong-interface",
        title="flannel.1 sends from another address than the node's",
        level=3,
        group=group,
        touches="the tunnel flannel.1",
        symptom=lost,
        said=Said("link", "wrong"),
        make=_interface,
    )
    yield Fault(
        name="vtep-mac",
        title="flannel.1 has another MAC than the other nodes know",
        level=3,
        group=group,
        touches="the tunnel flannel.1",
        symptom=lost,
        said=Said("link", "wrong"),
        make=_vtep_mac,
    )
    yield Fault(
        name="vxlan-dropped-in",
        title="a firewall drops VXLAN on its arrival",
        level=2,
        group=group,
        touches="filter INPUT",
        symptom=lost,
        said=Said("rule", "foreign"),
        make=_dropped_in,
    )
    yield Fault(
        name="vxlan-dropped-out",
        title="a firewall drops VXLAN on its way out",
        level=2,
        group=group,
        touches="filter OUTPUT",
        symptom=lost,
        said=Said("rule", "foreign"),
        make=_dropped_out,
    )
    yield Fault(
        name="queue-blackhole",
        title="a queue of flannel.1 throws every packet away",
        level=3,
        group=group,
        touches="flannel.1's qdisc",
        symptom=lost,
        said=Said("qdisc", "foreign"),
        make=_queue,
    )
    yield Fault(
        name="underlay-mtu",
        title="the node's interface has no room for VXLAN around a full packet",
        level=3,
        group=group,
        touches="the node's eth0",
        symptom="small requests work, large answers never come",
        said=Said("link", "mtu"),
        make=_underlay_mtu,
    )
