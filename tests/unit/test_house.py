"""The rules of the house, kept by the same run as every other test."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
from repository import ROOT

BIN = Path(sys.executable).parent


@pytest.mark.slow
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


def test_a_face_names_what_is_imported_from_outside_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from tools.faces import FacesContract

    for name, text in {
        "house/__init__.py": "",
        "house/low/__init__.py": '__all__ = ["absent", "shown", "unused"]',
        "house/low/shown.py": "from house.low import inner",
        "house/low/unused.py": "",
        "house/low/inner.py": "",
        "house/high.py": "from house.low import inner, shown",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    graph = grimp.build_graph("house", cache_dir=None)
    check = FacesContract("faces", {}, {"root": "house"}).check(graph, verbose=False)
    assert check.metadata["problems"] == [
        "house.low does not show inner, imported by house.high: its __all__ must name it",
        "house.low shows unused, imported by nobody outside: take it from its __all__",
        "house.low shows absent, which is not there",
    ]


def test_no_room_is_a_drawer_for_odds_and_ends() -> None:
    names = {path.stem for path in (ROOT / "k8snetlab").rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


_CHAIN = re.compile(r"(?:(?:-j|nat|filter) )?(?:KUBE|FLANNEL|CNI)-[A-Z-]*(?:{})?|.*-j (?:KUBE|FLANNEL|CNI)-.*")
_MARK = re.compile(r".*\b0x0*[248]000\b.*")
_DEVICE = re.compile(r"cni0|eth0|underlay0|flannel(-v6)?\.(\d+|{})")


def test_chains_marks_and_devices_are_written_once_in_names() -> None:
    literals = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in (ROOT / "k8snetlab").rglob("*.py")
        if path != ROOT / "k8snetlab/dataplane/names.py"
        for line, text in _literals(path)
        if any(pattern.fullmatch(text) for pattern in (_CHAIN, _MARK, _DEVICE))
    ]
    assert not literals, "import these from dataplane.names:\n" + "\n".join(literals)


def _literals(path: Path) -> list[tuple[int, str]]:
    """Line and text of every string that is no docstring; an f-string has {} for what it fills in."""
    tree = ast.parse(path.read_text())
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inner = {id(part) for node in whole for part in node.values}
    inner |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = [(n.lineno, "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in n.values)) for n in whole]
    return found + [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner
    ]


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
