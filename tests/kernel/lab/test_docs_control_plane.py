"""docs/control-plane.md is run, block by block, in a real lab: what it shows is what is answered, in shape.

`python tests/kernel/lab/test_docs_control_plane.py` writes the answers anew.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, running

sys.path.insert(0, str(Path(__file__).parents[2]))
import kubectl
import pages
from pages import Shell, blocks

PAGE = Path(__file__).parents[3] / "docs" / "control-plane.md"
SCENARIO = "two-nodes"
FOLLOW = "k8snetlab follow deploy/walk --until ready >steps.txt &"
WAITED = {FOLLOW: f"{FOLLOW} until grep -qs 'not there yet' steps.txt; do sleep 0.1; done"}
"""A reader needs a moment to type the next command; a test waits until it is looked on."""
pytestmark = [
    pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE),
    pytest.mark.lab(SCENARIO),
    pytest.mark.timeout(600),
]


@contextmanager
def shell_of(lab: Lab, directory: Path) -> Iterator[Shell]:
    program = kubectl.found()
    assert program
    config = directory / "config"
    config.write_text(lab.run("kubeconfig"))
    binary = directory / "k8snetlab"
    binary.write_text(f'#!/bin/sh\nexec {" ".join(lab.command())} "$@"\n')
    binary.chmod(0o755)
    path = f"{directory}:{Path(program).parent}:{os.environ['PATH']}"
    own = {"PATH": path, "HOME": str(directory), "KUBECONFIG": str(config), "LC_ALL": "C.UTF-8"}
    shell = Shell(directory, lab.environment | own)
    try:
        yield shell
    finally:
        shell.close()


def answered(text: str, shell: Shell, lab: Lab, directory: Path) -> str:
    """The page with what its commands answer now."""

    def said(command: str) -> str:
        heard = shell.said(WAITED.get(command, command))
        heard = "\n".join(line.rstrip() for line in heard.splitlines() if not re.match(r"\[\d+\]", line))
        return heard.replace(lab.name, SCENARIO)

    return pages.answered(text, said, directory)


ALIKE = (
    (r"\bwalk-[a-f0-9]{8,10}-[a-z0-9]{5}\b", "POD"),
    (r"\bwalk-[a-f0-9]{8,10}\b", "SET"),
    (r"\bwalk-[a-z0-9]{5}\b", "SLICE"),
    (r"\bKUBE-(SVC|SEP)-[A-Z2-7]{16}\b", r"KUBE-\1"),
    (r"\b\d+(\.\d+){3}(/\d+)?\b", "ADDRESS"),
    (r"\bnode\d\b", "NODE"),
    (r"\beth0@if\d+\b", "eth0@LINK"),
    (r"\b(before|\d+ ms) +(\d+ )?", ""),
    (r"\b\d+:\d+:\d+\b", "TIME"),
    (r"\b\d+\.\d+ ms\b", "MOMENT"),
    (r"\b(\d+[dhms])+\b", "AGE"),
    (r"\b[0-9]+ +0 +\d+ +\d+$", "RANK"),
    (r" {2,}", " "),
)
PASSING = re.compile(r"0 endpoints|\b0 of 1|\b0/1 ready")
"""What is said on the way there, where the next step does not come at once."""


def alike(line: str) -> str:
    """Without what is different each time: names, addresses, times, revisions."""
    for pattern, put in ALIKE:
        line = re.sub(pattern, put, line)
    return line.strip()


def answers(text: str) -> list[tuple[str, set[str]]]:
    """Each command of a page, and the lines of its answer, alike."""
    found = []
    for _, language, block in blocks(text):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] if language == "console" else ():
            command, _, lines = piece.partition("\n")
            found.append((command, {alike(line) for line in lines.splitlines() if not PASSING.search(line)} - {""}))
    return found


def test_the_walk_is_as_the_page_tells_it(lab: Lab, tmp_path: Path) -> None:
    text = PAGE.read_text()
    with shell_of(lab, tmp_path) as shell:
        now = answered(text, shell, lab, tmp_path)
    for (command, shown), (_, said) in zip(answers(text), answers(now), strict=True):
        assert said == shown, command
    steps = [line for line in (tmp_path / "steps.txt").read_text().splitlines() if "event" not in line]
    order = (" API ", "deployment-controller", "default-scheduler", "CNI", "kubelet", " client ", "ready, at")
    first = [next(number for number, line in enumerate(steps) if who in line) for who in order]
    assert first == sorted(first)
    revisions = [int(found[1]) for line in steps if (found := re.match(r" *\d+ ms +(\d+) ", line))]
    assert revisions == sorted(revisions) and len(revisions) > 8


def write() -> None:
    with tempfile.TemporaryDirectory() as kept, running(SCENARIO) as lab, shell_of(lab, Path(kept)) as shell:
        PAGE.write_text(answered(PAGE.read_text(), shell, lab, Path(kept)))


if __name__ == "__main__":
    write()
