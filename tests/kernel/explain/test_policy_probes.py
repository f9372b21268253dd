"""What policies say of pods, Services and NodePorts is what real packets do, from pods, nodes and outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from k8snetlab.messages.probe import ProbeResult
from k8snetlab.render.netpol import names
from k8snetlab.testing import Lab, running

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 3, dns: {enabled: false}}
"""
PODS = {"web1": ("node1", "web"), "web2": ("node2", "web"), "friend": ("node1", "friend"), "far": ("node3", "far")}
SERVICE = """---
apiVersion: v1
kind: Service
metadata: {name: %s}
spec:
  type: NodePort
  externalTrafficPolicy: %s
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: %d}]
"""
WEB, FRIEND = "podSelector: {matchLabels: {app: web}}", "podSelector: {matchLabels: {app: friend}}"
BLOCK = WEB + ", ingress: [{from: [{ipBlock: {cidr: %s}}]}]"
ASKS = FRIEND + ", policyTypes: [Egress], egress: [%s]"
WORLDS = {
    "web takes friend only": [WEB + f", ingress: [{{from: [{{{FRIEND}}}], ports: [{{port: http}}]}}]"],
    "web takes outside, friend asks node2": [
        BLOCK % "203.0.113.0/24",
        ASKS % "{to: [{ipBlock: {cidr: 192.168.0.22/32}}]}",
    ],
    "web takes node1's tunnel, friend asks web": [BLOCK % "10.244.1.0/32", ASKS % f"{{to: [{{{WEB}}}]}}"],
    "web takes node1's own address, friend asks two ports": [
        BLOCK % "192.168.0.21/32",
        ASKS % "{ports: [{port: 8080}, {port: 30081}]}",
    ],
    "web asks nobody": [WEB + ", policyTypes: [Egress]"],
}


def manifest() -> str:
    found = LAB
    for name, (node, app) in PODS.items():
        found += (
            f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {app}}}}}\nspec: {{nodeName: "
            f"{node}, containers: [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}\n"
        )
    found += "---\napiVersion: v1\nkind: Pod\nmetadata: {name: host, labels: {app: web2}}\nspec: {nodeName: node3, "
    found += "hostNetwork: true, containers: [{name: c, ports: [{containerPort: 9090}]}]}\n"
    return found + SERVICE % ("web", "Cluster", 30080) + SERVICE % ("local", "Local", 30081)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("policed")
    (directory / "lab.yaml").write_text(manifest())
    with running(directory) as one:
        for node in ("node1", "node2", "node3"):
            one.shell(node, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")  # each REJECT is said, so none is waited for
        yield one


@pytest.mark.parametrize("world", WORLDS)
def test_probes_end_as_policies_say_by_pods_services_and_node_ports(lab: Lab, world: str) -> None:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    lab.run("delete", "networkpolicy", "--all", code=None)
    for number, spec in enumerate(WORLDS[world]):
        lab.apply(yaml.safe_dump({**kind, "metadata": {"name": f"p{number}"}, "spec": yaml.safe_load(f"{{{spec}}}")}))
    results = lab.probe_all("--protocol", "tcp")
    wrong = [f"{r.source} {r.target} {r.address}:{r.port} {r.expected}: {r.seen} {r.why}" for r in results if not r.ok]
    assert wrong == []
    closed = [r for r in results if r.expected == "closed" and "NetworkPolicy" in r.why]
    assert closed and all(r.seen != "answered" for r in closed)
    unsaid = {(r.source, r.target) for r in results if r.expected == "either"}
    assert all("@" in target or target in ("web", "local") for _, target in unsaid), unsaid
    agrees(lab, results)
    answer = lab.diagnose("--predict-only")  # what is meant is no fault, by whatever way it is refused
    assert answer.findings == () and answer.closed


def agrees(lab: Lab, results: Sequence[ProbeResult]) -> None:
    """`policy matrix` of the running lab says the same of what goes to pods."""
    asked = lab.json("policy", "matrix", "--port", "8080/TCP", "--places", "-o", "json")["checks"]
    matrix = {(one["from"], one["to"]): one["allowed"] for one in asked}
    seen = {
        (f"default/{r.source}" if r.source in PODS or r.source == "host" else r.source, f"default/{r.target}"): r.seen
        for r in results
        if r.kind == "pod" and r.port == 8080 and r.source != "outside"  # which knows no pod's address
    }
    assert len(seen) == 8 * len(PODS) and {pair: matrix[pair] for pair in seen} == {
        pair: what == "answered" for pair, what in seen.items()
    }


def test_why_agrees_with_the_packet_and_names_the_line(lab: Lab, tmp_path: Path) -> None:
    lab.run("delete", "networkpolicy", "--all", code=None)
    file = tmp_path / "policy.yaml"
    file.write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n"
        "  podSelector: {matchLabels: {app: web}}\n"
        "  ingress:\n  - from:\n    - podSelector: {matchLabels: {app: friend}}\n"
    )
    lab.run("apply", "-f", str(file))
    for source in ("friend", "far", "outside"):
        for target in ("web1:8080", "web.default.svc.cluster.local:80", "node1:30080", "node3:30080"):
            if source == "outside" and not target.startswith("node"):
                continue
            found = lab.json("policy", "why", source, target, code=None)
            port = target.partition(":")[2]
            seen = {lab.probe(source, target).reached for _ in range(3)}
            expected = {one["allowed"] for one in found.get("endpoints", [found])}
            assert seen <= expected, (source, target, found)
            assert found["port"] == int(port)
    allowed = lab.run("policy", "why", "friend", "web1:8080")
    assert f"{file}:8" in allowed
    assert f"from default/friend, at every port (default/p, {file}:7)" in lab.run("policy", "explain", "web1")
    assert lab.run("policy", "lint") == "nothing surprising in 1 policy\n"
    denied = lab.run("trace", "far", "web1:8080", "-v", code=None)
    assert f"NetworkPolicy default/p, {file}:6" in denied, "where its rules for ingress begin"
    passed = lab.run("trace", "friend", "web1:8080", "-v")
    assert f"NetworkPolicy default/p, {file}:7" in passed
    friend, far, web = (lab.address_of(f"pod/{name}") for name in ("friend", "far", "web1"))
    own = ("default", "p", "ingress")
    peers, selected = names.peer_set(*own, 0, "pod", "ipv4"), names.target_set(*own, "ipv4")
    assert f"set         {friend} is in {peers} and {web} is in {selected}" in passed
    assert f"set         {far} is not in {peers}: {names.policy_chain(*own, 'ipv4')}, rule 1, does not match" in denied
