"""What stands in the place of rules that the kernel refuses: nothing passes that policies do not let pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from k8snetlab.agent.closing import instead
from k8snetlab.api.core import Node, NodeSpec, Pod, PodIP, PodSpec, PodStatus
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import LabelSelector, Object, ObjectMeta
from k8snetlab.api.networking import NetworkPolicy, NetworkPolicySpec
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import RuleSet
from k8snetlab.render.netpol.names import pod_chain, policy_chain
from k8snetlab.render.netpol.node import render

CLOSED, OPEN = pod_chain("default", "closed"), pod_chain("default", "open")
POLICY = policy_chain("default", "p", "ingress", "ipv4")


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    """Of a node with two pods, of which a policy selects one."""
    (found,) = render(Snapshot.of(with_defaults(one, "") for one in _objects()), "node1").rules
    return found


def _objects() -> Iterator[Object]:
    yield Lab(metadata=ObjectMeta(name="lab"))
    yield Node(metadata=ObjectMeta(name="node1"), spec=NodeSpec(podCIDRs=("10.244.1.0/24",)))
    for number, name in enumerate(("closed", "open"), 2):
        ip = f"10.244.1.{number}"
        meta = ObjectMeta(name=name, namespace="default", labels={"app": name})
        yield Pod(metadata=meta, spec=PodSpec(nodeName="node1"), status=PodStatus(podIP=ip, podIPs=(PodIP(ip),)))
    spec = NetworkPolicySpec(podSelector=LabelSelector({"app": "closed"}), policyTypes=("Ingress",))
    yield NetworkPolicy(metadata=ObjectMeta(name="p", namespace="default"), spec=spec)


def chain(rules: RuleSet | None, name: str) -> tuple[str, ...]:
    assert rules is not None
    return next(held for key, held in rules.chains.items() if key.chain == name)


def line(rules: RuleSet, name: str, words: str) -> str:
    return next(f"-A {name} {rule}" for rule in chain(rules, name) if words in rule)


def test_of_a_policy_whose_rule_is_refused_nothing_is_allowed(rules: RuleSet) -> None:
    assert chain(instead(rules, f"-A {POLICY} -m nosuch -j RETURN"), POLICY) == ()


@pytest.mark.parametrize("words", ["NFLOG", "REJECT", "--set-xmark 0x20000", "--src-type LOCAL"])
def test_a_pod_that_a_policy_selects_is_closed_and_one_that_none_selects_is_not(rules: RuleSet, words: str) -> None:
    found = instead(rules, line(rules, OPEN, words))
    assert chain(found, OPEN) == ()
    *before, last = chain(found, CLOSED)
    assert last == "-j DROP"
    assert all(rule.endswith(("-j KUBE-NWPLCY-COMMON", "-j ACCEPT")) for rule in before)
    assert not any(words in rule for rule in before)


def test_what_a_bridge_carries_is_judged_without_the_rule_for_it(rules: RuleSet) -> None:
    name = "KUBE-ROUTER-FORWARD"
    found = instead(rules, line(rules, name, "--physdev-is-bridged"))
    left = tuple(rule for rule in chain(rules, name) if "physdev" not in rule)
    assert chain(found, name) == left and chain(found, CLOSED) == chain(rules, CLOSED)


def test_answers_are_not_let_through_where_that_is_refused(rules: RuleSet) -> None:
    name = "KUBE-NWPLCY-COMMON"
    found = instead(rules, line(rules, name, "ESTABLISHED"))
    assert len(chain(found, name)) == len(chain(rules, name)) - 1
    assert chain(found, CLOSED) == chain(rules, CLOSED)


def test_where_pods_cannot_be_led_to_their_rules_there_is_no_instead(rules: RuleSet) -> None:
    plain = next(rule for rule in chain(rules, "KUBE-ROUTER-FORWARD") if "physdev" not in rule and CLOSED in rule)
    assert instead(rules, f"-A KUBE-ROUTER-FORWARD {plain}") is None
    assert instead(rules, "-A KUBE-SERVICES -j ACCEPT") is None and instead(rules, "") is None
