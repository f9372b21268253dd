"""What can be wrong with a Guest, in a manifest and in the store."""

from __future__ import annotations

import msgspec
import pytest

from k8snetlab.api.guest import Guest
from k8snetlab.api.load import load
from k8snetlab.api.stored import problem_of
from k8snetlab.errors import ManifestError

LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nmetadata: {name: x}\nspec: {nodes: 1}\n---\n"
GUEST = "apiVersion: k8snetlab/v1alpha1\nkind: Guest\nmetadata: {name: kp}\nspec: %s\n"


def refused(spec: str, name: str = "kp") -> list[str]:
    with pytest.raises(ManifestError) as error:
        load([("f.yaml", LAB + (GUEST % spec).replace("kp", name, 1))])
    return str(error.value).splitlines()


def test_a_guest_of_a_manifest_has_its_defaults() -> None:
    [guest] = load([("f.yaml", GUEST % "{nodeName: node1, command: [kube-proxy]}")]).objects
    assert isinstance(guest, Guest) and not guest.namespaced
    assert (guest.spec.workingDir, guest.pod) == ("/", "")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{nodeName: node1}", "spec.command: Required value"),
        ("{nodeName: node1, command: ['']}", "spec.command: Required value"),
        ("{command: [a]}", "spec: takes nodeName or podName, one of them"),
        ("{nodeName: node1, podName: p, command: [a]}", "spec: takes nodeName or podName, one of them"),
        ("{podName: ../p, command: [a]}", "spec.podName:"),
        ("{podName: p, namespace: a.b, command: [a]}", "spec.namespace:"),
        ("{nodeName: node1, command: [a], workingDir: here}", "is no absolute path"),
        ('{nodeName: node1, command: ["a\\0b"]}', "has a NUL in it"),
        ("{nodeName: node1, command: [a], env: {'A=B': c}}", "cannot name a variable"),
        ("{nodeName: node1, command: [a], env: {A: 1}}", "spec.env.A: expected a string"),
        ("{nodeName: node1, command: [a], comand: [b]}", 'unknown field "spec.comand"'),
        ("{nodeName: node1, command: a}", "spec.command: expected a list"),
    ],
)
def test_a_wrong_field_is_refused_with_its_line(spec: str, said: str) -> None:
    found = refused(spec)
    assert any(said in line and line.startswith("f.yaml:") for line in found), found


def test_a_name_that_cannot_be_a_directorys_is_refused() -> None:
    assert "no DNS label" in refused("{nodeName: node1, command: [a]}", "k.p")[0]


@pytest.mark.parametrize("name", ["../x", "a.b", "a/b", ""])
def test_what_no_server_let_into_the_store_is_passed_over(name: str) -> None:
    guest = msgspec.convert({"metadata": {"name": name}, "spec": {"command": ["a"], "nodeName": "n"}}, Guest)
    assert problem_of(guest)
