"""A lab's manifests under a name that is the test's own: each line stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.testing.manifests import named, renamed

LAB = """# mine
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata:
  name: mine   # of mine
spec: {nodes: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: mine}
"""


def test_the_name_of_the_lab_alone_is_replaced() -> None:
    assert named(LAB, "t123456") == LAB.replace("name: mine   # of", "name: t123456   # of")


@pytest.mark.parametrize(
    "text",
    ["kind: Lab\n", "kind: Lab\nmetadata: {name: [a]}\n", "- Lab\n", "", "kind: [", "kind: Lab\nmetadata: null\n"],
    ids=["no name", "a list as name", "a list", "empty", "no YAML", "no metadata"],
)
def test_what_has_no_name_of_a_lab_stays_as_it_is(text: str) -> None:
    assert named(text, "t123456") == text


def test_a_directory_whose_lab_has_a_name_is_copied(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "web.json").write_text("{}")
    with renamed(str(tmp_path), "t1") as found:
        assert sorted(file.name for file in Path(found).iterdir()) == ["lab.yaml", "web.json"]
        assert "name: t1 " in Path(found, "lab.yaml").read_text()
    assert not Path(found).exists()


def test_a_lab_without_a_name_is_taken_from_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("apiVersion: k8snetlab/v1alpha1\nkind: Lab\n")
    with renamed(str(tmp_path), "t1") as found:
        assert found == str(tmp_path)
