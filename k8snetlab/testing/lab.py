"""A lab for tests: the real command line in processes of its own, a name and a run directory that no other lab has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from k8snetlab.testing import madeup
from k8snetlab.testing.manifests import renamed
from k8snetlab.testing.waiting import kill

if TYPE_CHECKING:
    from k8snetlab.client.client import Client
    from k8snetlab.messages.diagnose import Diagnosis
    from k8snetlab.messages.probe import ProbeResult
    from k8snetlab.messages.trace import Trace
    from k8snetlab.workshop.checking import CheckReport

Json = dict[str, Any]
A = TypeVar("A", bound=msgspec.Struct)
TIMEOUT = 200.0
"""Seconds that a verb may take."""


class Lab:
    """One lab, asked and changed as a person does it, with `k8snetlab VERB`.

    `directory` holds its run directory: nothing that runs under /run/k8snetlab sees it, and two labs of one test do not
    see each other. Making a Lab starts nothing; `up` does. What fails raises AssertionError with all that was said and
    the end of the lab's logs.
    """

    namespace = ""
    """The network namespace in which its verbs begin; "" is this process's own."""

    def __init__(self, directory: Path) -> None:
        self.name = madeup.name()
        self.run_directory = directory / "run"
        self.environment = {**os.environ, "K8SNETLAB_RUN": str(self.run_directory), "K8SNETLAB_LAB": self.name}
        self.environment["K8SNETLAB_STATE"] = str(directory / "kept")
        self.environment["XDG_STATE_HOME"] = str(directory / "state")  # a learner's progress is this lab's alone
        self.environment.pop("K8SNETLAB_DEBUG", None)

    # --- its life ---

    def up(self, source: str | Path) -> None:
        """Builds the lab from a directory, a file or a scenario, or changes it to what they say now.

        A Lab that is called something in them is called `name` here.
        """
        with renamed(str(source), self.name) as path:
            self.run("up", path)

    def down(self) -> None:
        """Takes it down, whatever state it is in; nothing happens where nothing is."""
        if (self.run_directory / self.name).exists():
            self.run("down")

    def apply(self, manifest: str | Path) -> None:
        """Creates or changes objects and waits until the kernel has them: YAML text, or a file or directory."""
        if isinstance(manifest, Path):
            self.run("apply", "-f", str(manifest))
        else:
            self.run("apply", "-f", "-", stdin=manifest)

    # --- questions ---

    def probe(self, source: str, target: str, *options: str) -> ProbeResult:
        """Sends a real packet from a pod, node, "router" or "outside" to a pod, Service, node or address, `[:PORT]`.

        A pair that is closed or broken is an answer too: see `reached`, `verdict` and `why`. `options` are those of
        `k8snetlab probe`.
        """
        from k8snetlab.messages.probe import ProbeResults

        [result] = self._answer(ProbeResults, "probe", source, target, *options).results
        return result

    def probe_all(self, *options: str) -> tuple[ProbeResult, ...]:
        """Everyone asks everything."""
        from k8snetlab.messages.probe import ProbeResults

        return self._answer(ProbeResults, "probe", "--all", *options).results

    def trace(self, source: str, target: str, *options: str) -> Trace:
        """A packet hop by hop: what the kernel's tables predict, and what was seen of a real one."""
        from k8snetlab.messages.trace import Trace

        return self._answer(Trace, "trace", source, target, *options)

    def diagnose(self, *options: str) -> Diagnosis:
        """What is broken, the likeliest cause first; `findings` is empty where nothing is."""
        from k8snetlab.messages.diagnose import Diagnosis

        return self._answer(Diagnosis, "diagnose", *options)

    def check(self, scenario: str | Path) -> CheckReport:
        """What a scenario (its name or directory) expects, set against this lab; `ok` where all of it is so."""
        from k8snetlab.workshop.checking import CheckReport

        return self._answer(CheckReport, "scenario", "check", str(scenario))

    def get(self, kind: str, name: str, namespace: str = "default") -> Json:
        """The object, as `kubectl get -o json` has it; raises NotFoundError."""
        return self.client.get(kind, name, namespace)

    def address_of(self, name: str) -> str:
        """The (first) IP address of "pod/NAME", "service/NAME" or "node/NAME" of namespace default."""
        kind, _, short = name.partition("/")
        held = self.get(kind, short)
        found = {
            "Pod": lambda: held["status"]["podIP"],
            "Service": lambda: held["spec"]["clusterIP"],
            "Node": lambda: held["status"]["addresses"][0]["address"],
        }[held["kind"]]()
        return str(found)

    def netns(self, *parts: str) -> str:
        """The network namespace's name: of netns("node1"), netns("router"), or netns("default", "client")."""
        return ".".join((self.name, *(part.replace(".", "_") if len(parts) == 1 else part for part in parts)))

    def namespaces(self) -> list[str]:
        """The network namespaces of this lab that there are."""
        from k8snetlab.kernel import netns

        return [name for name in netns.names() if name.startswith(self.name + ".")]

    def exec(self, place: str, *command: str) -> str:
        """What a command in a pod, a node, "router" or "outside" printed."""
        return self.run("exec", place, "--", *command)

    def shell(self, node: str, *command: str) -> str:
        """What a plain command of the machine in a node's namespace printed, as `ip netns exec` has it."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.netns(node), *command], capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def whole(self) -> bool:
        """Whether every probe goes as it should, and every pod takes part."""
        ready = [p for p in self.json("get", "pods", "-A")["items"] if p["status"].get("conditions")]
        results = self.probe_all()
        sources = {r.source for r in results if r.sourceNode and r.source != r.sourceNode}
        return len(sources) == len(ready) and all(r.ok for r in results)

    def pids(self) -> dict[str, int]:
        """The processes "daemon" and "kubelet"."""
        status = self.json("status")
        return {"daemon": status["daemon"]["pid"], "kubelet": status["kubelet"]["pid"]}

    def kill(self, *roles: str) -> None:
        """Ends "daemon" or "kubelet" by SIGKILL, and waits until the kernel has closed all that they had open."""
        pids = self.pids()
        kill(*(pids[role] for role in roles))

    def logs(self) -> str:
        """The end of the daemon's and the kubelet's log."""
        directory = self.run_directory / self.name
        return "".join(f"--- {file.name}\n{file.read_text()[-4000:]}" for file in sorted(directory.glob("*.log")))

    # --- the ways to it ---

    @property
    def client(self) -> Client:
        """The daemon's client, for what no method here asks."""
        from k8snetlab.client.client import Client

        with _environment("K8SNETLAB_RUN", str(self.run_directory)):
            return Client(self.name)

    def raw(self, path: str) -> Any:
        """What the daemon answers to GET, without a process: for what is looked at again and again.

        Raises httpx.TransportError where none answers.
        """
        import httpx

        socket = httpx.HTTPTransport(uds=str(self.run_directory / self.name / "api.sock"))
        with httpx.Client(transport=socket, base_url="http://lab", timeout=60) as client:
            return client.get(path).raise_for_status().json()

    def command(self, *words: str) -> list[str]:
        """The command line of a verb; it wants `environment`."""
        entering = ["nsenter", f"--net=/run/netns/{self.namespace}"] if self.namespace else []
        return [*entering, sys.executable, "-m", "k8snetlab", *words]

    def run(self, *words: str, code: int | None = 0, stdin: str | None = None) -> str:
        """Runs a verb and returns what it printed; fails with all that was said when the exit code is another.

        With code None any will do.
        """
        done = self._done(words, stdin)
        assert code is None or done.returncode == code, self._said(done)
        return done.stdout + (done.stderr if code else "")

    def json(self, *words: str, code: int | None = 0) -> Any:
        """What a verb says to `-o json`."""
        return json.loads(self.run(*words, "-o", "json", code=code))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begins a verb, for what goes on while others are asked: `capture`, `up` …"""
        return subprocess.Popen(
            self.command(*words), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def list(self, kind: str, namespace: str | None = None, labels: str = "") -> Sequence[Json]:
        """All objects of a kind, in one namespace or (None) in all, that the selector `labels` matches."""
        return self.client.list(kind, namespace, labels)

    def _answer(self, kind: type[A], *words: str) -> A:
        """What a verb says to `-o json`, whatever it finds."""
        done = self._done((*words, "-o", "json"))
        try:
            return msgspec.json.decode(done.stdout, type=kind)
        except msgspec.DecodeError as error:
            raise AssertionError(f"{error}: {self._said(done)}") from None

    def _done(self, words: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        if (command := self.command(*words)) != Lab.command(self, *words):  # begun in a way of its own
            return subprocess.run(
                command, env=self.environment, capture_output=True, text=True, input=stdin, timeout=TIMEOUT
            )
        from k8snetlab.testing import forkserver

        return forkserver.run(words, self.environment, namespace=self.namespace, stdin=stdin, timeout=TIMEOUT)

    def _said(self, done: subprocess.CompletedProcess[str]) -> str:
        return f"{' '.join(done.args)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"


@contextmanager
def running(source: str | Path) -> Iterator[Lab]:
    """A lab from a directory, a file or a scenario, taken down at the end, whatever happens."""
    # Not in TMPDIR, which may be long: the path of a socket has at most 107 octets.
    directory = Path(tempfile.mkdtemp(prefix="k8snetlab-", dir="/tmp"))
    lab = Lab(directory)
    try:
        lab.up(source)
        yield lab
    finally:
        lab.down()
        shutil.rmtree(directory)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
