"""The rules of the house, kept by the same run as every other test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("mypy",),
        ("lint-imports",),
    ],
    ids=" ".join,
)
@pytest.mark.timeout(900)
def test_the_tool_is_content(command: tuple[str, ...]) -> None:
    tool, *arguments = command
    run = subprocess.run([BIN / tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_room_is_a_drawer_for_odds_and_ends() -> None:
    names = {path.stem for path in (ROOT / "k8snetlab").rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_locks_hold_every_dependency() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime, everything = ((ROOT / f"requirements{part}.lock").read_text() for part in ("", "-dev"))
    for requirement in project["dependencies"]:
        assert f"\n{_name(requirement)}==" in "\n" + runtime
    for requirement in project["dependencies"] + project["optional-dependencies"]["dev"]:
        assert f"\n{_name(requirement)}==" in "\n" + everything


def _name(requirement: str) -> str:
    return requirement.split(">")[0].strip().lower()
