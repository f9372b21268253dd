"""The sentence for a rule: every kind that is ever rendered has one, and it says the right thing."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from k8snetlab.api.meta import Object
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.render import masquerade
from k8snetlab.render.netpol import node
from k8snetlab.render.proxy import ProxyRules
from k8snetlab.testing import fake_cluster
from k8snetlab.testing.services import assemble, cluster, endpoint, proxy, web
from k8snetlab.trace.meaning import Facts, endpoints, meaning, purpose
from k8snetlab.trace.owners import Owners

UNREADABLE = "Neither kube-proxy nor flannel"
SERVICES: dict[str, list[Object]] = {
    "ClusterIP": web(),
    "without endpoints": web(endpoint("10.244.1.5", "node1", ready=False), type="NodePort"),
    "NodePort": web(type="NodePort", ports=[{"name": "http", "port": 80, "nodePort": 30080}]),
    "Local": web(
        endpoint("10.244.2.5", "node2"),
        type="LoadBalancer",
        ports=[{"name": "http", "port": 80, "nodePort": 30080}],
        externalTrafficPolicy="Local",
        internalTrafficPolicy="Local",
        healthCheckNodePort=31000,
        ingress=["203.0.113.80"],
    ),
    "source ranges": web(
        type="LoadBalancer",
        ingress=["203.0.113.80"],
        loadBalancerSourceRanges=["198.51.100.0/24", "192.168.0.0/24"],
        externalIPs=["203.0.113.90"],
    ),
    "affinity": web(sessionAffinity="ClientIP"),
}


def rendered(objects: list[Object], layout: str, *config: Object) -> list[tuple[ChainKey, str]]:
    rules = ProxyRules.build(cluster(*objects, *config, layout=layout), "node1", "ipv4").ruleset
    flannel = masquerade.render("10.244.0.0/16", "10.244.1.0/24", "ipv4")
    chains = assemble(rules, flannel)
    return [(key, rule) for key, held in chains.items() for rule in held]


@pytest.mark.parametrize(("service", "layout"), [*itertools.product(SERVICES, ("current", "classic"))])
def test_every_rendered_rule_has_a_sentence_and_every_chain_a_purpose(service: str, layout: str) -> None:
    for key, rule in rendered(SERVICES[service], layout):
        said = meaning(key, rule)
        assert not said.startswith(UNREADABLE), rule
        assert said.endswith(".") and "  " not in said and "to to" not in said, (rule, said)
        assert purpose(key), key


POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 80}]}]}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  ingress: [{action: Accept, from: [{namespaces: {}}]}, {action: Pass, from: [{namespaces: {}}]}]
  egress: [{action: Deny, to: [{namespaces: {}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {nodeName: node1, containers: [{name: c}]}
---
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 1, podCIDR: "10.244.0.0/16,fd00::/48", underlay: {cidr: "192.168.0.0/24,fd00:1::/64"},
  serviceCIDR: "10.96.0.0/16,fd00:10:96::/112", dns: {enabled: false}}
"""


def test_every_rule_of_a_policy_says_what_it_matches_and_every_chain_of_them_has_a_purpose() -> None:
    rendered = node.render(fake_cluster.FakeCluster(POLICY).run().snapshot, "node1")
    rules = [(key, rule) for one in rendered.rules for key, held in one.chains.items() for rule in held]
    matched = {option for _, rule in rules for option in rule.split() if option.startswith("--")}
    assert {"--match-set", "--icmp-type", "--icmpv6-type", "--limit", "--physdev-is-bridged"} <= matched
    for key, rule in rules:
        said = meaning(key, rule)
        assert purpose(key) and not said.startswith(UNREADABLE) and "0x0/" not in said, (rule, said)
        for word, instead in (("KUBE-SRC", "ipset"), ("KUBE-DST", "ipset"), ("-type 8", "type 8"), ("NFLOG", "NFLOG")):
            assert word not in rule or instead in said, (rule, said)
        assert "physdev" not in rule or "bridge carries on" in said
        assert "--mark 0x0/" not in rule or "bears no mark" in said


@pytest.mark.parametrize("mode", ["NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"])
def test_every_way_to_know_a_pod_is_told(mode: str) -> None:
    local: Any = {"bridgeInterface": "cni0", "interfaceNamePrefix": "veth"}
    config = proxy(detectLocalMode=mode, detectLocal=local)
    said = [meaning(key, rule) for key, rule in rendered(web(), "current", config) if key.chain.startswith("KUBE-SVC-")]
    assert any("is marked for masquerade, because" in sentence for sentence in said)


def test_masquerade_all_is_named() -> None:
    config = proxy(iptables={"masqueradeAll": True})
    said = [meaning(key, rule) for key, rule in rendered(web(), "current", config)]
    assert sum("because masqueradeAll is set" in sentence for sentence in said) == 1


@pytest.mark.parametrize(
    ("chain", "rule", "said"),
    [
        (
            "nat KUBE-SERVICES",
            '-d 10.96.0.10/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-X',
            "TCP to 10.96.0.10 (Service default/web) port 80 goes on to KUBE-SVC-X"
            " (the Service's endpoints on any node).",
        ),
        (
            "nat KUBE-SVC-X",
            "-m statistic --mode random --probability 0.33332999982 -j KUBE-SEP-A",
            "One in 3 of the connections that get here goes to endpoint 10.244.1.5:8080 (pod default/a).",
        ),
        ("nat KUBE-SVC-X", "-j KUBE-SEP-A", "What is left goes to endpoint 10.244.1.5:8080 (pod default/a)."),
        (
            "nat KUBE-SVC-X",
            "-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-A --rsource -j KUBE-SEP-A",
            "Everything from a client that was sent to 10.244.1.5:8080 in the last 10800 seconds"
            " goes to endpoint 10.244.1.5:8080 (pod default/a).",
        ),
        (
            "nat KUBE-SEP-A",
            "-p tcp -m recent --set --name KUBE-SEP-A --mask 255.255.255.255 --rsource -m tcp"
            " -j DNAT --to-destination 10.244.1.5:8080",
            "TCP gets 10.244.1.5:8080 (pod default/a) as its destination, and its client is remembered for session"
            " affinity.",
        ),
        (
            "filter KUBE-SERVICES",
            '-d 10.96.0.10/32 -p tcp -m comment --comment "default/web:http has no endpoints" -m tcp --dport 80'
            " -j REJECT --reject-with icmp-port-unreachable",
            "TCP to 10.96.0.10 (Service default/web) port 80 is refused at once, as the Service has no endpoints.",
        ),
        (
            "nat FLANNEL-POSTRTG",
            '-s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
            "Everything from 10.244.0.0/16 to anything but 224.0.0.0/4 gets the address of the interface it leaves by"
            " as its source, as nobody outside the cluster knows the way back to a pod.",
        ),
        ("nat KUBE-MARK-MASQ", "-j MARK --or-mark 0x4000", "Everything gets the mark 0x4000 (for masquerade)."),
        (
            "filter FORWARD",
            "-m string --string x --algo bm -j DROP",
            "Neither kube-proxy nor flannel writes such a rule; somebody else put it in.",
        ),
        ("filter MINE", "-s 10.0.0.0/8 -j DROP", "Everything from 10.0.0.0/8 is dropped without a word."),
    ],
)  # fmt: skip
def test_what_a_rule_says(chain: str, rule: str, said: str) -> None:
    known = {"10.96.0.10": "Service default/web", "10.244.1.5": "pod default/a"}
    facts = Facts({"KUBE-SEP-A": "10.244.1.5:8080"}, known)
    table, _, name = chain.partition(" ")
    assert meaning(ChainKey(table, name), rule, facts) == said


def test_endpoints_are_read_from_the_rules_of_both_families() -> None:
    chains = {
        ChainKey("nat", "KUBE-SEP-A"): ("-s 10.0.0.1 -j KUBE-MARK-MASQ", "-j DNAT --to-destination 10.0.0.1:80"),
        ChainKey("nat", "KUBE-SEP-B"): ("-j DNAT --to-destination [fd00::1]:80",),
        ChainKey("filter", "X"): ("-j DROP",),
    }
    assert endpoints(chains) == {"KUBE-SEP-A": "10.0.0.1:80", "KUBE-SEP-B": "[fd00::1]:80"}
    assert Facts(known={"fd00::1": "pod b"}).named_end("[fd00::1]:80") == "[fd00::1]:80 (pod b)"


def test_a_pods_refusal_is_laid_to_the_policies_of_its_direction() -> None:
    text = POLICY.replace("metadata: {name: p}", "metadata: {name: inward}") + (
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: outward}\n"
        "spec: {podSelector: {}, policyTypes: [Egress]}\n"
    )
    owners = Owners(fake_cluster.FakeCluster(text).run().snapshot)
    said = {
        way: owners.of_rule(["KUBE-ROUTER-FORWARD", "KUBE-POD-FW-X"], ["default/a reject", *leading])
        for way, leading in {"in": ["default/a in"], "out": ["default/a out"], "": []}.items()
    }
    assert "inward" in said["in"] and "outward" not in said["in"]
    assert "outward" in said["out"] and "inward" not in said["out"]
    assert "inward" in said[""] and "outward" in said[""]
