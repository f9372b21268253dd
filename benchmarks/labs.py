"""Labs that are measured: the real command line, timed from outside, under a name that no other lab has."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.run import FailedError
from k8snetlab.client.client import Client

COMMAND = (sys.executable, "-m", "k8snetlab")
LONG = 1800.0
"""Seconds that a verb may take."""


class Lab:
    """A lab's name and run directory; nothing runs before `up`."""

    def __init__(self, directory: Path) -> None:
        self.name = f"b{secrets.token_hex(3)}"
        self.directory = directory
        self.environment = {**os.environ, "K8SNETLAB_RUN": str(directory / "run"), "K8SNETLAB_LAB": self.name}

    def timed(self, *words: str, timeout: float = LONG, codes: Sequence[int] = (0,)) -> float:
        """Seconds that a verb took; raises FailedError with its words where it does not end with one of the codes."""
        began = time.perf_counter()
        _run([*COMMAND, *words], self.environment, timeout, codes)
        return time.perf_counter() - began

    def output(self, *words: str) -> str:
        return _run([*COMMAND, *words], self.environment)

    def json(self, *words: str) -> Any:
        return json.loads(self.output(*words, "-o", "json"))

    def up(self, objects: Sequence[dict[str, Any]]) -> float:
        """Seconds of `up` of these objects, from a file that is written beforehand."""
        return self.timed("up", self.written(objects), "--yes", "--timeout", "30m")

    def written(self, objects: Sequence[dict[str, Any]]) -> str:
        """Objects as a file (JSON, which is YAML, an object a document)."""
        file = self.directory / "lab.yaml"
        file.write_text("".join(f"---\n{json.dumps(obj)}\n" for obj in objects))
        return str(file)

    def down(self) -> float:
        return self.timed("down")

    def netns(self, *parts: str) -> str:
        return ".".join((self.name, *parts))

    def pids(self) -> tuple[int, int]:
        """The daemon's and the kubelet's."""
        status = self.json("status")
        return status["daemon"]["pid"], status["kubelet"]["pid"]

    @property
    def client(self) -> Client:
        os.environ["K8SNETLAB_RUN"] = self.environment["K8SNETLAB_RUN"]
        return Client(self.name)


@contextmanager
def lab() -> Iterator[Lab]:
    """A lab that is taken down at the end, whatever happens."""
    # The path of a socket has at most 107 octets: not in TMPDIR, which may be long.
    directory = Path(tempfile.mkdtemp(prefix="k8snetlab-bench-", dir="/tmp"))
    made = Lab(directory)
    try:
        yield made
    finally:
        try:
            if (directory / "run" / made.name).exists():
                made.down()
        finally:
            shutil.rmtree(directory)


def seconds(command: Sequence[str]) -> float:
    """Seconds that a command took; raises FailedError with what it said where it does not end with 0."""
    began = time.perf_counter()
    _run(command)
    return time.perf_counter() - began


def _run(
    command: Sequence[str],
    environment: dict[str, str] | None = None,
    timeout: float = LONG,
    codes: Sequence[int] = (0,),
) -> str:
    try:
        done = subprocess.run(
            command, env=environment, text=True, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise FailedError(f"{_short(command)}: more than {timeout:.0f} s") from None
    if done.returncode not in codes:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line and not line.startswith("waiting ")]
        raise FailedError(f"{_short(command)}: exit {done.returncode}: " + "; ".join(said[-3:]))
    return done.stdout


def _short(command: Sequence[str]) -> str:
    words = command[len(COMMAND) :] if tuple(command[: len(COMMAND)]) == COMMAND else command
    return " ".join(words)


def lab_object(**spec: Any) -> dict[str, Any]:
    """A Lab without a name, which is then called as K8SNETLAB_LAB has it, and without DNS: that has its own figures."""
    return {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "spec": {"dns": {"enabled": False}, **spec}}


def deployment(name: str, replicas: int, port: int = 8080) -> dict[str, Any]:
    labels = {"app": name}
    containers = [{"name": "c", "ports": [{"containerPort": port}]}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def pod(name: str, port: int = 8080) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "ports": [{"containerPort": port}]}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def service(name: str, port: int = 8080) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
