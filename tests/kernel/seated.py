"""A class through the command line, whose file is in a directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from k8snetlab.classroom import roll, seats
from k8snetlab.kernel import userns

LAB = """\
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}
"""


class Class:
    """Nothing is started by making it."""

    def __init__(self, directory: Path) -> None:
        self.scenario = directory / "task"
        self.scenario.mkdir()
        (self.scenario / "lab.yaml").write_text(LAB)
        self.names = directory / "names.txt"
        self.directory = directory / "class"
        self.environment = {**os.environ, "K8SNETLAB_CLASS": str(self.directory)}
        self.said = ""
        """By the last command on standard error."""

    def begun(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "k8snetlab", "class", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, code: int = 0) -> str:
        """What it prints, once it has ended with that exit code."""
        process = self.begun(*words)
        output, self.said = process.communicate(timeout=200)
        assert process.returncode == code, f"{words}: {process.returncode}\n{output}\n{self.said}"
        return output

    def sh(self, student: str, script: str, code: int = 0) -> str:
        """What a script prints in a student's seat."""
        return self.run("shell", student, "--", "sh", "-c", script, code=code)

    def status(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in json.loads(self.run("status", "-o", "json"))["students"]}

    def bases(self) -> list[int]:
        """The first user numbers of the first three seats."""
        with mock.patch.dict(os.environ, self.environment):
            return [*map(roll.base_of, range(3))]

    def start(self) -> None:
        self.run("start", "--names", str(self.names), "--scenario", str(self.scenario))

    def stop(self) -> None:
        """Takes it away, whatever state it is in, and looks that nothing is left of it."""
        bases = self.bases()
        if self.directory.exists():
            self.run("stop", "--forget")
        assert not self.directory.exists()
        assert not any(map(userns.members, bases))
        assert not [group for base in bases for group in seats.Seat("", base).groups() if group.exists()]
