"""Nothing that a pod or `exec` has started outlives pod and lab, with control groups and where there are none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.kernel import cgroups
from k8snetlab.testing import Lab, eventually

MANIFEST = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 1, dns: {enabled: false}}
---
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, command: [sh, -c, "(AWAY MARK.pod) & exec sleep 1000"]}]
"""
AWAY = (
    "exec setsid env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin unshare -n sh -c 'while date +%N > $0; do sleep 0.05; done'"
)
"""Leaves its session, its parent, its environment and its network namespace, and goes on writing to a file."""
HIDE = 'mount --make-rprivate /sys/fs/cgroup && mount -t tmpfs -o ro none /sys/fs/cgroup && exec "$@"'


class WithoutGroups(Lab):
    """On a machine that shows no control groups, as many containers do."""

    def command(self, *words: str) -> list[str]:
        hiding = ["unshare", "-m", "--propagation", "unchanged", "sh", "-c", HIDE, "sh"]
        return [*hiding, *super().command(*words)]


@pytest.fixture(params=[Lab, WithoutGroups])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    if request.param is Lab and cgroups.hierarchy() is None:
        pytest.skip("this machine lets nobody make control groups")
    if request.param is WithoutGroups and not Path("/sys/fs/cgroup").is_dir():
        pytest.skip("this machine has none to hide")
    lab: Lab = request.param(tmp_path)
    yield lab
    lab.run("down", code=None)


def go_on(*marks: Path) -> None:
    for mark in marks:
        before = mark.read_text()
        eventually(lambda mark=mark, before=before: mark.read_text() not in ("", before))  # type: ignore[misc]


def stand_still(*marks: Path) -> bool:
    """For ten of their turns."""
    before = [mark.read_text() for mark in marks]
    with contextlib.suppress(AssertionError):
        eventually(lambda: [mark.read_text() for mark in marks] != before, seconds=0.6)
        return False
    return True


def test_all_that_was_started_ends_with_the_pod_and_the_lab(lab: Lab, tmp_path: Path) -> None:
    file, mark = tmp_path / "lab.yaml", tmp_path / "mark"
    away = AWAY.replace("\\", "\\\\").replace('"', '\\"')
    file.write_text(MANIFEST.replace("AWAY", away).replace("MARK", str(mark)))
    lab.run("up", str(file))
    pod, inside, node = (mark.with_suffix(f".{name}") for name in ("pod", "inside", "node"))
    eventually(lambda: pod.exists() and pod.read_text())
    running = [lab.start("exec", "a", "--", "sh", "-c", f"({AWAY} {inside}) & exec sleep 1000")]
    running.append(lab.start("exec", "node1", "--", "sh", "-c", f"({AWAY} {node}) & exec sleep 1000"))
    eventually(lambda: all(one.exists() and one.read_text() for one in (inside, node)))
    go_on(pod, inside, node)
    lab.run("delete", "pod", "a")
    assert stand_still(pod, inside)
    go_on(node)
    lab.run("down")
    assert stand_still(node)
    for process in running:
        process.communicate(timeout=120)
