"""NetworkPolicies by real packets: the reference's example, and many small worlds, each against what policies say."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import yaml
from policypackets import passes, policy

from k8snetlab.api.core import Namespace, Pod
from k8snetlab.api.load import load
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.kernel import ipsets
from k8snetlab.policies.resolve import resolved
from k8snetlab.policies.verdict import allowed
from k8snetlab.testing.lab import Lab
from k8snetlab.testing.waiting import eventually

NODES = {"a": "node1", "b": "node1", "c": "node2"}
PORTS = (("TCP", 80), ("TCP", 81), ("UDP", 80))
PREFIXES = ("KUBE-SRC-", "KUBE-DST-")


def manifests() -> str:
    """Namespaces x and w with pods a, b (on node1) and c (on node2) each."""
    found = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n, "labels": {"ns": n}}} for n in "xw"]
    ports = [
        {"name": "http", "containerPort": 80},
        {"name": "more", "containerPort": 81},
        {"name": "dns", "containerPort": 80, "protocol": "UDP"},
    ]
    for space in "xw":
        for name, node in NODES.items():
            found.append({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": space, "labels": {"pod": name}},
                "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i", "ports": ports}]},
            })  # fmt: skip
    return yaml.safe_dump_all(found)


@pytest.fixture(scope="module", params=["nft", "legacy"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("policies"))
    file = tmp_path_factory.mktemp("manifests") / "lab.yaml"
    head = f"apiVersion: k8snetlab/v1alpha1\nkind: Lab\nmetadata: {{name: {lab.name}}}\n"
    file.write_text(
        f"{head}spec: {{nodes: 2, dns: {{enabled: false}}, proxy: {{iptables: {request.param}}}}}\n---\n{manifests()}"
    )
    lab.run("up", "--yes", str(file))
    for node in ("node1", "node2"):
        lab.shell(node, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")  # each REJECT is said, so none is waited for
    yield lab
    lab.run("down")


A = "{podSelector: {matchLabels: {pod: a}}"
ADMIN = "{tier: Admin, priority: 1, subject: {namespaces: {matchLabels: {ns: x}}}"
W = "{namespaces: {matchLabels: {ns: w}}}"
DENY, OPEN = "podSelector: {}", "[{}]"
WORLDS = {
    "deny ingress": ["podSelector: {}"],
    "deny all": ["{podSelector: {}, policyTypes: [Ingress, Egress]}"],
    "deny egress": ["{podSelector: {}, policyTypes: [Egress]}"],
    "allow all in": ["{podSelector: {}, ingress: [{}]}"],
    "allow all out": ["{podSelector: {}, policyTypes: [Egress], egress: [{}]}"],
    "out, and nothing in": ["{podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}]}"],
    "in, and nothing out": ["{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}]}"],
    "by pod": [f"{A}, ingress: [{{from: [{{podSelector: {{matchLabels: {{pod: b}}}}}}]}}]}}"],
    "by namespace": [f"{A}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{ns: w}}}}}}]}}]}}"],
    "by the namespace's name": [
        f"{A}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: w}}}}}}]}}]}}"
    ],
    "pod and namespace": [
        f"{A}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{ns: w}}}},"
        " podSelector: {matchLabels: {pod: b}}}]}]}"
    ],
    "pod or namespace": [
        f"{A}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{ns: w}}}}}},"
        " {podSelector: {matchLabels: {pod: b}}}]}]}"
    ],
    "all namespaces": [f"{A}, ingress: [{{from: [{{namespaceSelector: {{}}}}]}}]}}"],
    "all pods of its own": [f"{A}, ingress: [{{from: [{{podSelector: {{}}}}]}}]}}"],
    "in": [
        f"{A}, ingress: [{{from: [{{podSelector:"
        " {matchExpressions: [{key: pod, operator: In, values: [b, c]}]}}]}]}"
    ],
    "not in": [
        f"{A}, ingress: [{{from: [{{podSelector:"
        " {matchExpressions: [{key: pod, operator: NotIn, values: [b]}]}}]}]}"
    ],
    "exists": [
        f"{A}, ingress: [{{from: [{{podSelector: {{matchExpressions: [{{key: pod, operator: Exists}}]}}}}]}}]}}"
    ],
    "does not exist": [
        f"{A}, ingress: [{{from: [{{podSelector: {{matchExpressions: [{{key: pod, operator: DoesNotExist}}]}}}}]}}]}}"
    ],
    "nobody selected": ["{podSelector: {matchLabels: {pod: z}}, ingress: []}"],
    "a port": [f"{A}, ingress: [{{ports: [{{port: 80}}]}}]}}"],
    "two ports": [f"{A}, ingress: [{{ports: [{{port: 80}}, {{port: 81}}]}}]}}"],
    "a port of UDP": [f"{A}, ingress: [{{ports: [{{port: 80, protocol: UDP}}]}}]}}"],
    "all of UDP": [f"{A}, ingress: [{{ports: [{{protocol: UDP}}]}}]}}"],
    "all of TCP": [f"{A}, ingress: [{{ports: [{{protocol: TCP}}]}}]}}"],
    "of SCTP nothing of TCP": [f"{A}, ingress: [{{ports: [{{port: 80, protocol: SCTP}}]}}]}}"],
    "a range": [f"{A}, ingress: [{{ports: [{{port: 81, endPort: 90}}]}}]}}"],
    "a name": [f"{A}, ingress: [{{ports: [{{port: more}}]}}]}}"],
    "a name of the other protocol": [f"{A}, ingress: [{{ports: [{{port: dns, protocol: TCP}}]}}]}}"],
    "a name nobody has": [f"{A}, ingress: [{{ports: [{{port: nope}}]}}]}}"],
    "a name and a peer": [f"{A}, ingress: [{{from: [{{podSelector: {{}}}}], ports: [{{port: http}}]}}]}}"],
    "two rules": [
        f"{A}, ingress: [{{from: [{{podSelector: {{}}}}], ports: [{{port: 80}}]}},"
        " {from: [{namespaceSelector: {matchLabels: {ns: w}}}], ports: [{port: 81}]}]}"
    ],
    "stacked": [
        f"{A}, ingress: [{{from: [{{podSelector: {{matchLabels: {{pod: b}}}}}}]}}]}}",
        f"{A}, ingress: [{{from: [{{podSelector: {{matchLabels: {{pod: c}}}}}}], ports: [{{port: 81}}]}}]}}",
    ],
    "all wins": [DENY, "{podSelector: {}, ingress: [{}]}"],
    "a block": [f"{A}, ingress: [{{from: [{{ipBlock: {{cidr: 10.244.1.0/24}}}}]}}]}}"],
    "a block with an exception": [
        f"{A}, ingress: [{{from: [{{ipBlock: {{cidr: 10.244.0.0/16, except: [10.244.2.0/24]}}}}]}}]}}"
    ],
    "an exception that another allows": [
        f"{A}, ingress: [{{from: [{{ipBlock: {{cidr: 10.244.0.0/16, except: [10.244.2.0/24]}}}},"
        " {ipBlock: {cidr: 10.244.2.0/24}}]}]}"
    ],
    "every address": [f"{A}, ingress: [{{from: [{{ipBlock: {{cidr: 0.0.0.0/0}}}}]}}]}}"],
    "a block and a port": [
        f"{A}, ingress: [{{from: [{{ipBlock: {{cidr: 10.244.0.0/16}}}}], ports: [{{port: 80, protocol: UDP}}]}}]}}"
    ],
    "out to a pod": [f"{A}, policyTypes: [Egress], egress: [{{to: [{{podSelector: {{matchLabels: {{pod: b}}}}}}]}}]}}"],
    "out to a namespace": [
        f"{A}, policyTypes: [Egress], egress: [{{to: [{{namespaceSelector: {{matchLabels: {{ns: w}}}}}}]}}]}}"
    ],
    "out to a port": [f"{A}, policyTypes: [Egress], egress: [{{ports: [{{port: 81}}]}}]}}"],
    "out to a name": [
        f"{A}, policyTypes: [Egress], egress: [{{to: [{{podSelector: {{}}}}], ports: [{{port: http}}]}}]}}"
    ],
    "out to a name of anybody's": [
        f"{A}, policyTypes: [Egress], egress: [{{ports: [{{port: dns, protocol: UDP}}]}}]}}"
    ],
    "out to a block": [
        f"{A}, policyTypes: [Egress], egress: [{{to:"
        " [{ipBlock: {cidr: 10.244.0.0/16, except: [10.244.1.0/24]}}]}]}"
    ],
    "egress by its rules alone": [f"{A}, egress: [{{}}]}}"],
    "in and out": [
        f"{A}, policyTypes: [Ingress, Egress], ingress: [{{from: [{{podSelector: {{matchLabels: {{pod: b}}}}}}]}}],"
        " egress: [{to: [{podSelector: {matchLabels: {pod: c}}}]}]}"
    ],
    "out, though the other lets in": ["{podSelector: {}, policyTypes: [Egress]}", "{podSelector: {}, ingress: [{}]}"],
    "an admin denies a namespace": [f"{ADMIN}, ingress: [{{action: Deny, from: [{W}]}}]}}"],
    "an admin accepts what a policy denies": [f"{ADMIN}, ingress: [{{action: Accept, from: [{W}]}}]}}", DENY],
    "an admin denies what a policy allows": [
        f"{ADMIN}, egress: [{{action: Deny, to: [{W}]}}]}}",
        "{podSelector: {}, policyTypes: [Egress], egress: [{}]}",
    ],
    "an admin passes one namespace": [
        f"{ADMIN}, ingress: [{{action: Pass, from: [{W}]}}, {{action: Deny, from: [{{namespaces: {{}}}}]}}]}}",
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {pod: b}}}]}]}",
    ],
    "an admin's port and range": [
        f"{ADMIN}, ingress: [{{action: Deny, from: [{{namespaces: {{}}}}], protocols: [{{tcp: {{destinationPort:"
        " {range: {start: 81, end: 99}}}}, {udp: {destinationPort: {range: {start: 1, end: 65535}}}}]}]}"
    ],
    "an admin's networks": [f"{ADMIN}, egress: [{{action: Deny, to: [{{networks: [10.244.2.0/24]}}]}}]}}"],
    "an admin's name of a port": [
        f"{ADMIN}, ingress: [{{action: Deny, from: [{{namespaces: {{}}}}],"
        " protocols: [{destinationNamedPort: dns}]}]}"
    ],
    "a baseline that policies override": [
        "{tier: Baseline, priority: 9, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
        f"{A}, ingress: [{{from: [{{podSelector: {{matchLabels: {{pod: b}}}}}}]}}]}}",
    ],
    "three tiers": [
        f"{ADMIN}, ingress: [{{action: Pass, from: [{W}]}}]}}",
        "{tier: Admin, priority: 5, subject: {namespaces: {}}, ingress: [{action: Accept, from: [{namespaces: {}}]}]}",
        "{tier: Baseline, priority: 0, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}],"
        " protocols: [{tcp: {destinationPort: {number: 80}}}]}]}",
    ],
}


@pytest.fixture(scope="module")
def objects(lab: Lab) -> list[Pod | Namespace]:
    pods = [msgspec.convert(one, Pod, strict=False) for space in "xw" for one in lab.list("pods", space)]
    return [*pods, *(msgspec.convert(one, Namespace, strict=False) for one in lab.list("namespaces"))]


SOME = (
    "deny all",
    "pod and namespace",
    "a range",
    "a name",
    "a block with an exception",
    "out to a name",
    "in and out",
    "three tiers",
)
"""Those that the other variant of iptables is tried with too."""


@pytest.mark.parametrize("lab", ["nft"], indirect=True, scope="module")
@pytest.mark.parametrize("world", WORLDS)
def test_packets_pass_as_policies_say(lab: Lab, world: str, objects: list[Pod | Namespace]) -> None:
    compare(lab, world, objects)


@pytest.mark.parametrize("lab", ["legacy"], indirect=True, scope="module")
@pytest.mark.parametrize("world", SOME)
def test_packets_pass_in_the_other_variant(lab: Lab, world: str, objects: list[Pod | Namespace]) -> None:
    compare(lab, world, objects)


def compare(lab: Lab, world: str, objects: list[Pod | Namespace]) -> None:
    """Packets with what policies say."""
    text = "---\n".join(policy(one, name=f"p{number}") for number, one in enumerate(WORLDS[world]))
    lab.apply(text)
    try:
        known = resolved(Snapshot.of([*load([("f.yaml", text)], whole=False).objects, *objects]))
        pods = list(known.pods.values())
        asked = [(source, target, port) for source in pods for target in pods for port in PORTS if source is not target]
        with ThreadPoolExecutor(8) as threads:
            seen = threads.map(
                lambda one: passes(f"{lab.name}.{'.'.join(one[0].key or ())}", one[1].address(4), *one[2]), asked
            )
            wrong = [
                (source.name, target.name, port, answered)
                for (source, target, port), answered in zip(asked, seen, strict=True)
                if answered != allowed(known, source, target, port).allowed
            ]
        assert not wrong
    finally:
        lab.run("delete", "-f", "-", stdin=text)


def test_without_a_policy_nothing_is_left(lab: Lab) -> None:
    lab.apply(policy("podSelector: {}"))
    assert "KUBE-POD-FW-" in rules(lab) and ipsets.held(lab.netns("node1"), PREFIXES)
    lab.run("delete", "networkpolicy", "-n", "x", "p")
    assert "KUBE-ROUTER-" not in rules(lab) and "KUBE-POD-FW-" not in rules(lab)
    assert ipsets.held(lab.netns("node1"), ("",)) == {}
    assert passes(lab.netns("x", "b"), address(lab, "a"), "TCP", 80)


def test_a_label_opens_at_once_and_changes_no_rule(lab: Lab) -> None:
    lab.apply(
        policy("{podSelector: {matchLabels: {pod: a}}, ingress: [{from: [{podSelector: {matchLabels: {in: q}}}]}]}")
    )
    try:
        before = rules(lab)
        assert not passes(lab.netns("x", "b"), address(lab, "a"), "TCP", 80)
        pod = next(one for one in yaml.safe_load_all(manifests()) if one["metadata"]["name"] == "b")
        pod["metadata"]["labels"]["in"] = "q"
        lab.apply(yaml.safe_dump(pod))
        assert passes(lab.netns("x", "b"), address(lab, "a"), "TCP", 80)
        assert rules(lab) == before
    finally:
        lab.run("delete", "networkpolicy", "-n", "x", "p")


@pytest.mark.parametrize("left", [frozenset(), frozenset({"192.0.2.7"})], ids=["empty", "exchanged"])
def test_a_set_that_somebody_changes_is_mended(lab: Lab, left: frozenset[str]) -> None:
    """Nobody mends it before it is seen that it is broken: the daemon stands still until then."""
    lab.apply(
        policy("{podSelector: {matchLabels: {pod: a}}, ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]}")
    )
    try:
        node = lab.netns("node1")
        held, target, daemon = ipsets.held(node, PREFIXES), address(lab, "a"), lab.pids()["daemon"]
        os.kill(daemon, signal.SIGSTOP)
        try:
            ipsets.bring(node, [msgspec.structs.replace(one, entries=left) for one in held.values()], held)
            assert not passes(lab.netns("x", "b"), target, "TCP", 80)
        finally:
            os.kill(daemon, signal.SIGCONT)
        eventually(lambda: ipsets.held(node, PREFIXES) == held)
        assert passes(lab.netns("x", "b"), target, "TCP", 80)
    finally:
        lab.run("delete", "networkpolicy", "-n", "x", "p")


def rules(lab: Lab) -> str:
    """Of node1, without counters."""
    said = lab.shell("node1", "iptables-save") + lab.shell("node1", "iptables-legacy-save")
    return "\n".join(line for line in said.splitlines() if line.startswith(("-A", "-N")))


def address(lab: Lab, pod: str) -> str:
    return str(lab.get("pod", pod, "x")["status"]["podIP"])
