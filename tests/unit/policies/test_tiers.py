"""ClusterNetworkPolicies in words: what decides, in which order, which line says so, and what is surprising."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from k8snetlab.api.core import Node
from k8snetlab.api.load import load
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cli.main import app_of
from k8snetlab.policies.lint import lint
from k8snetlab.policies.resolve import Resolver, resolved
from k8snetlab.policies.verdict import allowed
from k8snetlab.policies.world import world

WORLD = """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: db, labels: {app: db}}, spec: {containers: [{name: c}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: other}, spec: {containers: [{name: c}]}}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 10
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}}
  ingress:
  - {action: Accept, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}]}
  - {action: Deny, from: [{namespaces: {}}]}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: last}
spec:
  tier: Baseline
  priority: 0
  subject: {namespaces: {}}
  egress:
  - {action: Deny, to: [{nodes: {matchLabels: {old: "yes"}}}, {networks: [203.0.113.0/24]}]}
"""  # noqa: E501


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "world.yaml"
    path.write_text(WORLD)
    return path


def said(file: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app_of(["policy"]), ["policy", *words, "-f", str(file)])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def test_why_names_the_rule_that_denies_and_what_would_allow(file: Path) -> None:
    text = said(file, "why", "other", "db:5432", code=1)
    assert "in: denied by ClusterNetworkPolicy guard: " in text and "world.yaml:17" in text
    assert "ingress: [{action: Accept, from: [{pods: {namespaceSelector: {matchLabels:" in text
    assert "protocols: [{tcp: {destinationPort: {number: 5432}}}]}]" in text
    assert "in: allowed by guard: " in said(file, "why", "web", "db:5432")
    assert "out: denied by ClusterNetworkPolicy last" in said(file, "why", "web", "203.0.113.9:443", code=1)
    assert 'networks: ["203.0.113.9/32"]' in said(file, "why", "web", "203.0.113.9:443", code=1)


def test_explain_says_the_tiers_in_the_order_in_which_they_are_asked(file: Path) -> None:
    text = said(file, "explain", "db")
    first, accept, deny, rest = (
        text.index(words)
        for words in (
            "what may come into default/db tier Admin says first",
            "Accept from default/web, at every port (guard, ",
            "Deny from default/db, default/other, default/web, at every port (guard, ",
            "everything else may come into default/db",
        )
    )
    assert first < accept < deny < rest
    assert "what may go out of default/db tier Baseline says, as no NetworkPolicy does" in text
    found: Any = json.loads(
        CliRunner().invoke(app_of(["policy"]), ["policy", "explain", "db", "-f", str(file), "-o", "json"]).stdout
    )
    assert [(one["tier"], one["action"]) for one in found["ingress"]["rules"]] == [
        ("Admin", "Accept"),
        ("Admin", "Deny"),
    ]
    assert found["ingress"]["isolated"] is False


def test_nodes_are_their_addresses_and_follow_their_labels() -> None:
    from k8snetlab.api.core import NodeAddress, NodeStatus

    def node(**labels: str) -> Node:
        status = NodeStatus(addresses=(NodeAddress("InternalIP", "192.168.0.21"),))
        return Node(metadata=ObjectMeta(name="node1", labels=labels), status=status)

    before = Snapshot.of([*load([("w.yaml", WORLD)], whole=False).objects, node()])
    resolver = Resolver()
    for snapshot, passes in ((before, True), (before.changed([(Node, ("", "node1"), node(old="yes"))], 2), False)):
        found, places = resolver.update(snapshot), world(snapshot)
        verdict = allowed(found, places.pod("web"), places.end("node1"), ("TCP", 22))
        assert verdict.allowed == passes, verdict


def test_lint_names_what_surprises_of_clusters_policies() -> None:
    text = WORLD.replace("tier: Baseline\n  priority: 0", "tier: Admin\n  priority: 10").replace(
        "- {action: Accept, from", "- {action: Accept, protocols: [{destinationNamedPort: nosuch}], from"
    )
    text = text.replace(", {networks: [203.0.113.0/24]}", "")
    snapshot = Snapshot.of(load([("w.yaml", text)], whole=False).objects)
    found = lint(snapshot, resolved(snapshot), lambda key, path: f"{key[1]}:{path[-1]}")
    assert [(one.policy, one.kind) for one in found.surprises] == [
        ("guard", "unknown-port-name"),
        ("last", "peer-matches-nothing"),
        ("last", "same-priority"),
    ]
