"""Calico's own policies: taken where Calico's network enforces them, and refused with their line everywhere else."""

from __future__ import annotations

import pytest

from k8snetlab.api.calico_policy import CalicoNetworkPolicy, GlobalNetworkPolicy
from k8snetlab.api.decoding import decode
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.api.networking import NetworkPolicy
from k8snetlab.api.scheme import BY_KIND, BY_NAME, encode, resource_for_key, store_key
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.validate import validate
from k8snetlab.errors import ManifestError

LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nmetadata: {name: lab}\nspec: {network: {backend: %s}}\n---\n"
KINDS = ("NetworkPolicy", "GlobalNetworkPolicy", "NetworkSet", "GlobalNetworkSet")


def _manifest(kind: str, spec: str = "{}", name: str = "a", version: str = "projectcalico.org/v3") -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def _problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as failure:
        load([("calico.yaml", text)])
    return tuple(failure.value.problems)


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_calico_enforces_is_refused_on_another_network(kind: str) -> None:
    (problem,) = _problems(LAB % "vxlan" + _manifest(kind))
    assert problem == (
        f"calico.yaml:7: kind: projectcalico.org/v3 {kind} is enforced by Calico's network alone "
        "(spec.network.backend: calico), and this lab's is vxlan"
    )
    _, taken = load([("calico.yaml", LAB % "calico" + _manifest(kind))]).objects
    assert ("projectcalico.org/v3", kind) == (taken.API_VERSION, taken.KIND)


@pytest.mark.parametrize("kind", KINDS)
def test_how_calico_stores_them_is_no_kind_that_is_ignored(kind: str) -> None:
    (problem,) = _problems(_manifest(kind, version="crd.projectcalico.org/v1"))
    assert problem.startswith(f"calico.yaml:2: kind: crd.projectcalico.org/v1 {kind} is not read here")
    assert "write that" in problem


def test_a_lab_that_gives_calicos_network_up_names_who_is_left() -> None:
    objects = load([("calico.yaml", LAB % "calico" + _manifest("NetworkPolicy"))]).objects
    stored = Snapshot.of(objects)
    lab = with_defaults(load([("lab.yaml", LAB % "vxlan")]).objects[0])
    assert isinstance(lab, Lab)
    (problem,) = (one for one in validate([lab], stored) if one.severity == "error")
    assert str(problem).startswith(
        "Lab lab: spec.network.backend: Calico's NetworkPolicy default/a is enforced by Calico's network"
    )


def test_two_kinds_of_one_name_are_told_apart() -> None:
    both = "---\n".join(
        (_manifest("NetworkPolicy"), _manifest("NetworkPolicy", "{podSelector: {}}", version=KUBERNETES))
    )
    loaded = load([("both.yaml", both)])
    calicos, ours = loaded.objects
    assert (type(calicos), type(ours)) == (CalicoNetworkPolicy, NetworkPolicy)
    assert (BY_KIND["NetworkPolicy"].type, BY_NAME["networkpolicies"].type) == (NetworkPolicy, NetworkPolicy)
    for one in (calicos, ours):
        found = resource_for_key(store_key(one))
        assert found is not None and found.type is type(one)
        assert decode(found.type, encode(one)) == one
    assert store_key(calicos) != store_key(ours)


KUBERNETES = "networking.k8s.io/v1"


def test_fields_of_the_kubernetes_kind_are_unknown_to_calicos() -> None:
    (problem,) = _problems(_manifest("NetworkPolicy", "{podSelector: {}}"))
    assert problem == 'calico.yaml:4: unknown field "spec.podSelector"; did you mean "selector"?'


def test_defaults_are_what_calico_fills_in() -> None:
    rules = (
        "{egress: [{action: Allow}]}",
        "{ingress: [{action: Allow}], egress: [{action: Deny}]}",
        "{types: [Egress]}",
        "{}",
    )
    found = [load([("a.yaml", _manifest("GlobalNetworkPolicy", one))]).objects[0] for one in rules]
    assert [one.spec.types for one in found if isinstance(one, GlobalNetworkPolicy)] == [
        ("Egress",),
        ("Ingress", "Egress"),
        ("Egress",),
        ("Ingress",),
    ]
    assert [one.spec.tier for one in found if isinstance(one, GlobalNetworkPolicy)] == ["default"] * 4
    assert found[0].metadata.labels == {"projectcalico.org/tier": "default"}
    assert all(with_defaults(one) == one for one in found)


def test_a_name_with_default_before_it_is_the_same_policy() -> None:
    text = "---\n".join(_manifest("NetworkPolicy", name=name) for name in ("web", "default.web", "default.other"))
    (problem,) = _problems(text)
    assert problem == (
        "calico.yaml:8: metadata.name: default.web is the same policy as Calico's NetworkPolicy default/web "
        "(calico.yaml:1): Calico drops default. before a name"
    )
