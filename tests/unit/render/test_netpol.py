"""kube-router's chains, rules and sets of NetworkPolicies, by the text and by what becomes of packets."""

from __future__ import annotations

import msgspec
import pytest
import yaml

from k8snetlab.api.core import Container, ContainerPort, Node, NodeSpec, Pod, PodIP, PodSpec, PodStatus
from k8snetlab.api.lab import Lab, LabNetworkPolicy, LabSpec
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.dataplane.sets import by_name
from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.iptables.syntax import canonical, parse
from k8snetlab.render.netpol import names, node
from k8snetlab.trace.tracer import trace

NGINX, CLIENT, OTHER = "10.244.1.2", "10.244.1.3", "10.244.1.4"
ACCESS = """
metadata: {name: access-nginx, namespace: default}
spec:
  podSelector: {matchLabels: {app: nginx}}
  ingress: [{from: [{podSelector: {matchLabels: {role: nginxclient}}}]}]
"""


def pod(name: str, address: str, **labels: str) -> Pod:
    web = ContainerPort(8080, name="web")
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", labels=labels),
        spec=PodSpec(nodeName="node1", containers=(Container(name="c", ports=(web,)),)),
        status=PodStatus(podIP=address, podIPs=(PodIP(address),)),
    )


def world(*policies: str, controller: str = "kube-router", cuts: bool = False) -> Snapshot:
    lab = Lab(
        metadata=ObjectMeta(name="l"),
        spec=LabSpec(networkPolicy=LabNetworkPolicy(controller, cuts)),  # type: ignore[arg-type]
    )
    pods = (pod("nginx", NGINX, app="nginx"), pod("client1", CLIENT, role="nginxclient"), pod("client2", OTHER))
    said = [msgspec.convert(yaml.safe_load(text), NetworkPolicy) for text in policies]
    return Snapshot.of([lab, Node(metadata=ObjectMeta(name="node1"), spec=NodeSpec()), *pods, *said])


def fate(snapshot: Snapshot, src: str, dst: str, dport: int = 80, protocol: str = "tcp", state: str = "NEW") -> str:
    """Of a packet that node1 carries on: "sent", "rejected" …"""
    plane = node.render(snapshot, "node1")
    (rules,) = plane.rules
    chains = {**rules.chains, **{ChainKey(h.table, h.chain): (h.rule,) for h in rules.hooks}}
    host = Host(("10.244.1.1", "192.168.0.21"), lambda dst: "cni0", sets=by_name(plane.sets))
    packet = Packet(src, dst, protocol, dport, in_interface="cni0", state=state, bridged=True)
    (outcome,) = trace(chains, packet, host)
    return outcome.verdict


def test_the_reference_example() -> None:
    snapshot = world(ACCESS)
    assert fate(snapshot, CLIENT, NGINX) == "sent"
    assert fate(snapshot, OTHER, NGINX) == "rejected"
    assert fate(snapshot, "203.0.113.10", NGINX) == "rejected"
    assert fate(snapshot, OTHER, CLIENT) == "sent"
    assert fate(snapshot, OTHER, NGINX, state="ESTABLISHED") == "sent"
    assert fate(snapshot, NGINX, OTHER) == "sent"
    assert fate(snapshot, "192.168.0.21", NGINX) == "sent"  # the pod's own node


def test_its_rules_are_those_of_kube_router() -> None:
    plane = node.render(world(ACCESS), "node1")
    (rules,) = plane.rules
    assert [hook.chain for hook in rules.hooks] == ["INPUT", "FORWARD", "OUTPUT"]
    # The hash of a rule's words, as kube-router works it out.
    assert rules.hooks[1].rule == '-m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD'
    chain = rules.chains[ChainKey("filter", "KUBE-ROUTER-FORWARD")]
    assert chain[-1].endswith("-m mark --mark 0x20000/0x20000 -j ACCEPT")
    assert chain[0].startswith(f'-d {NGINX}/32 -m comment --comment "default/nginx in" -j KUBE-POD-FW-')
    (pods,) = (held for key, held in rules.chains.items() if "default/nginx reject" in " ".join(held))
    said = [one.target.name for rule in pods if (one := parse(rule)).target]
    assert [name[:12] for name in said] == [
        *("KUBE-NWPLCY-", "ACCEPT"),
        *["KUBE-NWPLCY-"] * 2,
        "NFLOG",
        "REJECT",
        *["MARK"] * 2,
    ]
    for held in rules.chains.values():
        for rule in held:
            assert parse(rule) and canonical(rule)
    assert {one.name[:9]: one.entries for one in plane.sets} == {
        "KUBE-DST-": {NGINX},
        "KUBE-SRC-": {CLIENT},
    }


def test_what_a_policy_lets_its_pods_send_it_does_not_let_in() -> None:
    """kube-router has both directions in one chain, and the rule for egress would open the ingress of the same pods."""
    closed = (
        "metadata: {name: p, namespace: default}\nspec: {podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}]}"
    )
    snapshot = world(closed)
    assert fate(snapshot, CLIENT, NGINX) == "rejected"
    assert fate(snapshot, CLIENT, "203.0.113.10") == "sent"


@pytest.mark.parametrize(
    ("rule", "src", "port", "protocol", "expected"),
    [
        ("{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}", "203.0.113.10", 80, "tcp", "sent"),
        ("{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}", OTHER, 80, "tcp", "rejected"),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.244.1.0/24]}}, {ipBlock: {cidr: 10.244.1.4/32}}]}",
            OTHER,
            80,
            "tcp",
            "sent",
        ),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.244.1.0/24]}}, {ipBlock: {cidr: 10.244.0.0/16}}]}",
            OTHER,
            80,
            "tcp",
            "sent",
        ),
        ("{ports: [{port: web}]}", OTHER, 8080, "tcp", "sent"),
        ("{ports: [{port: web}]}", OTHER, 80, "tcp", "rejected"),
        ("{ports: [{port: web, protocol: UDP}]}", OTHER, 8080, "tcp", "rejected"),
        ("{ports: [{port: 80, endPort: 90}]}", OTHER, 85, "tcp", "sent"),
        ("{ports: [{port: 80, endPort: 90}]}", OTHER, 91, "tcp", "rejected"),
        ("{ports: [{protocol: UDP}]}", OTHER, 53, "udp", "sent"),
        ("{ports: [{protocol: UDP}]}", OTHER, 53, "tcp", "rejected"),
        ("{ports: [{port: 80, protocol: SCTP}]}", OTHER, 80, "sctp", "sent"),
        ("{}", OTHER, 1, "udp", "sent"),
        ("{from: [{namespaceSelector: {}}]}", OTHER, 80, "tcp", "sent"),
        ("{from: [{podSelector: {matchLabels: {role: nobody}}}]}", CLIENT, 80, "tcp", "rejected"),
    ],
)
def test_what_a_rule_lets_in(rule: str, src: str, port: int, protocol: str, expected: str) -> None:
    text = "metadata: {name: p, namespace: default}\nspec: {podSelector: {matchLabels: {app: nginx}}, ingress: [%s]}"
    text %= rule
    assert fate(world(text), src, NGINX, port, protocol) == expected


def test_without_a_policy_or_a_controller_there_is_nothing() -> None:
    for snapshot in (world(), world(ACCESS, controller="none")):
        plane = node.render(snapshot, "node1")
        assert not plane.sets and not any(rules.chains or rules.hooks for rules in plane.rules)
        # Chains of it that are left are to go.
        assert all(rules.owns("KUBE-POD-FW-X") for rules in plane.rules)


def test_a_label_costs_an_entry_of_a_set_and_no_rule() -> None:
    before = world(ACCESS)
    labelled = pod("client2", OTHER, role="nginxclient")
    after = before.changed([(Pod, labelled.key, labelled)], 2)
    one, other = node.render(before, "node1"), node.render(after, "node1")
    assert one.rules == other.rules
    changed = [(a, b) for a, b in zip(one.sets, other.sets, strict=True) if a != b]
    assert [(b.entries - a.entries, a.entries - b.entries) for a, b in changed] == [({OTHER}, set())]
    assert fate(after, OTHER, NGINX) == "sent"


def test_a_new_pod_costs_other_nodes_an_entry_of_a_set_and_its_own_node_a_chain() -> None:
    before = world(ACCESS).changed([(Node, ("", "node2"), Node(metadata=ObjectMeta(name="node2"), spec=NodeSpec()))], 2)
    new = pod("client3", "10.244.1.5", role="nginxclient")
    after = before.changed([(Pod, new.key, new)], 3)
    for name in ("node1", "node2"):
        one, other = node.render(before, name), node.render(after, name)
        changed = [(a, b) for a, b in zip(one.sets, other.sets, strict=True) if a != b]
        assert [(b.entries - a.entries, a.entries - b.entries) for a, b in changed] == [({"10.244.1.5"}, set())]
        ((old,), (now,)) = one.rules, other.rules
        others = {key.chain for key, rules in now.chains.items() if old.chains.get(key) != rules}
        own = {"KUBE-ROUTER-INPUT", "KUBE-ROUTER-FORWARD", "KUBE-ROUTER-OUTPUT", names.pod_chain("default", "client3")}
        assert others == (own if name == "node1" else set())


def test_without_a_policy_nobody_is_asked_what_policies_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "resolved_of", None)
    monkeypatch.setattr(node, "_SHARED", None)
    assert not node.render(world(), "node1").sets
    with pytest.raises(AttributeError):
        node.render(world(ACCESS), "node1")


def test_what_goes_on_of_a_connection_that_was_cut_is_reset() -> None:
    common = ChainKey("filter", "KUBE-NWPLCY-COMMON")
    without, with_ = (node.render(world(ACCESS, cuts=cuts), "node1").rules[0].chains[common] for cuts in (False, True))
    (more,) = [rule for rule in with_ if rule not in without]
    assert with_.index(more) == 2, "after what is established"
    # as iptables-save prints it
    assert more.endswith(
        "-m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j REJECT --reject-with tcp-reset"
    )
    assert canonical(more) == canonical(more.replace("FIN,SYN,RST,ACK", "ACK,FIN,RST,SYN"))
    assert fate(world(ACCESS, cuts=True), CLIENT, NGINX) == "sent"


def test_an_excepted_half_of_all_addresses_is_one_entry_and_no_two() -> None:
    """A set holds a network once: of two entries it would always lack one."""
    text = """
metadata: {name: p, namespace: default}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [0.0.0.0/1, 192.0.2.0/24]}}]}]}"""
    plane = node.render(world(text), "node1")
    (nets,) = [one for one in plane.sets if one.type == "hash:net"]
    assert nets.entries == {"0.0.0.0/1 nomatch", "128.0.0.0/1", "192.0.2.0/24 nomatch"}
    assert not nets.has("10.244.1.2") and nets.has("203.0.113.9") and not nets.has("192.0.2.1")
