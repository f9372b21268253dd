"""Five releases of kubectl do what people do with kubectl, in a real lab: each has a namespace for each script.

releases/*.txt hold the commands: `$ COMMAND` in bash, then what its answer holds, a regular expression a line; `= CODE`
where it fails. `[1.28]` before a command: kubectl knows it from that release on.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clients
import pytest

from k8snetlab.testing import Lab

SCRIPTS = Path(__file__).parent / "releases"
CONFIG = "kubeconfig"
pytestmark = [pytest.mark.lab("business-manager", scope="module"), pytest.mark.timeout(900)]


class Home:
    """Where a release is at home: a directory with its kubeconfig and the files of SCRIPTS."""

    def __init__(self, program: str, release: tuple[int, ...], directory: Path, lab: Lab, namespace: str) -> None:
        self.release, self.directory, self.namespace = release, directory, namespace
        (directory / CONFIG).write_text(lab.run("kubeconfig"))
        for file in SCRIPTS.glob("*.yaml"):
            (directory / file.name).write_text(file.read_text())
        self._environment = {
            "PATH": f"{Path(program).parent}:{os.environ['PATH']}",
            "HOME": str(directory),
            "KUBECONFIG": str(directory / CONFIG),
            "LC_ALL": "C.UTF-8",
            "NS": namespace,
        }

    def asked(self, command: str) -> tuple[int, str]:
        """Its exit code, and all that it wrote."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout


@pytest.fixture
def homes(lab: Lab, script: str, kubectl_of: Callable[[str], str], tmp_path: Path) -> Iterator[list[Home]]:
    found = []
    for release in clients.RELEASES:
        directory = tmp_path / release
        directory.mkdir()
        namespace = f"r{release.replace('.', '-')}-{script}"
        home = Home(kubectl_of(release), number(release), directory, lab, namespace)
        code, said = home.asked(
            f"kubectl create ns {namespace} && kubectl config set-context --current --namespace={namespace}"
        )
        assert code == 0, said
        found.append(home)
    yield found
    found[-1].asked(f"kubectl delete ns --wait=false {' '.join(home.namespace for home in found)}")


def number(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def steps(text: str, release: tuple[int, ...]) -> Iterator[tuple[str, int, list[str]]]:
    """Each command that this release knows, its exit code, and the patterns of its answer."""
    for piece in re.split(r"^(?=(?:\[[\d.]+\] )?\$ )", text, flags=re.MULTILINE)[1:]:
        first, *lines = piece.splitlines()
        since, _, command = first.partition("$ ")
        if since and release < number(since.strip("[] ")):
            continue
        code = next((int(line[2:]) for line in lines if line.startswith("= ")), 0)
        yield command, code, [line.strip() for line in lines if line.startswith("  ")]


def wrong(home: Home, script: str) -> list[str]:
    found = []
    for command, code, patterns in steps((SCRIPTS / f"{script}.txt").read_text(), home.release):
        got, said = home.asked(command)
        missing = [pattern for pattern in patterns if not re.search(pattern, said, re.MULTILINE)]
        if got != code or missing:
            found.append(f"{home.namespace} $ {command}\nexit code {got}, not {code}; missing: {missing}\n{said}")
    return found


@pytest.mark.parametrize("script", sorted(file.stem for file in SCRIPTS.glob("*.txt")))
def test_every_kubectl_is_answered_as_by_a_real_cluster(homes: list[Home], script: str) -> None:
    """All releases at a time, but for what they do with nodes, which there are for all of them."""
    with ThreadPoolExecutor(1 if script == "nodes" else len(homes)) as pool:
        found = [said for home in pool.map(lambda home: wrong(home, script), homes) for said in home]
    assert not found, "\n".join(found)
