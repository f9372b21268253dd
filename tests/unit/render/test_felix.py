"""Felix' chains by the text: names, hashes and ipsets as real nodes have them."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import pytest
import yaml

from k8snetlab.api.core import Container, ContainerPort, Node, NodeSpec, Pod, PodIP, PodSpec, PodStatus
from k8snetlab.api.lab import IPPool, Lab, LabNetworkPolicy, LabSpec, Network
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import felix_names as names
from k8snetlab.dataplane.names import cali
from k8snetlab.dataplane.netns import NodeDataplane
from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.dataplane.sets import by_name
from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.iptables.syntax import canonical, parse
from k8snetlab.render import calico
from k8snetlab.render.netpol import node as kube_router
from k8snetlab.trace.tracer import trace

WEB, CLIENT, OTHER = "10.1.0.1", "10.1.0.2", "10.1.0.3"
ACCESS = """
metadata: {name: access, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {role: client}}}]}]
"""


def pod(name: str, address: str, **labels: str) -> Pod:
    web = ContainerPort(8080, name="web")
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", labels=labels),
        spec=PodSpec(nodeName="node1", serviceAccountName="default", containers=(Container(name="c", ports=(web,)),)),
        status=PodStatus(podIP=address, podIPs=(PodIP(address),)),
    )


def world(*policies: str, cuts: bool = False, controller: str = "kube-router", pool: IPPool | None = None) -> Snapshot:
    network = Network(backend="calico", ipPools=(pool or IPPool(cidr="10.1.0.0/16"),))
    said = LabNetworkPolicy(controller, cuts)  # type: ignore[arg-type]
    lab = Lab(metadata=ObjectMeta(name="l"), spec=LabSpec(podCIDR="10.1.0.0/16", network=network, networkPolicy=said))
    pods = (pod("web", WEB, app="web"), pod("client", CLIENT, role="client"), pod("other", OTHER))
    found = [msgspec.convert(yaml.safe_load(text), NetworkPolicy) for text in policies]
    return Snapshot.of([lab, Node(metadata=ObjectMeta(name="node1"), spec=NodeSpec()), *pods, *found])


def chains(snapshot: Snapshot) -> dict[ChainKey, Rules]:
    """With the hooks, as they stand."""
    (rules,) = plane(snapshot).rules
    found = dict(rules.chains)
    for hook in rules.hooks:
        key = ChainKey(hook.table, hook.chain)
        found[key] = (hook.rule, *found.get(key, ())) if hook.prepend else (*found.get(key, ()), hook.rule)
    return found


def plane(snapshot: Snapshot) -> NodeDataplane:
    return calico.render(snapshot, "node1")


def chain(snapshot: Snapshot, name: str) -> Rules:
    return chains(snapshot)[ChainKey("filter", name)]


DEVICES = {WEB: cali("default", "web"), CLIENT: cali("default", "client"), OTHER: cali("default", "other")}


def fate(snapshot: Snapshot, src: str, dst: str, dport: int = 80, protocol: str = "tcp", state: str = "NEW") -> str:
    host = Host(("192.168.0.21",), lambda dst: DEVICES.get(dst, "eth0"), sets=by_name(plane(snapshot).sets))
    packet = Packet(src, dst, protocol, dport, in_interface=DEVICES.get(src, "eth0"), state=state)
    if src == "192.168.0.21":
        packet = msgspec.structs.replace(packet, in_interface="")
    (outcome,) = trace(chains(snapshot), packet, host, {ChainKey("filter", "FORWARD"): "DROP"})
    return outcome.verdict


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("INPUT", 0, "cali:Cz_u1IQiXIMmKD4c"),
        ("FORWARD", 0, "cali:wUHhoiAYhphO9Mso"),
        ("FORWARD", 1, "cali:S93hcgKJrXEqnTfs"),
        ("FORWARD", 2, "cali:mp77cMpurHhyjLrM"),
        ("OUTPUT", 0, "cali:tVnHkvAo15HuiPy0"),
        ("cali-INPUT", 0, "cali:FewJpBykm9iJ-YNH"),
        ("cali-OUTPUT", 0, "cali:Mq1_rAdXXH3YkrzW"),
        ("cali-OUTPUT", 1, "cali:69FkRTJDvD5Vu6Vl"),
        ("cali-wl-to-host", 0, "cali:Ee9Sbo10IpVujdIY"),
        ("cali-wl-to-host", 1, "cali:nSZbcOoG1xPONxb8"),
    ],
)
def test_a_rules_comment_is_the_hash_that_felix_gives_it(name: str, number: int, said: str) -> None:
    """As `iptables-save` of real nodes prints them, of rules that are the same in all releases."""
    assert f'"{said}"' in chain(world(), name)[number]


def test_those_that_let_tunnels_of_ipip_in_have_felixs_hashes_too() -> None:
    held = chain(world(pool=IPPool(cidr="10.1.0.0/16", ipipMode="Always")), "cali-INPUT")
    assert [rule.split('"')[1] for rule in held[:2]] == ["cali:PajejrV4aFdkZojI", "cali:_wjq-Yrma8Ly1Svo"]


def test_the_last_of_forward_are_those_that_others_know_them_by() -> None:
    assert tuple(rule.split('"')[1] for rule in chain(world(), "FORWARD")[1:]) == names.LAST_COMMENTS


def test_names_are_cut_to_a_hash_where_they_are_too_long() -> None:
    """The second by sha256sum and basenc."""
    assert names.policy_chain(("default", "access"), "ingress") == "cali-pi-knp/default/access"
    assert names.policy_chain(("", "all"), "egress") == "cali-po-kcnp/all"
    assert names.policy_chain(("np/a", "b"), "ingress") == "cali-pi-np/a/b"
    assert names.policy_chain(("gnp", "b"), "ingress") == "cali-pi-gnp/b"
    text = "knp/default/a-long-name"
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert names.policy_chain(("default", "a-long-name"), "ingress") == f"cali-pi-_{digest[:19]}"
    assert len(names.policy_chain(("default", "a-long-name"), "ingress")) == 28
    assert names.limited("cali-pi-", "x" * 20) == "cali-pi-" + "x" * 20
    assert (
        names.limited("cali-pi-", "_" + "x" * 19).startswith("cali-pi-_")
        and names.limited("cali-pi-", "_" + "x" * 19) != "cali-pi-_" + "x" * 19
    )


def test_a_set_is_named_by_its_selector() -> None:
    text = '(projectcalico.org/namespace == "default" && (projectcalico.org/orchestrator == "k8s" && role == "client"))'
    digest = base64.urlsafe_b64encode(hashlib.sha224(f"s:{text}".encode()).digest()).decode()
    (mine,) = (one for one in plane(world(ACCESS)).sets if one.name.startswith("cali40s:"))
    assert mine.name == f"cali40s:{digest}"[:31] and (mine.type, mine.entries) == ("hash:net", {CLIENT})


def test_every_rule_can_be_read_and_no_two_of_a_chain_are_the_same() -> None:
    for held in chains(world(ACCESS, cuts=True, pool=IPPool(cidr="10.1.0.0/16", vxlanMode="Always"))).values():
        assert len({canonical(rule) for rule in held}) == len(held)
        assert all(parse(rule) for rule in held)


def test_what_no_policy_allows_is_dropped_and_the_node_and_answers_are_not_asked() -> None:
    snapshot = world(ACCESS)
    assert fate(snapshot, CLIENT, WEB) == "sent"
    assert fate(snapshot, OTHER, WEB) == "dropped"
    assert fate(snapshot, "203.0.113.10", WEB) == "dropped"
    assert fate(snapshot, OTHER, WEB, state="ESTABLISHED") == "sent"
    assert fate(snapshot, OTHER, WEB, state="INVALID") == fate(snapshot, WEB, OTHER, state="INVALID") == "dropped"
    assert fate(snapshot, WEB, OTHER) == fate(snapshot, OTHER, CLIENT) == "sent"
    assert fate(snapshot, "192.168.0.21", WEB) == "sent"  # the pod's own node
    assert fate(snapshot, OTHER, WEB, 0, "icmp") == "dropped"
    assert fate(snapshot, OTHER, "192.168.0.21", 22) == "delivered"


def test_a_pod_brings_no_tunnel_of_its_own_past_policies() -> None:
    assert fate(world(), CLIENT, "192.168.0.22", 4789, "udp") == "dropped"


def test_what_a_pod_sends_to_its_own_node_is_judged() -> None:
    closed = "metadata: {name: p, namespace: default}\nspec: {podSelector: {}, policyTypes: [Egress]}"
    assert fate(world(closed), OTHER, "192.168.0.21", 22) == "dropped"


def test_a_pod_that_felix_does_not_know_gets_nothing() -> None:
    snapshot, unknown = world(), "cali00000000000"
    packet = Packet(CLIENT, "10.1.0.9", "tcp", 80, in_interface=DEVICES[CLIENT])
    (outcome,) = trace(chains(snapshot), packet, Host((), lambda dst: unknown, sets=by_name(plane(snapshot).sets)))
    assert outcome.verdict == "dropped" and '"Unknown interface"' in outcome.steps[-1].rule


def test_devices_that_share_a_letter_more_have_a_chain_of_their_own() -> None:
    from k8snetlab.render.felix import dispatch

    found = dict(dispatch.chains(("calia1", "calia2", "calib1"), "ingress"))
    assert [*found] == ["cali-to-wl-dispatch-a", "cali-to-wl-dispatch"]
    assert [rule.rpartition('" ')[2] for rule in found["cali-to-wl-dispatch"]] == [
        "-g cali-to-wl-dispatch-a", "-g cali-tw-calib1", "-j DROP",
    ]  # fmt: skip
    assert found["cali-to-wl-dispatch"][0].startswith("-o calia+ ")
    assert [rule.rpartition('" ')[2] for rule in found["cali-to-wl-dispatch-a"]] == [
        "-g cali-tw-calia1", "-g cali-tw-calia2", "-j DROP",
    ]  # fmt: skip


def test_policies_of_one_selector_are_a_group_that_looks_at_the_verdict_every_fifth() -> None:
    held = [ACCESS.replace("access", f"p{number}") for number in range(6)]
    (group,) = (key for key in chains(world(*held)) if key.chain.startswith("cali-gi-"))
    assert len(group.chain) == 28
    jumps = [target.name for rule in chain(world(*held), group.chain) if (target := parse(rule).target)]
    assert jumps == [*(f"cali-pi-knp/default/p{n}" for n in range(5)), "RETURN", "cali-pi-knp/default/p5"]
    assert any(rule.endswith(f"-j {group.chain}") for rule in chain(world(*held), f"cali-tw-{DEVICES[WEB]}"))
    assert fate(world(*held), CLIENT, WEB) == "sent" and fate(world(*held), OTHER, WEB) == "dropped"


def test_kube_routers_chains_are_gone_and_nothing_of_felix_stays_elsewhere() -> None:
    (rules,) = kube_router.render(world(ACCESS), "node1").rules
    assert not rules.chains and not rules.hooks
    lab = Lab(metadata=ObjectMeta(name="l"), spec=LabSpec(podCIDR="10.1.0.0/16"))
    (left,) = calico.render(Snapshot.of([lab]), "node1").rules
    assert not left.chains and left.prefixes == ("cali-",)
    assert [hook.rule.split('"')[1] for hook in left.obsolete] == [*names.LAST_COMMENTS]


def test_without_a_controller_policies_have_no_chain() -> None:
    snapshot = world(ACCESS, controller="none")
    assert not [key for key in chains(snapshot) if key.chain.startswith("cali-pi-")]
    assert fate(snapshot, OTHER, WEB) == "sent"


def test_where_connections_are_cut_what_goes_on_is_reset() -> None:
    assert not any("tcp-reset" in rule for held in chains(world(ACCESS)).values() for rule in held)
    rules = chain(world(ACCESS, cuts=True), f"cali-tw-{DEVICES[WEB]}")
    assert "ESTABLISHED" in rules[0] and "tcp-reset" in rules[2]
