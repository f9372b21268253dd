"""The lines of a policy's fields, kept with the object."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.api.lines import LINES, LONGEST, line
from k8snetlab.api.load import load
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.networking import NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicySpec
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.admitted import admit_apply

TEXT = """apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: p}
  spec:
    podSelector: {}
    ingress:
    - from:
      - podSelector: {}
      ports: [{port: 80}]
"""
PEER = ("spec", "ingress", 0, "from", 0)


def loaded(text: str = TEXT) -> Object:
    return load([("p.yaml", text)]).objects[0]


def test_a_field_has_its_line_and_one_that_was_not_written_that_around_it() -> None:
    policy = loaded()
    assert line(policy, PEER) == "p.yaml:11"
    assert line(policy, ("spec", "ingress", 0, "ports", 0, "port")) == "p.yaml:12"
    assert line(policy, ("spec", "policyTypes")) == "p.yaml:7"


def test_a_spec_that_was_changed_since_has_no_lines() -> None:
    policy = loaded()
    assert isinstance(policy, NetworkPolicy)
    spec = NetworkPolicySpec(ingress=(*policy.spec.ingress, NetworkPolicyIngressRule()))
    assert line(replace(policy, spec=spec), PEER) == ""


def test_an_annotation_that_somebody_wrote_is_no_line() -> None:
    policy = loaded()
    mine = policy.metadata.annotations[LINES].split(" ")[0]
    digits = (f"{mine} {'9' * 5000}=3", f"{mine} spec=\u0663")
    for said in ("", "x", f"{mine} spec", f"{mine} spec=a\x1b[0m", f"{mine} =3", "9" * 9, *digits):
        held = {**policy.metadata.annotations, LINES: said}
        assert line(replace(policy, metadata=replace(policy.metadata, annotations=held)), PEER) == ""


def test_of_a_policy_with_very_many_fields_the_deepest_have_the_line_of_what_is_around_them() -> None:
    peers = "\n".join("      - podSelector: {}" for _ in range(3000))
    policy = loaded(TEXT.replace("      - podSelector: {}", peers))
    assert line(policy, ("spec", "ingress", 0, "from", 2000)) == "p.yaml:10"
    assert len(policy.metadata.annotations[LINES]) < LONGEST


def test_kinds_whose_lines_nobody_asks_for_keep_none() -> None:
    pod = loaded("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c}]}\n")
    assert LINES not in pod.metadata.annotations


def test_a_manifest_in_which_lines_have_moved_brings_them_along() -> None:
    old = admit_apply(loaded(), loaded(), Snapshot.of([]))
    assert admit_apply(loaded(), old, Snapshot.of([])) is old
    moved = admit_apply(loaded("# new\n" + TEXT), old, Snapshot.of([]))
    assert line(moved, PEER) == "p.yaml:12" and moved.source == "p.yaml:5"
    by_api = replace(loaded(), metadata=ObjectMeta(name="p", namespace="default"))
    assert line(admit_apply(by_api, moved, Snapshot.of([])), PEER) == "p.yaml:12"
