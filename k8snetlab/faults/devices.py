"""Faults of bridges, cables, addresses and the kernel's switches for them."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.dataplane.families import pick
from k8snetlab.dataplane.holds import Hold
from k8snetlab.dataplane.links import Address, Bridge
from k8snetlab.dataplane.names import BRIDGE, ETH0
from k8snetlab.faults.fault import Command, Damage, Fault, Said, Seen, Symptom
from k8snetlab.faults.scene import Scene, named
from k8snetlab.faults.typed import across, back, hold, ip, sysctl

NO_MAC = "02:00:00:00:00:03"


def _bridge(scene: Scene) -> Bridge:
    found = [link for link in scene.plane.node.links if isinstance(link, Bridge) and link.name == BRIDGE]
    return scene.one(found, f"{BRIDGE}: its pods have a route each")


def _gateway(scene: Scene) -> Address:
    found = [a for a in scene.plane.node.addresses if a.dev == BRIDGE and "." in a.address]
    return scene.one(found, f"{BRIDGE}: its pods have a route each")


def _cni0_down(scene: Scene) -> Damage:
    down = ip(scene.netns, "link", "set", BRIDGE, "down")
    return Damage(BRIDGE, across(scene), (down,), holds=hold(scene.netns, _bridge(scene)))


def _old_subnet(scene: Scene) -> Damage:
    """As after a node got another podCIDR, and cni0 stayed as it was."""
    address = _gateway(scene)
    length = address.address.partition("/")[2]
    old = f"10.253.9.1/{length}"
    does = (
        ip(scene.netns, "addr", "del", address.address, "dev", BRIDGE),
        ip(scene.netns, "addr", "add", old, "brd", "+", "dev", BRIDGE),
    )
    undo = (ip(scene.netns, "addr", "del", old, "dev", BRIDGE),)
    return Damage(address.address, across(scene), does, undo, hold(scene.netns, address))


def _uplink_down(scene: Scene) -> Damage:
    uplink = next(link for link in scene.plane.node.links if link.name == ETH0)
    down = ip(scene.netns, "link", "set", ETH0, "down")
    return Damage(ETH0, Seen(scene.node.name, scene.outside, "ICMP"), (down,), holds=hold(scene.netns, uplink))


def _veth_down(scene: Scene) -> Damage:
    veth = scene.veth_of(scene.pod)
    down = ip(scene.netns, "link", "set", veth.name, "down")
    return Damage(veth.name, back(scene), (down,), holds=hold(scene.netns, veth))


def _veth_unplugged(scene: Scene) -> Damage:
    _bridge(scene)
    veth = scene.veth_of(scene.pod)
    out = ip(scene.netns, "link", "set", veth.name, "nomaster")
    return Damage(veth.name, back(scene), (out,), holds=hold(scene.netns, veth))


def _hairpin(scene: Scene) -> Damage:
    _bridge(scene)
    found = [s for s in scene.services() if scene.ready(s) == [scene.pod]]
    found = found or [s for s in scene.services() if scene.pod in scene.ready(s)]
    service = scene.one(found, f"Service of a pod on {scene.node.name}")
    veth = scene.veth_of(scene.pod)
    off = ip(scene.netns, "link", "set", veth.name, "type", "bridge_slave", "hairpin", "off")
    seen = Seen(named(scene.pod), named(service), what="fails" if scene.ready(service) == [scene.pod] else "sometimes")
    return Damage(veth.name, seen, (off,), holds=hold(scene.netns, veth))


def _pod_device(scene: Scene, *words: str, what: Symptom = "fails") -> Damage:
    netns = scene.netns_of(scene.pod)
    seen = back(scene, what)
    does = (ip(netns, "link", "set", ETH0, *words),)
    return Damage(ETH0, seen, does, holds=(Hold(netns, "link", ETH0),))


def _pod_down(scene: Scene) -> Damage:
    netns = scene.netns_of(scene.pod)
    state = next(pod for pod in scene.plane.pods if pod.name == netns)
    damage = _pod_device(scene, "down")
    gone = tuple(Hold(netns, "route", route.dst) for route in state.routes)
    return Damage(damage.object, damage.seen, damage.does, holds=(*damage.holds, *gone))


def _pod_mac(scene: Scene) -> Damage:
    """Two pods with one MAC: the bridge sends to the one that spoke last."""
    _bridge(scene)
    netns = scene.netns_of(scene.neighbouring)
    state = next(pod for pod in scene.plane.pods if pod.name == scene.netns_of(scene.pod))
    mac = next(link.mac for link in state.links if link.name == ETH0)
    seen = Seen(named(scene.neighbouring), named(scene.pod))
    does = (ip(netns, "link", "set", ETH0, "address", mac),)
    return Damage(ETH0, seen, does, _forgotten(scene), (Hold(netns, "link", ETH0),))


def _forgotten(scene: Scene) -> tuple[Command, ...]:
    """What neighbours have learned of a MAC that is no pod's any more."""
    pods = (ip(scene.netns_of(pod), "neigh", "flush", "dev", ETH0) for pod in scene.pods)
    return (ip(scene.netns, "neigh", "flush", "dev", BRIDGE), *pods)


def _pod_mtu(scene: Scene) -> Damage:
    """1500 as on the underlay, so that what VXLAN adds does not fit."""
    uplink = next(link for link in scene.plane.node.links if link.name == scene.tunnel.dev)
    return _pod_device(scene, "mtu", str(uplink.mtu), what="large")


def _pod_address(scene: Scene) -> Damage:
    netns = scene.netns_of(scene.pod)
    address = next(
        a for pod in scene.plane.pods if pod.name == netns for a in pod.addresses if a.dev == ETH0 and "." in a.address
    )
    other = f"10.253.9.9/{address.address.partition('/')[2]}"
    does = (
        ip(netns, "addr", "add", other, "dev", ETH0),
        ip(netns, "addr", "del", address.address, "dev", ETH0),
    )
    undo = (ip(netns, "addr", "del", other, "dev", ETH0),)
    return Damage(address.address, back(scene), does, undo, hold(netns, address))


def _duplicate(scene: Scene) -> Damage:
    _bridge(scene)
    address, netns = pick(scene.pod.ips, "ipv4"), scene.netns_of(scene.neighbouring)
    length = scene.subnet.partition("/")[2]
    do = ip(netns, "addr", "add", f"{address}/{length}", "dev", ETH0)
    undo = ip(netns, "addr", "del", f"{address}/{length}", "dev", ETH0)
    seen = Seen(named(scene.neighbouring), named(scene.pod))
    return Damage(address, seen, (do,), (undo, *_forgotten(scene)))


def _pinned(scene: Scene) -> Damage:
    _bridge(scene)
    address = pick(scene.pod.ips, "ipv4")
    do = ip(scene.netns, "neigh", "replace", address, "lladdr", NO_MAC, "dev", BRIDGE, "nud", "permanent")
    return Damage(address, back(scene), (do,), (ip(scene.netns, "neigh", "del", address, "dev", BRIDGE),))


def _switch(scene: Scene, key: str, value: str, seen: Seen) -> Damage:
    return Damage(key, seen, (sysctl(scene.netns, key, value),), holds=(Hold(scene.netns, "sysctl", key),))


def _forwarding(scene: Scene) -> Damage:
    """What ip_forward switches off is every device's switch as well."""
    damage = _switch(scene, "net.ipv4.ip_forward", "0", across(scene))
    keys = [key for key in scene.plane.node.sysctls if key.startswith("net.ipv4.conf.") and key.endswith(".forwarding")]
    more = tuple(Hold(scene.netns, "sysctl", key) for key in keys)
    return Damage(damage.object, damage.seen, damage.does, holds=(*damage.holds, *more))


def _one_forwarding(scene: Scene) -> Damage:
    _bridge(scene)
    return _switch(scene, f"net.ipv4.conf.{BRIDGE}.forwarding", "0", across(scene))


def _bridge_nf(scene: Scene) -> Damage:
    """A Service's answer from a pod beside the client passes the bridge untranslated."""
    _bridge(scene)
    found = [s for s in scene.services() if scene.pod in scene.ready(s)]
    service = scene.one(found, f"Service of a pod on {scene.node.name}")
    client = scene.client if scene.client is not scene.pod else scene.neighbouring
    seen = Seen(named(client), named(service), what="fails" if scene.ready(service) == [scene.pod] else "sometimes")
    return _switch(scene, "net.bridge.bridge-nf-call-iptables", "0", seen)


def faults() -> Iterator[Fault]:
    cut, alone = "the pods of this node reach nobody", "one pod cannot be reached"
    yield Fault(
        name="cni0-down",
        title="cni0 is down",
        level=1,
        group="devices",
        touches=BRIDGE,
        symptom=cut,
        said=Said("link", "down"),
        make=_cni0_down,
    )
    yield Fault(
        name="cni0-old-subnet",
        title="cni0 has an address of a subnet that is not the node's any more",
        level=2,
        group="addresses",
        touches=BRIDGE,
        symptom=cut,
        said=Said("address", "missing"),
        make=_old_subnet,
    )
    yield Fault(
        name="uplink-down",
        title="the node's eth0 is down",
        level=1,
        group="devices",
        touches=ETH0,
        symptom="the node is cut off",
        said=Said("link", "down"),
        make=_uplink_down,
    )
    yield Fault(
        name="veth-down",
        title="the node's end of a pod's cable is down",
        level=1,
        group="devices",
        touches="a veth",
        symptom=alone,
        said=Said("link", "down"),
        make=_veth_down,
    )
    yield Fault(
        name="veth-unplugged",
        title="a pod's cable is plugged into no bridge",
        level=2,
        group="devices",
        touches="a veth",
        symptom=alone,
        said=Said("link", "wrong"),
        make=_veth_unplugged,
    )
    yield Fault(
        name="hairpin",
        title="the port of a pod sends no frame back by which it came",
        level=3,
        group="devices",
        touches="a veth",
        symptom="a pod does not reach itself through its own Service",
        said=Said("link", "hairpin"),
        make=_hairpin,
    )
    yield Fault(
        name="pod-down",
        title="a pod's eth0 is down",
        level=1,
        group="devices",
        touches="a pod's eth0",
        symptom=alone,
        said=Said("link", "down"),
        make=_pod_down,
    )
    yield Fault(
        name="duplicate-mac",
        title="two pods of a node have one MAC",
        level=3,
        group="addresses",
        touches="a pod's eth0",
        symptom="one pod is reached now and then",
        said=Said("link", "wrong"),
        make=_pod_mac,
    )
    yield Fault(
        name="pod-mtu",
        title="a pod has the MTU of the underlay, without room for VXLAN",
        level=3,
        group="devices",
        touches="a pod's eth0",
        symptom="small answers of a pod come, large ones do not",
        said=Said("link", "mtu"),
        make=_pod_mtu,
    )
    yield Fault(
        name="pod-address",
        title="a pod has another address than its status says",
        level=1,
        group="addresses",
        touches="a pod's eth0",
        symptom=alone,
        said=Said("address", "missing"),
        make=_pod_address,
    )
    yield Fault(
        name="duplicate-address",
        title="two pods have one address",
        level=3,
        group="addresses",
        touches="a pod's eth0",
        symptom="one pod is reached now and then",
        said=Said("address", "duplicate"),
        make=_duplicate,
    )
    yield Fault(
        name="arp-pinned",
        title="the node knows a pod by a MAC that it does not have",
        level=2,
        group="addresses",
        touches="the neighbours of cni0",
        symptom=alone,
        said=Said("neighbour", "foreign"),
        make=_pinned,
    )
    yield Fault(
        name="ip-forward",
        title="the node forwards nothing",
        level=1,
        group="sysctls",
        touches="net.ipv4.ip_forward",
        symptom="the pods of this node reach nobody elsewhere",
        said=Said("sysctl", "wrong"),
        make=_forwarding,
    )
    yield Fault(
        name="forwarding-of-cni0",
        title="the node forwards nothing that comes by cni0",
        level=2,
        group="sysctls",
        touches=f"net.ipv4.conf.{BRIDGE}.forwarding",
        symptom="the pods of this node reach nobody elsewhere",
        said=Said("sysctl", "wrong"),
        make=_one_forwarding,
    )
    yield Fault(
        name="bridge-nf",
        title="iptables does not see what the bridge passes",
        level=3,
        group="sysctls",
        touches="net.bridge.bridge-nf-call-iptables",
        symptom="a Service fails whose pod is on the client's own node",
        said=Said("sysctl", "wrong"),
        make=_bridge_nf,
    )
