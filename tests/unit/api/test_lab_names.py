"""What a lab is called, as its files' text lets guess, beside what reading them says."""

from __future__ import annotations

import pytest

from k8snetlab.api import lab_names
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.state import scenarios

LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\n"


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("two-nodes/lab.yaml", LAB, "two-nodes"),
        ("lab.yaml", LAB, "lab"),
        ("a/lab.yaml", f"{LAB}metadata: {{name: mine}}\n", "mine"),
        ("a/lab.yaml", f"{LAB}metadata:\n  name: mine\n", "mine"),
        ("a/lab.yaml", f"kind: Pod\nmetadata: {{name: p}}\n---\n{LAB}", "a"),
        ("a/lab.yaml", f"{LAB}---\nkind: Pod\nmetadata: {{name: p}}\n", "a"),
        ("a/pods.yaml", "kind: Pod\nmetadata: {name: p}\n", "lab"),
    ],
)
def test_a_labs_name_is_seen_in_its_text(file: str, text: str, name: str) -> None:
    assert lab_names.likely([(file, text)]) == name


@pytest.mark.parametrize("scenario", [*scenarios.names(), *scenarios.lessons()])
def test_the_labs_that_ship_are_guessed_right(scenario: str) -> None:
    files = scenarios.find(scenario)
    named = [obj.name for obj in load(files).objects if isinstance(obj, Lab)]
    assert lab_names.likely(files) == (named[0] if named else lab_names.LAB)
