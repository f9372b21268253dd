"""Where manifests are looked for."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from k8snetlab.errors import InputError
from k8snetlab.state import scenarios


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two scenarios that ship, and an empty current directory."""
    root, here = tmp_path / "shipped", tmp_path / "here"
    here.mkdir()
    for name in ("business-manager", "two-nodes"):
        (root / name).mkdir(parents=True)
        (root / name / "lab.yaml").write_text(f"# {name}\n")
    (root / "two-nodes" / "b.yml").write_text("b\n")
    (root / "two-nodes" / "README.md").write_text("not a manifest\n")
    (root / "two-nodes" / "deeper").mkdir()
    (root / "two-nodes" / "deeper" / "c.yaml").write_text("c\n")
    monkeypatch.chdir(here)
    monkeypatch.setattr(scenarios, "directory", lambda: root)
    return root


def test_a_scenarios_name_finds_its_manifests_in_order() -> None:
    assert scenarios.names() == ["business-manager", "two-nodes"]
    assert scenarios.find("two-nodes") == [("two-nodes/b.yml", "b\n"), ("two-nodes/lab.yaml", "# two-nodes\n")]


def test_nothing_named_is_the_first_scenario_or_the_lab_here() -> None:
    assert scenarios.find() == [("business-manager/lab.yaml", "# business-manager\n")]
    Path("lab.yaml").write_text("mine\n")
    assert scenarios.find() == [("lab.yaml", "mine\n")]


def test_a_path_goes_before_a_scenario_of_that_name() -> None:
    Path("two-nodes").mkdir()
    Path("two-nodes/x.json").write_text("{}")
    assert scenarios.find("two-nodes") == [("two-nodes/x.json", "{}")]
    assert scenarios.find("two-nodes/x.json") == [("two-nodes/x.json", "{}")]


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("kind: Pod\n"))
    assert scenarios.read("-") == [("stdin", "kind: Pod\n")]


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(InputError) as near:
        scenarios.find("two-node")
    assert near.value.hint == "did you mean two-nodes?"
    with pytest.raises(InputError, match="no such file"):
        scenarios.read("gone.yaml")
    Path("empty").mkdir()
    with pytest.raises(InputError, match="no manifest"):
        scenarios.read("empty")
    Path("latin.yaml").write_bytes(b"name: M\xfcller\n")
    with pytest.raises(InputError, match=r"latin\.yaml: not UTF-8"):
        scenarios.read("latin.yaml")
