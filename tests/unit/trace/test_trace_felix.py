"""Felix' rules read: what they say, whose they are, and what they match."""

from __future__ import annotations

import pytest

from k8snetlab.dataplane.felix_names import LAST_COMMENTS
from k8snetlab.dataplane.names import cali
from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.dataplane.sets import IPSet
from k8snetlab.diagnose.policy_rules import PolicyRules
from k8snetlab.iptables.matching import Host, Packet, chance
from k8snetlab.iptables.patch import same
from k8snetlab.iptables.syntax import parse
from k8snetlab.render import calico
from k8snetlab.testing.fake_cluster import FakeCluster
from k8snetlab.trace.meaning import meaning, purpose
from k8snetlab.trace.owners import NOBODY, Owners

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: lab}
spec:
  nodes: [{name: node1, blocks: [10.1.109.64/26]}, {name: node2, blocks: [10.1.140.64/26]}]
  podCIDR: 10.1.0.0/16
  dns: {enabled: false}
  network: {backend: calico, ipPools: [{cidr: 10.1.0.0/16, vxlanMode: Always, natOutgoing: true}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: mysql}, spec: {nodeName: node1, containers: [{name: c, image: i}]}}
"""
POLICY = """---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: default}
spec:
  podSelector: {}
  ingress:
  - from: [{podSelector: {matchLabels: {role: client}}}]
    ports: [{port: http}, {port: 81}]
"""
TOP = ("INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING")
WEB = cali("default", "mysql")


@pytest.fixture(scope="module")
def made() -> FakeCluster:
    return FakeCluster(LAB + POLICY).run()


@pytest.fixture(scope="module")
def chains(made: FakeCluster) -> dict[ChainKey, Rules]:
    (rules,) = calico.render(made.snapshot, "node1").rules
    found = dict(rules.chains)
    for hook in rules.hooks:
        key = ChainKey(hook.table, hook.chain)
        found[key] = (*found.get(key, ()), hook.rule)
    return found


def test_every_chain_has_a_purpose_and_every_rule_a_sentence(chains: dict[ChainKey, Rules]) -> None:
    for key, held in chains.items():
        assert key.chain in TOP or key.table == "nat" or purpose(key), key
        for rule in held:
            said = meaning(key, rule)
            assert said[0].isupper() and "somebody else" not in said and "in state" not in said, (key, rule, said)


def test_marks_are_felixs_and_not_kube_routers(chains: dict[ChainKey, Rules]) -> None:
    key = ChainKey("filter", f"cali-tw-{WEB}")
    said = [meaning(key, rule) for rule in chains[key]]
    assert said[3] == "Everything loses the mark 0x20000 (left to the next tier) again."
    assert said[6] == (
        "Everything that bears no mark of 0x20000 (left to the next tier) is dropped without a word, as no policy of "
        "the tier allows it."
    )
    assert purpose(ChainKey("filter", "cali-pi-knp/a-b/c-d")) == "one policy, of what it lets in"


def test_every_rule_is_felixs_or_a_policys_with_its_line(made: FakeCluster, chains: dict[ChainKey, Rules]) -> None:
    owners = Owners(made.snapshot, ruled=PolicyRules(made.snapshot))
    for key, held in chains.items():
        for rule in held:
            if key.chain not in TOP or parse(rule).comment in LAST_COMMENTS:
                assert owners.of_rule([key.chain], [parse(rule).comment], [rule]) != NOBODY, (key, rule)
    policy, pod = "cali-pi-knp/default/p", f"cali-tw-{WEB}"
    rule = chains[ChainKey("filter", policy)][0]
    assert owners.of_rule([policy], [parse(rule).comment], [rule]).startswith("NetworkPolicy default/p")
    (end,) = (rule for rule in chains[ChainKey("filter", pod)] if "End of tier default" in rule)
    assert owners.of_rule(["FORWARD", "cali-FORWARD", pod], [""], [end]).startswith("NetworkPolicy default/p")
    assert owners.of_felix_pod(pod) == "pod default/mysql"
    (last,) = (rule for rule in chains[ChainKey("filter", pod)] if "no profiles" in rule)
    assert owners.of_rule(["FORWARD", pod], [""], [last]) == "Felix"


def test_a_set_of_ports_is_asked_for_the_address_with_protocol_and_port() -> None:
    held = IPSet("cali40n:x", "hash:ip,port", "ipv4", frozenset({"10.1.0.1,tcp:80"}))
    host = Host((), sets={held.name: held})
    rule = parse(f"-m set --match-set {held.name} dst,dst -j RETURN")
    for port, protocol, expected in ((80, "tcp", 1), (81, "tcp", 0), (80, "udp", 0)):
        assert chance(rule.matches, Packet("10.1.0.2", "10.1.0.1", protocol, port), host, False) == expected
    source = parse(f"-m set --match-set {held.name} src,src -j RETURN")
    assert chance(source.matches, Packet("10.1.0.1", "10.1.0.2", "tcp", 9, sport=80), host, False) == 1


@pytest.mark.parametrize(
    ("written", "saved"),
    [
        ("-p 4 -j DROP", "-p ipencap -j DROP"),
        ("-p 17 -m multiport --destination-ports 1,2:3 -j DROP", "-p udp -m multiport --dports 1,2:3 -j DROP"),
        ("-m multiport --source-ports 1 -j DROP", "-m multiport --sports 1 -j DROP"),
        ("-p 89 -j DROP", "-p 89 -j DROP"),
        ("-p icmpv6 -m icmp6 --icmpv6-type 1/2 -j DROP", "-p ipv6-icmp -m icmp6 --icmpv6-type 1/2 -j DROP"),
        ('-j LOG --log-prefix "a: " --log-level 5', '-j LOG --log-prefix "a: " --log-level 5'),
    ],
)
def test_what_felix_writes_and_what_is_saved_are_one(written: str, saved: str) -> None:
    assert same(written, saved)


def test_rules_that_differ_in_their_second_comment_are_two() -> None:
    one, other = (f'-m comment --comment "cali:x" -m comment --comment "{text}" -j DROP' for text in ("a", "b"))
    assert not same(one, other) and parse(one).comment == "cali:x" and parse(one).more == ("a",)
