"""A lab under test: the real command line in processes of its own, a run directory and a name that no other lab has."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from k8snetlab.kernel import netns


class Lab:
    """`k8snetlab` as a person would type it, for one lab."""

    def __init__(self, directory: Path) -> None:
        self.name = f"t{secrets.token_hex(3)}"
        self.run_directory = directory / "run"
        self.environment = {**os.environ, "K8SNETLAB_RUN": str(self.run_directory), "K8SNETLAB_LAB": self.name}
        self.environment.pop("K8SNETLAB_DEBUG", None)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "k8snetlab", *words]

    def run(self, *words: str, code: int | None = 0, stdin: str | None = None) -> str:
        """Runs a verb and returns what it printed; fails with all that was said when the exit code is another.

        With code None any will do.
        """
        done = subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, input=stdin, timeout=200
        )
        assert code is None or done.returncode == code, (
            f"k8snetlab {' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        )
        return done.stdout + (done.stderr if code else "")

    def json(self, *words: str, code: int | None = 0) -> Any:
        return json.loads(self.run(*words, "-o", "json", code=code))

    def get(self, path: str) -> Any:
        """What the daemon answers to GET, as it answers the command line, without a process: for what is looked at
        again and again. Raises httpx.TransportError where none answers.
        """
        socket = httpx.HTTPTransport(uds=str(self.run_directory / self.name / "api.sock"))
        with httpx.Client(transport=socket, base_url="http://lab", timeout=60) as client:
            return client.get(path).raise_for_status().json()

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def probe(self, source: str, target: str, *words: str, code: int = 0) -> dict[str, Any]:
        """The first result of a probe."""
        result: dict[str, Any] = self.json("probe", source, target, *words, code=code)["results"][0]
        return result

    def whole(self) -> bool:
        """Whether every probe goes as it should, and every pod takes part."""
        ready = [p for p in self.json("get", "pods", "-A")["items"] if p["status"].get("conditions")]
        results = self.json("probe", "--all", code=None)["results"]
        sources = {r["from"] for r in results if r["fromNode"] and r["from"] != r["fromNode"]}
        return len(sources) == len(ready) and all(r["ok"] for r in results)

    def netns(self, *parts: str) -> str:
        return ".".join((self.name, *parts))

    def shell(self, node: str, *command: str) -> str:
        """A plain command of the machine inside a node, as a student would use it."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.netns(node), *command], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def namespaces(self) -> list[str]:
        return [name for name in netns.names() if name.startswith(self.name + ".")]

    def pids(self) -> dict[str, int]:
        status = self.json("status")
        return {"daemon": status["daemon"]["pid"], "kubelet": status["kubelet"]["pid"]}

    def logs(self) -> str:
        directory = self.run_directory / self.name
        return "".join(f"--- {file.name}\n{file.read_text()[-4000:]}" for file in sorted(directory.glob("*.log")))


def eventually(what: Callable[[], object], seconds: float = 120.0) -> None:
    """Waits until `what` is true; the time is generous, because the machine may be busy, and never the point.

    Between two looks it sleeps as long as a look takes, or (up to a second) an eighth of what it has waited: a look
    that runs a command must not keep a core from what it waits for.
    """
    began = asked = time.monotonic()
    while not what():
        now = time.monotonic()
        assert now < began + seconds, f"still not so after {seconds} s"
        time.sleep(min(max(0.05, now - asked, (now - began) / 8), 1.0))
        asked = time.monotonic()
