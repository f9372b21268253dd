"""Lessons from their start to their end; the other half is in test_lessons_more.py, for another worker."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from learning import LESSONS, learner, worked_through

from k8snetlab.state import scenarios
from k8snetlab.testing import Lab
from k8snetlab.workshop import teaching


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with learner(tmp_path) as lab:
        yield lab


@pytest.mark.parametrize("name", LESSONS[1::2])
def test_a_lesson_is_worked_through(name: str, lab: Lab) -> None:
    worked_through(lab, name)


def test_the_verbs_lead_through_a_lesson(lab: Lab) -> None:
    """As a learner types them; `-o json` tells the same."""
    assert "Look inside" in lab.run("lesson", "start", "pod")
    steps = teaching.load(scenarios.folder("lessons/01-pod"), "en").steps
    for number, step in enumerate(steps, 1):
        assert step.title in lab.run("lesson", "show")
        assert lab.json("lesson", "status")["step"] == number
        if step.checks or step.questions:
            assert not [one for one in lab.json("lesson", "check", code=1)["verdicts"] if one["ok"]]
            lab.run("lesson", "next", code=1)
            if step.hints:
                assert step.hints[0].split()[0] in lab.run("lesson", "hint")
            lab.run("lesson", "solve")
            assert "then: k8snetlab lesson next" in lab.run("lesson", "check")
        said = lab.run("lesson", "next")
    assert "The lesson is over" in said and "lesson start 02-bridge" in said and lab.json("lesson", "status")["done"]


def test_a_wrong_answer_is_told_from_a_right_one(lab: Lab) -> None:
    lab.run("lesson", "start", "pod")
    assert "is not right" in lab.run("lesson", "check", "10.244.1.3", code=1)
    assert "is no address" in lab.run("lesson", "check", "nonsense", code=1)
    assert "open question" in lab.run("lesson", "check", "10.244.1.2", "b", code=2)
    lab.run("lesson", "check", "10.244.1.2/24")
    assert "are answered" in lab.run("lesson", "check", "10.244.1.2", code=2)


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


QUICK = """# Quick

```lesson
minutes: 1
```

## Step

```check
run: k8snetlab get deployment shop
shows: 3/3
```

```check
run: k8snetlab exec node1 -- ip link show late
within: 60
```

```solution
false
```
"""
SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: c}]}
"""


def test_nobody_is_told_no_for_being_quick(lab: Lab, tmp_path: Path) -> None:
    """Neither the pods are there yet when it is asked, nor what a program of somebody else's is about to make."""
    place = tmp_path / "quick"
    place.mkdir()
    (place / "lab.yaml").write_text(
        "{apiVersion: k8snetlab/v1alpha1, kind: Lab, spec: {nodes: 1, dns: {enabled: false}}}"
    )
    (place / "shop.yaml").write_text(SHOP)
    (place / "lesson.md").write_text(QUICK)
    lesson = teaching.Teaching.start(lab.name, str(place), "en", 1)
    lab.client.scale("deployments", "shop", "default", 3)
    late = ["sh", "-c", f"sleep 1; exec ip -n {lab.netns('node1')} link add late type bridge"]
    with subprocess.Popen(late):
        assert [one.why for one in lesson.check(())] == ["", ""]
    lesson.solve()  # what is done is not done again
