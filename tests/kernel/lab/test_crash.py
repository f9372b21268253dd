"""CLI, daemon or kubelet killed at any step of a verb: `up` then brings what it always brings, `down` leaves nothing.

K8SNETLAB_CRASH_POINTS sets how many points are tried and K8SNETLAB_CRASH_SEED which (`make crash`: 5,000, each effect
of each verb among them); K8SNETLAB_CRASH="VERB:PROCESS:WHEN:SEED …" tries only these. See crash.py.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import crash
import pytest

pytestmark = pytest.mark.timeout(36000)
POINTS = int(os.environ.get("K8SNETLAB_CRASH_POINTS", "100"))
SEED = os.environ.get("K8SNETLAB_CRASH_SEED", "1")
GIVEN = os.environ.get("K8SNETLAB_CRASH", "").split()
EXACT = [point for point in GIVEN if not point.startswith(("join:", "leave:"))]
SIDE_BY_SIDE = int(os.environ.get("K8SNETLAB_CRASH_BOXES", str(min(os.cpu_count() or 1, 8))))
Json = dict[str, Any]


class Summary:
    """What the walks tell as they go."""

    def __init__(self, expected: int) -> None:
        self.expected, self.began = expected, time.monotonic()
        self.tried = self.killed = 0
        self.failures: list[str] = []
        self.lock = threading.Lock()

    def add(self, result: Json) -> None:
        with self.lock:
            self.tried += 1
            self.killed += result["died"]
            if result["wrong"]:
                lines = "\n    ".join(result["wrong"])
                self.failures.append(f'K8SNETLAB_CRASH="{result["point"]}"\n    {lines}')
                sys.stderr.write(f"\n{self.failures[-1]}\n")
            if not self.tried % 50 or result["wrong"]:
                sys.stderr.write(f"\n{self}\n")

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        return (
            f"{self.tried} of {self.expected} points in {seconds:.0f} s: {self.killed} kills, "
            f"{len(self.failures)} failures"
        )


def walk(summary: Summary, number: int, share: int, todo: list[str] | None) -> None:
    """Walks until its share is done; after a failure goes on in another machine."""
    left = todo
    while left is None or left:
        name = f"crash{secrets.token_hex(3)}"
        argv = crash.box(name, SEED, str(number), f"{share}/{SIDE_BY_SIDE}", *(left or ()))
        before = len(left or ())
        with tempfile.TemporaryFile("w+") as said:
            with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=said, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    result = json.loads(line)
                    if "todo" in result and left is None:
                        left = result["todo"]
                        before = len(left) + 1
                    elif "point" in result:
                        assert left is not None
                        left.remove(result["point"])
                        summary.add(result)
            code = process.returncode
            said.seek(0)
            last = said.read()[-3000:]
        forget(name)
        if code or left is None or len(left) == before:
            with summary.lock:
                summary.failures.append(f"a walk ended with {code}: {last}")
            return


def forget(lab: str) -> None:
    """The control groups of a lab whose machine has gone; all that was in them has gone with it."""
    for hierarchy in Path("/sys/fs/cgroup").glob("**/k8snetlab"):
        for directory, _, _ in os.walk(hierarchy / lab, topdown=False):
            Path(directory).rmdir()
    for place in Path("/etc/netns").glob(f"{lab}.*"):
        shutil.rmtree(place)


@pytest.mark.skipif(bool(GIVEN) and not EXACT, reason="K8SNETLAB_CRASH names other points")
def test_a_crash_at_any_step_is_mended_by_up_or_down() -> None:
    summary = Summary(len(EXACT) or POINTS)
    shares = [EXACT[n::SIDE_BY_SIDE] if EXACT else None for n in range(SIDE_BY_SIDE)]
    walks = [
        threading.Thread(target=walk, args=(summary, POINTS, number, share))
        for number, share in enumerate(shares)
        if share is None or share
    ]
    for one in walks:
        one.start()
    for one in walks:
        one.join()
    assert not summary.failures, f"{summary}\n" + "\n".join(summary.failures)
    assert summary.tried == summary.expected
    assert summary.killed > summary.expected // 2, "these points kill nothing"
