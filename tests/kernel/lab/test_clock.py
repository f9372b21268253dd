"""A clock that jumps by days, forward and back, harms nobody: what is waited for is measured, not read from a clock.

No test sets the machine's clock: the lab's own processes see another one, by a library that stands before libc.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from k8snetlab.testing import Lab, eventually

SHIM = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long none;
static volatile long *shift = &none;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHIFTED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *at = file < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    if (at != MAP_FAILED) shift = at;
    if (file >= 0) close(file);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += *shift;
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: clock}
spec: {nodes: 2, dns: {enabled: false}, controlPlane: {nodeMonitorGracePeriod: 2}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}]
      containers: [{name: c, ports: [{containerPort: 80}], livenessProbe: {httpGet: {port: 80}, periodSeconds: 1}}]
---
apiVersion: v1
kind: Pod
metadata: {name: asked}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    command: [sleep, infinity]
    readinessProbe: {exec: {command: [cat, FLAG]}, periodSeconds: 1, failureThreshold: 1}
"""


class Clock:
    """What the lab's processes see of the time: so many seconds from now."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "clock"
        self.file.write_bytes(bytes(8))
        self.library = directory / "clock.so"
        (directory / "clock.c").write_text(SHIM)
        built = ["gcc", "-shared", "-fPIC", "-o", str(self.library), str(directory / "clock.c")]
        subprocess.run(built, check=True)

    def jump(self, seconds: int) -> None:
        with self.file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
            memory[:] = struct.pack("l", seconds)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc here")
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def lab(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("jumps")
    (directory / "flag").touch()
    (directory / "lab.yaml").write_text(LAB.replace("FLAG", str(directory / "flag")))
    found = Lab(directory)
    found.environment |= {"LD_PRELOAD": str(clock.library), "SHIFTED_CLOCK": str(clock.file)}
    try:
        found.up(directory)
        yield found
    finally:
        found.run("down", code=None)


def readiness(lab: Lab, name: str) -> bool:
    found = lab.get("pod", name)["status"]["conditions"]
    return any((one["type"], one["status"]) == ("Ready", "True") for one in found)


def whole(lab: Lab) -> dict[str, tuple[str, int]]:
    """Of each pod its uid, and how often it was started again."""
    return {
        one["metadata"]["name"]: (one["metadata"]["uid"], one["status"]["containerStatuses"][0]["restartCount"])
        for one in lab.list("pods", "default")
        if not one["metadata"]["name"].startswith("after")
    }


def test_nobody_is_evicted_started_again_or_asked_no_more(lab: Lab, clock: Clock) -> None:
    flag = Path(lab.get("pod", "asked")["spec"]["containers"][0]["readinessProbe"]["exec"]["command"][1])
    before = whole(lab)
    for number, days in enumerate((2, -2, 0)):
        clock.jump(days * 86400)
        flag.unlink()
        eventually(lambda: not readiness(lab, "asked"))
        flag.touch()
        eventually(lambda: readiness(lab, "asked"))
        lab.apply(
            f"{{apiVersion: v1, kind: Pod, metadata: {{name: after{number}}}, spec: {{containers: [{{name: c}}]}}}}"
        )
        assert readiness(lab, f"after{number}")
        seen = datetime.fromisoformat(lab.get("pod", f"after{number}")["metadata"]["creationTimestamp"])
        assert abs(datetime.now(UTC) + timedelta(days=days) - seen) < timedelta(hours=1), "the clock has not jumped"
        assert whole(lab) == before
    told = {one["reason"] for one in lab.list("events", "default")}
    assert not told & {"NodeNotReady", "TaintManagerEviction", "Killing"}
    assert lab.diagnose().findings == ()
