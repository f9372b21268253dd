"""Calico's own policies in words, what of them is kept when something changes, and what is surprising in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from typer.testing import CliRunner

from k8snetlab.api.calico_policy import CalicoNetworkPolicy
from k8snetlab.api.core import Pod, PodIP
from k8snetlab.api.load import load
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cli.main import app_of
from k8snetlab.explain.calicoctl_policies import number, resources, table
from k8snetlab.policies.resolve import Resolver, resolved

WORLD = """\
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: lab}
spec: {nodes: 1, network: {backend: calico}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: db, labels: {app: db}}, spec: {containers: [{name: c, ports: [{containerPort: 3306}]}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: other}, spec: {containers: [{name: c}]}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: guard}
spec:
  order: 10
  selector: app == 'db'
  ingress:
  - {action: Log}
  - {action: Deny, protocol: TCP, source: {selector: "app == 'web'"}, destination: {ports: ["3000:3100"]}}
  - {action: Pass, source: {selector: "app == 'web'"}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: last}
spec:
  selector: all()
  types: [Ingress]
  ingress:
  - {action: Allow, source: {nets: [203.0.113.0/24], notNets: [203.0.113.9/32]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: guard}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}
"""  # noqa: E501


MORE = """\
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: named}
spec:
  selector: "!has(app) || app == 'web'"
  ingress: [{action: Allow, source: {serviceAccounts: {names: [robot]}}, destination: {ports: [http]}}]
  egress: [{action: Deny, protocol: TCP, destination: {selector: app == 'web', ports: [http]}}]
"""
CARRIED = Snapshot.of(load([("world.yaml", WORLD + MORE)]).objects)
Change = Callable[[Pod], Pod]


def _labelled(labels: Mapping[str, str]) -> Change:
    return lambda pod: replace(pod, metadata=replace(pod.metadata, labels=labels))


CHANGES: tuple[Change, ...] = (
    *(_labelled(labels) for labels in ({}, {"app": "web"}, {"app": "db", "n": "1"})),
    *(lambda pod, name=name: replace(pod, spec=replace(pod.spec, serviceAccountName=name)) for name in ("robot", "")),
    lambda pod: replace(pod, status=replace(pod.status, podIP="10.1.2.3", podIPs=(PodIP("10.1.2.3"),))),
    lambda pod: replace(pod, spec=replace(pod.spec, hostNetwork=not pod.spec.hostNetwork)),
    lambda pod: replace(pod, status=replace(pod.status, phase="Succeeded")),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "world.yaml"
    path.write_text(WORLD)
    return path


def said(file: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app_of(["policy"]), ["policy", *words, "-f", str(file)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


def snapshot() -> Snapshot:
    return Snapshot.of(load([("world.yaml", WORLD)]).objects)


def test_why_names_the_rule_that_decides(file: Path) -> None:
    denied = said(file, "why", "web", "db:3050", code=1)
    assert "in: denied by Calico policy np/default/guard: " in denied and "world.yaml:21" in denied
    assert "ingress: [{action: Allow, protocol: TCP, source: {namespaceSelector:" in denied
    passed = said(file, "why", "web", "db:3306")
    assert "in: allowed by Calico's profiles: np/default/guard passes it to them: " in passed
    assert "world.yaml:22" in passed
    nobody = said(file, "why", "other", "db:3306", code=1)
    assert "in: denied: no rule of np/default/guard, gnp/last allows it: " in nobody
    assert "in: allowed by gnp/last: " in said(file, "why", "203.0.113.7", "db:3306")
    said(file, "why", "203.0.113.9", "db:3306", code=1)


def test_why_tells_kinds_of_one_name_apart(file: Path) -> None:
    assert "in: allowed by default/guard: " in said(file, "why", "db", "web:80")
    assert "in: denied: no rule of default/guard, gnp/last allows it" in said(
        file, "why", "203.0.113.9", "web:80", code=1
    )


def test_what_is_wanted_would_let_it_pass(file: Path) -> None:
    found = json.loads(said(file, "why", "web", "db:3050", "-o", "json", code=1))
    assert found["ingress"]["why"] == "denied"
    wanted = found["ingress"]["wanted"]
    rules = file.read_text().replace("  ingress:\n  - {action: Log}\n", f"  {wanted.removesuffix(']')}]\n", 1)
    head, _, tail = rules.partition("  - {action: Deny, protocol: TCP, source")
    file.write_text(head + tail.partition("---")[1] + tail.partition("---")[2])
    said(file, "why", "web", "db:3050")


def test_explain_says_the_rules_in_their_order(file: Path) -> None:
    text = said(file, "explain", "db")
    assert "what may come into default/db the first rule that fits decides, of np/default/guard, gnp/last:" in text
    order = ["Log from anybody, outside the cluster too, at every port", "Deny from default/web, at TCP 3000-3100"]
    order += ["Pass from default/web, at every port"]
    order += ["Allow from addresses in 203.0.113.0/24, and of those addresses not in 203.0.113.9/32, at every port"]
    places = [text.index(one) for one in order]
    assert places == sorted(places)
    assert "nothing else may come into default/db; what is passed may, unless tier Baseline denies it" in text
    assert "everything may go out of default/db" in text
    found = json.loads(said(file, "explain", "web", "-o", "json"))
    assert [(one["policy"], one["action"], one["tier"]) for one in found["ingress"]["rules"]] == [
        ("default/guard", "Accept", "default"),
        ("gnp/last", "Allow", "default"),
    ]


def test_matrix_names_the_policies(file: Path) -> None:
    checks = json.loads(said(file, "matrix", "--port", "3050/TCP", "-o", "json"))["checks"]
    by = {(one["from"], one["to"]): (one["allowed"], one.get("ingressBy", [])) for one in checks}
    assert by["default/web", "default/db"] == (False, ["np/default/guard"])
    assert by["default/other", "default/db"] == (False, ["np/default/guard", "gnp/last"])
    assert by["default/db", "default/web"] == (True, ["default/guard"])


SURPRISING = """\
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: odd}
spec:
  selector: app == 'db'
  types: [Ingress]
  egress: [{action: Deny}]
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: "app == 'nobody'"}, destination: {ports: [nosuch]}}
  - {action: Deny, source: {nets: [10.96.0.0/16]}}
  - {action: Deny}
  - {action: Allow}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: idle}
spec: {selector: app == 'nobody'}
"""


def test_lint_names_what_surprises(file: Path) -> None:
    file.write_text(WORLD + SURPRISING)
    found = json.loads(said(file, "lint", "-o", "json", code=1))["surprises"]
    assert {(one["policy"], one["kind"], one["line"].rpartition(":")[2]) for one in found} == {
        ("np/default/idle", "selects-nothing", "54"),
        ("gnp/odd", "rules-without-type", "44"),
        ("gnp/odd", "peer-matches-nothing", "46"),
        ("gnp/odd", "unknown-port-name", "46"),
        ("gnp/odd", "service-address", "47"),
        ("gnp/odd", "never-asked", "49"),
    }


def test_what_has_not_changed_is_the_same_value() -> None:
    resolver, now = Resolver(), snapshot()
    before = resolver.update(now)
    assert resolver.update(now.changed([], now.revision + 1)) is before
    pod = now.all(Pod)["default", "other"]
    labelled = replace(pod, metadata=replace(pod.metadata, labels={"app": "web"}))
    after = resolver.update(now.changed([(Pod, pod.key, labelled)], now.revision + 1))
    kept = {key: policy is before.calico[key] for key, policy in after.calico.items()}
    assert kept == {("np/default", "guard"): False, ("gnp", "last"): True}
    fresh = resolved(now.changed([(Pod, pod.key, labelled)], now.revision + 1))
    assert after.calico["np/default", "guard"].ingress == fresh.calico["np/default", "guard"].ingress
    key = ("default", "guard")
    gone = resolver.update(now.changed([(CalicoNetworkPolicy, key, None)], now.revision + 2))
    assert list(gone.calico) == [("gnp", "last")]


@given(st.lists(st.tuples(st.sampled_from(("web", "db", "other")), st.sampled_from(CHANGES)), max_size=12))
@settings(max_examples=40, deadline=None)
def test_what_is_carried_on_is_what_would_be_found_anew(changes: list[tuple[str, Change]]) -> None:
    resolver, now = Resolver(), CARRIED
    for name, change in changes:
        pod = now.all(Pod)["default", name]
        now = now.changed([(Pod, pod.key, change(pod))], now.revision + 1)
        found, fresh = resolver.update(now).calico, resolved(now).calico
        assert list(found) == list(fresh)
        for key, policy in found.items():
            other = fresh[key]
            assert list(policy.selected.items()) == list(other.selected.items())
            assert (policy.ingress, policy.egress) == (other.ingress, other.egress)


def test_selectors_are_the_texts_that_felix_has() -> None:
    found = resolved(snapshot()).calico
    guard = found["np/default", "guard"]
    assert guard.selector == '(app == "db" && projectcalico.org/namespace == "default")'
    assert guard.ingress is not None and guard.ingress[2].source.selector is not None
    assert guard.ingress[2].source.selector.selector == '(projectcalico.org/namespace == "default" && app == "web")'
    assert guard.ingress[0].source.selector is None
    assert list(found) == [("np/default", "guard"), ("gnp", "last")]


def test_calicoctl_prints_policies_in_its_columns() -> None:
    policies = list(snapshot().all(CalicoNetworkPolicy).values())
    assert table(policies, "networkpolicy", wide=False, spaces=False) == "NAME    TIER      \nguard   default   \n"
    wide = table(policies, "networkpolicy", wide=True, spaces=True).splitlines()
    assert wide[0].split() == ["NAMESPACE", "NAME", "TIER", "ORDER", "SELECTOR"]
    assert wide[1].split() == ["default", "guard", "default", "10", "app", "==", "'db'"]
    listed = resources(policies, "networkpolicy")
    assert (listed["kind"], listed["items"][0]["spec"]["order"]) == ("NetworkPolicyList", 10)
    numbers: list[Any] = [None, 0, 100, 0.5, 1e6, 1234567.0, 1e21, 1e-5]
    assert [number(one) for one in numbers] == ["<nil>", "0", "100", "0.5", "1e+06", "1.234567e+06", "1e+21", "1e-05"]
