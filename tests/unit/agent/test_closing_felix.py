"""What stands in the place of Felix' rules that the kernel refuses: nothing passes that policies do not let pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from k8snetlab.agent.closing_felix import instead, is_pods, without
from k8snetlab.api.core import Node, NodeSpec, Pod, PodIP, PodSpec, PodStatus
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import IPPool, Lab, LabSpec, Network
from k8snetlab.api.meta import LabelSelector, Object, ObjectMeta
from k8snetlab.api.networking import (
    NetworkPolicy,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicySpec,
)
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.felix_names import pods_chains, policy_chain
from k8snetlab.dataplane.rules import RuleSet
from k8snetlab.render.calico import render

CLOSED, OPEN = pods_chains(("default", "closed"))[0], pods_chains(("default", "open"))[0]
POLICY = policy_chain(("default", "p"), "ingress")


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    """Of a node with two pods, of which a policy selects one."""
    (found,) = render(Snapshot.of(with_defaults(one, "") for one in _objects()), "node1").rules
    return found


def _objects() -> Iterator[Object]:
    network = Network(backend="calico", ipPools=(IPPool(cidr="10.1.0.0/16", vxlanMode="Always", natOutgoing=True),))
    yield Lab(metadata=ObjectMeta(name="lab"), spec=LabSpec(podCIDR="10.1.0.0/16", network=network))
    yield Node(metadata=ObjectMeta(name="node1"), spec=NodeSpec())
    for number, name in enumerate(("closed", "open"), 2):
        ip = f"10.1.0.{number}"
        meta = ObjectMeta(name=name, namespace="default", labels={"app": name})
        yield Pod(metadata=meta, spec=PodSpec(nodeName="node1"), status=PodStatus(podIP=ip, podIPs=(PodIP(ip),)))
    ingress = NetworkPolicyIngressRule(from_=(NetworkPolicyPeer(podSelector=LabelSelector({"app": "open"})),))
    spec = NetworkPolicySpec(podSelector=LabelSelector({"app": "closed"}), ingress=(ingress,))
    yield NetworkPolicy(metadata=ObjectMeta(name="p", namespace="default"), spec=spec)


def chain(rules: RuleSet | None, name: str) -> tuple[str, ...]:
    assert rules is not None
    return next(held for key, held in rules.chains.items() if key.chain == name)


def line(rules: RuleSet, name: str, words: str) -> str:
    return next(f"-A {name} {rule}" for rule in chain(rules, name) if words in rule)


def test_of_a_policy_whose_rule_is_refused_nothing_is_allowed(rules: RuleSet) -> None:
    found = instead(rules, line(rules, POLICY, "--match-set"))
    assert chain(found, POLICY) == () and chain(found, CLOSED) == chain(rules, CLOSED)
    assert not is_pods(POLICY) and is_pods(CLOSED) and is_pods("cali-FORWARD") and not is_pods("cali-nat-outgoing")


def test_a_policy_that_looks_into_a_refused_set_allows_less_and_one_that_may_deny_denies(rules: RuleSet) -> None:
    (name,) = {rule.split("--match-set ")[1].split()[0] for rule in chain(rules, POLICY) if "--match-set" in rule}
    assert chain(without(rules, {name}), POLICY) == chain(rules, POLICY)[1:]
    assert chain(without(rules, {"another"}), POLICY) == chain(rules, POLICY)
    of_cluster = {
        key: tuple(rule.replace("KubernetesNetworkPolicy", "KubernetesClusterNetworkPolicy") for rule in held)
        for key, held in rules.chains.items()
    }
    other = RuleSet("ipv4", of_cluster, rules.prefixes)
    assert chain(without(other, {name}), POLICY) == ("-j DROP",)
    assert chain(instead(other, line(other, POLICY, "--match-set")), POLICY) == ("-j DROP",)


@pytest.mark.parametrize("words", ["INVALID", "--set-xmark 0x0/0x30000", "-j cali-pri-", "-j RETURN"])
def test_a_pod_that_a_policy_selects_is_closed_and_one_that_none_selects_is_not(rules: RuleSet, words: str) -> None:
    found = instead(rules, line(rules, OPEN, words))
    if words == "-j cali-pri-":
        assert found is None  # nothing could be led anywhere then
        return
    assert chain(found, OPEN) == ()
    *before, last = chain(found, CLOSED)
    assert last == "-j DROP" and all(rule.endswith("-j ACCEPT") for rule in before)


def test_where_pods_cannot_be_led_to_their_rules_there_is_no_instead(rules: RuleSet) -> None:
    assert instead(rules, line(rules, "cali-FORWARD", "cali-to-wl-dispatch")) is None
    assert instead(rules, "-A KUBE-SERVICES -j ACCEPT") is None and instead(rules, "") is None


def test_the_labs_own_tunnels_are_not_cut_off_by_what_keeps_out_others(rules: RuleSet) -> None:
    found = instead(rules, line(rules, "cali-INPUT", "--match-set"))
    assert not any("VXLAN" in rule for rule in chain(found, "cali-INPUT"))
    assert any(rule.endswith("-g cali-wl-to-host") for rule in chain(found, "cali-INPUT"))


def test_what_is_not_masqueraded_closes_nobody(rules: RuleSet) -> None:
    found = instead(rules, line(rules, "cali-nat-outgoing", "MASQUERADE"))
    assert chain(found, "cali-nat-outgoing") == () and chain(found, CLOSED) == chain(rules, CLOSED)
