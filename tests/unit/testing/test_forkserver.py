"""A verb run by the process that forks is what a command line of its own would be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from k8snetlab.testing import eventually, forkserver


@pytest.fixture(autouse=True, scope="module")
def ended() -> Iterator[None]:
    yield
    forkserver.close()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "K8SNETLAB_RUN": str(tmp_path), "K8SNETLAB_LAB": "nobodys"}


def alone(words: tuple[str, ...], environment: dict[str, str], stdin: str = "") -> tuple[int, str, str]:
    command = [sys.executable, "-m", "k8snetlab", *words]
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def forked(words: tuple[str, ...], environment: dict[str, str], stdin: str = "") -> tuple[int, str, str]:
    done = forkserver.run(words, environment, stdin=stdin, timeout=100)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("render", "-f", "two-nodes", "--node", "node1"),
        ("status",),
        ("status", "--nothing"),
        ("nothing",),
    ],
    ids=" ".join,
)
def test_a_forked_verb_says_and_ends_as_one_of_its_own(words: tuple[str, ...], environment: dict[str, str]) -> None:
    assert forked(words, environment) == alone(words, environment)


def test_a_forked_verb_reads_what_is_piped_into_it(environment: dict[str, str]) -> None:
    lab = "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: piped}, spec: {nodes: 1}}\n"
    words, text = ("render", "-f", "-", "--node", "node1"), lab + "# more than a pipe holds\n" * 20_000
    code, out, _ = forked(words, environment, text)
    assert (code, "piped.node1" in out) == (0, True)
    assert forked(words, environment, "") == alone(words, environment, "")


def test_forked_verbs_at_once_have_their_own_environment(environment: dict[str, str]) -> None:
    names = [f"lab-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as several:
        said = several.map(lambda name: forked(("status",), environment | {"K8SNETLAB_LAB": name})[2], names)
    for name, text in zip(names, said, strict=True):
        assert [other for other in names if other in text] == [name]


def test_a_forked_verb_that_takes_too_long_is_killed(environment: dict[str, str], tmp_path: Path) -> None:
    """It opens a pipe that nobody writes into."""
    os.mkfifo(tmp_path / "lab.yaml")
    forkserver.close()
    others = set(children("self"))
    with pytest.raises(subprocess.TimeoutExpired):
        forkserver.run(("render", "-f", str(tmp_path / "lab.yaml"), "--node", "node1"), environment, timeout=0.5)
    (server,) = set(children("self")) - others
    eventually(lambda: children(server) == [])
    assert forked(("--version",), environment)[0] == 0


def test_close_leaves_no_process_and_the_next_verb_finds_another(environment: dict[str, str]) -> None:
    forkserver.close()
    others = set(children("self"))
    forked(("--version",), environment)
    (one,) = set(children("self")) - others
    forkserver.close()
    assert set(children("self")) == others
    forked(("--version",), environment)
    assert set(children("self")) - others != {one}


def children(process: str) -> list[str]:
    return [child for file in Path("/proc", process).glob("task/*/children") for child in file.read_text().split()]
