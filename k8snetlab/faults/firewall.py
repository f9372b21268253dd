"""Faults of what filters and translates packets on their way: foreign rules, policies, masquerading."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.dataplane.families import pick
from k8snetlab.dataplane.holds import Hold
from k8snetlab.dataplane.names import FLANNEL_CHAINS, FLANNEL_FWD, FLANNEL_POSTRTG, KUBE_FORWARD, KUBE_POSTROUTING
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.faults.fault import Class, Command, Damage, Fault, Said, Seen
from k8snetlab.faults.scene import LacksError, Scene, named, port_of
from k8snetlab.faults.typed import across, back, chain, inserted, iptables


def _needs_flannel(scene: Scene) -> None:
    """Calico's network has none of its rules."""
    scene.one([one for one in scene.plane.rules if one.prefixes == FLANNEL_CHAINS and one.chains], "flannel")


def _forward_drop(scene: Scene) -> Damage:
    """As an engine that sets the policy on its start, where flannel's own rules are lost too."""
    _needs_flannel(scene)
    netns = scene.netns
    does = (iptables(scene, netns, "-P FORWARD DROP"), iptables(scene, netns, f"-F {FLANNEL_FWD}"))
    undo = (iptables(scene, netns, "-P FORWARD ACCEPT"),)
    seen = across(scene)
    return Damage("filter FORWARD", seen, does, undo, (chain(netns, "filter", FLANNEL_FWD),))


def _forward_reject(scene: Scene) -> Damage:
    rule = f"-p tcp --dport {port_of(scene.far)} -j REJECT"
    do, undo = inserted(scene, scene.netns, "filter", "FORWARD", rule)
    return Damage("filter FORWARD 1", across(scene), (do,), (undo,))


def _answers_dropped(scene: Scene) -> Damage:
    netns = scene.netns_of(scene.pod)
    do, undo = inserted(scene, netns, "filter", "OUTPUT", f"-p tcp --sport {port_of(scene.pod)} -j DROP")
    return Damage("filter OUTPUT 1", back(scene), (do,), (undo,))


def _invalid(scene: Scene) -> Damage:
    """As a firewall that takes answers for INVALID since it never saw what they answer."""
    rule = "-p tcp --tcp-flags SYN,ACK SYN,ACK -j DROP"
    do, undo = inserted(scene, scene.netns, "filter", "FORWARD", rule)
    return Damage("filter FORWARD 1", across(scene), (do,), (undo,))


def _untracked(scene: Scene) -> Damage:
    """As somebody who spares conntrack's table, one way only: the first packet is kept from it, so that the second one
    begins a connection, which none may, and kube-proxy's rule drops what is INVALID."""
    line = f"-p tcp -d {pick(scene.far.ips, 'ipv4')} --dport {port_of(scene.far)} -j NOTRACK"
    do, undo = inserted(scene, scene.netns, "raw", "PREROUTING", line)
    if not any("INVALID" in rule for rule in scene.proxy.chains.get(ChainKey("filter", KUBE_FORWARD), ())):
        raise LacksError("kube-proxy drops nothing here that is INVALID", "conntrack: {tcpBeLiberal: false}")
    return Damage("raw PREROUTING 1", across(scene), (do,), (undo,))


def _other_variant(scene: Scene) -> Damage:
    other = "legacy" if scene.variant == "nft" else "nft"
    rule = f"-p tcp --dport {port_of(scene.far)} -j DROP"
    do = iptables(scene, scene.netns, f"-I FORWARD {rule}", other)
    undo = iptables(scene, scene.netns, f"-D FORWARD {rule}", other)
    return Damage(f"filter ({other}) FORWARD 1", across(scene), (do,), (undo,))


def _nftables(scene: Scene) -> Damage:
    port = port_of(scene.far)
    text = (
        "create table inet mine; add chain inet mine c { type filter hook forward priority 10; }; "
        f"add rule inet mine c tcp dport {port} drop"
    )
    do, undo = Command(scene.netns, ("nft", text)), Command(scene.netns, ("nft", "delete table inet mine"))
    return Damage("inet mine", across(scene), (do,), (undo,))


def _no_masquerade(scene: Scene) -> Damage:
    _needs_flannel(scene)
    netns, chain_ = scene.netns, FLANNEL_POSTRTG
    rules = next(r.chains for r in scene.plane.rules if r.family == "ipv4" and ("nat", chain_) in r.chains)
    own = rules["nat", chain_]  # type: ignore[index]
    place = next(n for n, rule in enumerate(own, 1) if "MASQUERADE" in rule and f"-s {_pods(scene)}" in rule)
    gone = iptables(scene, netns, f"-t nat -D {chain_} {place}")
    seen = Seen(named(scene.client), scene.outside, "ICMP")
    return Damage(f"nat {chain_} {place}", seen, (gone,), holds=(chain(netns, "nat", chain_),))


def _no_service_masquerade(scene: Scene) -> Damage:
    netns = scene.netns
    gone = iptables(scene, netns, f"-t nat -F {KUBE_POSTROUTING}")
    port = next(p.nodePort for p in scene.door.spec.ports if p.nodePort and p.protocol == "TCP")
    seen = Seen("outside", f"{scene.node.name}:{port}", what="sometimes")
    return Damage(f"nat {KUBE_POSTROUTING}", seen, (gone,), holds=(chain(netns, "nat", KUBE_POSTROUTING),))


def _too_wide(scene: Scene) -> Damage:
    do, undo = inserted(scene, scene.netns, "nat", "POSTROUTING", f"-s {_pods(scene)} -j MASQUERADE")
    seen = across(scene, "source")
    return Damage("nat POSTROUTING 1", seen, (do,), (undo,))


def _pods(scene: Scene) -> str:
    """The pods' network, of all nodes."""
    return next(part for part in scene.snapshot.lab.spec.podCIDR.split(",") if "." in part)


def _flushed(scene: Scene) -> Damage:
    netns = scene.netns
    holds = (Hold(netns, "chain", "nat *"), Hold(netns, "jump", "nat *"))
    seen = Seen(named(scene.client), named(scene.service()))
    return Damage("nat", seen, (iptables(scene, netns, "-t nat -F"),), holds=holds)


def faults() -> Iterator[Fault]:
    group: Class = "firewall"
    yield Fault(
        name="forward-drop",
        title="the policy of FORWARD is DROP, and nothing accepts the pods' packets",
        level=1,
        group=group,
        touches="filter FORWARD and FLANNEL-FWD",
        symptom="the pods of this node reach nobody elsewhere",
        said=Said("policy", "drop"),
        make=_forward_drop,
    )
    yield Fault(
        name="forward-reject",
        title="a rule refuses the port of a pod",
        level=2,
        group=group,
        touches="filter FORWARD",
        symptom="connections from this node to one port are refused",
        said=Said("rule", "foreign"),
        make=_forward_reject,
    )
    yield Fault(
        name="pod-answers-dropped",
        title="a rule inside a pod drops its answers",
        level=3,
        group=group,
        touches="filter OUTPUT of a pod",
        symptom="one pod never answers",
        said=Said("rule", "foreign"),
        make=_answers_dropped,
    )
    yield Fault(
        name="handshake-dropped",
        title="a rule drops the second packet of every handshake",
        level=3,
        group=group,
        touches="filter FORWARD",
        symptom="connections of pods hang",
        said=Said("rule", "foreign"),
        make=_invalid,
    )
    yield Fault(
        name="invalid-dropped",
        title="conntrack knows one direction only: answers are INVALID, and dropped",
        level=3,
        group=group,
        touches="raw PREROUTING",
        symptom="connections to one pod hang, and pings to it do not",
        said=Said("rule", "foreign"),
        make=_untracked,
    )
    yield Fault(
        name="both-variants",
        title="the other variant of iptables drops what this one lets pass",
        level=3,
        group=group,
        touches="filter FORWARD of the other iptables",
        symptom="connections from this node to one port hang",
        said=Said("rule", "foreign"),
        make=_other_variant,
    )
    yield Fault(
        name="nftables",
        title="a table of nftables beside iptables drops packets",
        level=3,
        group=group,
        touches="a table beside those of iptables",
        symptom="connections from this node to one port hang",
        said=Said("table", "foreign"),
        make=_nftables,
    )
    yield Fault(
        name="masquerade-missing",
        title="pods go outside with their own address",
        level=2,
        group=group,
        touches="the chain FLANNEL-POSTRTG",
        symptom="pods of this node get no answer from outside",
        said=Said("rule", "missing"),
        make=_no_masquerade,
    )
    yield Fault(
        name="service-masquerade-missing",
        title="what a NodePort sends to another node keeps its source",
        level=3,
        group=group,
        touches="the chain KUBE-POSTROUTING",
        symptom="a NodePort of this node fails now and then",
        said=Said("chain", "empty"),
        make=_no_service_masquerade,
    )
    yield Fault(
        name="masquerade-too-wide",
        title="pods are masqueraded towards pods too",
        level=2,
        group=group,
        touches="nat POSTROUTING",
        symptom="pods see the node's address instead of the client's",
        said=Said("rule", "foreign"),
        make=_too_wide,
    )
    yield Fault(
        name="nat-flushed",
        title="the table nat is empty",
        level=1,
        group=group,
        touches="the table nat",
        symptom="no Service can be reached from this node",
        said=Said("table", "flushed"),
        make=_flushed,
    )
