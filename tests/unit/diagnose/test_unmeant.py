"""Policies that cannot mean what they say are findings; what is closed on purpose is none."""

from __future__ import annotations

import pytest

from k8snetlab.diagnose.unmeant import unmeant
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment

DNS = """
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Pod
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {containers: [{name: c, ports: [{containerPort: 53, protocol: UDP}]}]}
"""
POLICY = """
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec:
"""


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        ("  podSelector: {}\n  policyTypes: [Egress]\n  egress: [{to: [{podSelector: {}}]}]", ["dns"]),
        (
            "  podSelector: {}\n  policyTypes: [Egress]\n  egress: [{to: [{podSelector: {}}], ports: [{port: 53}]}]",
            ["dns"],
        ),
        ("  podSelector: {}\n  policyTypes: [Egress]", []),
        ("  podSelector: {}\n  policyTypes: [Egress]\n  egress: [{ports: [{port: 53, protocol: UDP}]}]", []),
        ("  podSelector: {}\n  ingress: [{ports: [{port: htpp}]}]", ["port"]),
        ("  podSelector: {}\n  ingress: [{ports: [{port: 8080}]}]", []),
        ("  podSelector: {matchLabels: {app: none}}\n  ingress: [{ports: [{port: htpp}]}]", []),
    ],
)
def test_a_policy_that_forgets_names_or_allows_nobodys_port_is_a_finding(spec: str, faults: list[str]) -> None:
    snapshot = FakeCluster(LAB % 2 + deployment("web", 2) + DNS + POLICY + spec).run().snapshot
    found = [*unmeant(snapshot)]
    assert [(f.kind, f.fault, f.object) for f in found] == [("networkpolicy", fault, "default/p") for fault in faults]
