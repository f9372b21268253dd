"""Which connections that are there go on when policies change, on one node."""

from __future__ import annotations

import pytest

from k8snetlab.api.core import Node, NodeSpec
from k8snetlab.api.load import load
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cli.policy_world import of_files
from k8snetlab.policies.established import Judge
from k8snetlab.policies.resolve import resolved

WORLD = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {nodeName: node1, containers: [{name: c}]}, status: {podIP: 10.244.1.2}}
- {apiVersion: v1, kind: Pod, metadata: {name: far, labels: {app: far}}, spec: {nodeName: node2, containers: [{name: c}]}, status: {podIP: 10.244.2.2}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: p}
  spec: {podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{ports: [{port: 80}]}], egress: [{to: [{podSelector: {}}]}]}
"""  # noqa: E501


@pytest.fixture(scope="module")
def judge() -> Judge:
    snapshot: Snapshot = of_files(load([("w.yaml", WORLD)], whole=False))
    node = Node(metadata=ObjectMeta(name="node1"), spec=NodeSpec(podCIDRs=("10.244.1.0/24",)))
    return Judge(resolved(snapshot), node)


@pytest.mark.parametrize(
    ("flow", "allows"),
    [
        (("10.244.2.2", "10.244.1.2", "TCP", 80), True),
        (("10.244.2.2", "10.244.1.2", "TCP", 81), False),
        (("10.244.2.2", "10.244.1.2", "UDP", 80), False),
        (("10.244.1.2", "10.244.2.2", "TCP", 81), True),  # what comes in there is for the other node to judge
        (("10.244.1.2", "203.0.113.9", "TCP", 80), False),
        (("10.244.1.1", "10.244.1.2", "TCP", 9), True),  # the pod's own node: cni0's address
        (("10.244.1.0", "10.244.1.2", "TCP", 9), True),
        (("203.0.113.9", "203.0.113.8", "TCP", 9), True),  # not of a pod
        (("203.0.113.9", "10.244.2.2", "TCP", 9), True),  # of a pod of another node
    ],
)
def test_a_node_judges_its_own_pods_only(judge: Judge, flow: tuple[str, str, str, int], allows: bool) -> None:
    assert judge.allows(*flow) == allows
