"""Every lesson, from its start to its end by `solve` and `check`; every check fails once before its step is solved."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.kernel import netns
from k8snetlab.state import scenarios
from k8snetlab.testing import Lab, forkserver
from k8snetlab.workshop import teaching
from k8snetlab.workshop.lesson import Try


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab that is not there yet, with a learner who has begun nothing."""
    lab = Lab(tmp_path)
    try:
        yield lab
    finally:
        lab.down()


@pytest.mark.parametrize("name", [path.partition("/")[2] for path in scenarios.lessons()])
def test_a_lesson_is_worked_through(name: str, lab: Lab) -> None:
    lab.json("lesson", "start", name)
    steps = teaching.load(scenarios.folder(f"lessons/{name}"), "en").steps
    for number, step in enumerate(steps, 1):
        assert lab.json("lesson", "show")["step"] == number
        if step.checks or step.questions:
            early = lab.json("lesson", "check", code=1)["verdicts"]
            assert not [one for one in early if one["ok"]], f"step {number}: a check passes before it is solved"
            lab.run("lesson", "next", code=1)
        for command in (command for part in step.parts if isinstance(part, Try) for command in part.commands):
            typed(lab, command)
        if step.checks or step.questions:
            lab.run("lesson", "solve")
            late = lab.json("lesson", "check", code=None)["verdicts"]
            assert not [one for one in late if not one["ok"]], f"step {number} is solved, and its check says no"
        lab.run("lesson", "next")
    assert lab.json("lesson", "status")["done"]
    lab.down()
    assert not [name for name in netns.names() if lab.name in name], "a namespace outlives the lesson's lab"


def typed(lab: Lab, command: str) -> None:
    """What a learner is told to type is a command: it may find that something is not so, but not be wrong itself."""
    words = shlex.split(command)
    if words[0] != "k8snetlab" or set(words) & {"|", "&", "-f", "capture", "misses", "shell", "attach", "mine-lesson"}:
        return
    if words[1] == "exec":  # what runs there may end with any code
        assert "error: " not in lab.run(*words[1:], code=None), command
        return
    done = forkserver.run(words[1:], lab.environment, namespace="", stdin=None, timeout=60)
    assert done.returncode in (0, 1), f"{command}: {done.stdout}{done.stderr}"


def test_a_step_comes_back_as_it_began_whatever_was_done_and_wherever_it_is_begun(lab: Lab) -> None:
    lab.run("lesson", "start", "pod", "--step", "5")
    lab.run("lesson", "solve")
    assert all(one["ok"] for one in lab.json("lesson", "check")["verdicts"])
    lab.run("delete", "pod", "web")
    lab.run("lesson", "reset")
    assert [pod["metadata"]["name"] for pod in lab.list("pods")] == ["web"]
    assert not any(one["ok"] for one in lab.json("lesson", "check", code=1)["verdicts"])
    lab.down()
    assert "lesson reset" in lab.run("lesson", "status"), "progress outlives the lab"
    lab.run("lesson", "reset")
    assert [pod["metadata"]["name"] for pod in lab.list("pods")] == ["web"]


def test_a_lab_that_is_none_of_a_lesson_is_not_taken_down(lab: Lab) -> None:
    lab.run("lesson", "start", "pod")
    lab.apply("{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {nodes: 1, dns: {enabled: false}}}")
    lab.run("lesson", "start", "pod")  # its own, whatever was applied to it
    lab.down()
    lab.up("lessons/01-pod")
    assert "is none of a lesson" in lab.run("lesson", "start", "pod", code=1)
    assert [pod["metadata"]["name"] for pod in lab.list("pods")] == ["web"]
