"""The kubelet process: responders and commands in real namespaces, over its socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from labs import eventually

from k8snetlab.agent.workload import ContainerWork, PodState, PodWork, Request, Response
from k8snetlab.dataplane.links import Device
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.kernel import netns
from k8snetlab.kernel.execute import execute

pytestmark = pytest.mark.root


class Kubelet:
    """A connection to a kubelet process."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(15)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rwb")
        self._id = 0

    def ask(self, op: str, *pods: PodWork, uids: tuple[str, ...] = ()) -> tuple[PodState, ...]:
        self._id += 1
        self._file.write(msgspec.json.encode(Request(self._id, op, pods, uids)) + b"\n")  # type: ignore[arg-type]
        self._file.flush()
        while True:
            response = msgspec.json.decode(self._file.readline(), type=Response)
            if response.id == self._id:
                return response.states

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def kubelet(tmp_path: Path) -> Iterator[Kubelet]:
    path = tmp_path / "kubelet.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "k8snetlab.agent.kubelet", "--socket", str(path)], stdin=subprocess.PIPE
    )
    process.stdin.write(b"\n")
    process.stdin.close()
    eventually(path.exists)
    connection = None
    with contextlib.suppress(FileNotFoundError):
        eventually(lambda: path.stat().st_mode & 0o777 == 0o600)
        connection = Kubelet(path)
    assert connection is not None
    yield connection
    connection.close()
    process.terminate()
    assert process.wait(15) == 0


@pytest.fixture
def sandbox(namespace: Callable[[str], str]) -> str:
    """A namespace whose loopback is up."""
    name = namespace("pod")
    execute([ItemOperation("set", name, Device("lo"))])
    return name


def work(sandbox: str, logs: Path, *containers: ContainerWork) -> PodWork:
    return PodWork("uid-1", "default", "web", "node1", sandbox, "web", ("127.0.0.1",), containers, str(logs), 5.0)


def connect(sandbox: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    with netns.inside(sandbox):
        client = socket.socket(socket.AF_INET, kind)
    client.settimeout(10)
    client.connect(("127.0.0.1", port))
    return client


def test_responders_tell_who_they_are_and_whom_they_see(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    pod = work(sandbox, tmp_path, ContainerWork("c", ports=((8080, "TCP"), (53, "UDP"))))
    (state,) = kubelet.ask("run", pod)
    assert state.ready
    with connect(sandbox, 8080) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel")
        client.sendall(b"loGET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: client.recv(4096), b""))
        bodies = [json.loads(part.splitlines()[0]) for part in answers.split(b"\r\n\r\n")[1:]]
        assert len(bodies) == 2
        assert bodies[1]["pod"] == "web" and bodies[1]["node"] == "node1" and bodies[1]["client"] == "127.0.0.1"
        assert bodies[1]["clientPort"] == client.getsockname()[1]
    with connect(sandbox, 8080) as client:
        client.sendall(b"hello\n")
        assert json.loads(client.recv(4096))["port"] == 8080
    with connect(sandbox, 53, socket.SOCK_DGRAM) as client:
        client.send(b"question")
        line, echo = client.recv(4096).split(b"\n", 1)
        assert json.loads(line)["pod"] == "web" and echo == b"question"


def test_garbage_does_not_hurt_a_responder(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    kubelet.ask("run", work(sandbox, tmp_path, ContainerWork("c", ports=((8080, "TCP"),))))
    for garbage in (b"\x00\xff" * 50, b"GET " + b"a" * 100_000, b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"G"):
        with connect(sandbox, 8080) as client, contextlib.suppress(ConnectionError):
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            client.recv(4096)
    with connect(sandbox, 8080) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_command_runs_in_the_namespace_is_restarted_and_stopped(
    kubelet: Kubelet, sandbox: str, tmp_path: Path
) -> None:
    script = 'echo "$HOSTNAME $(hostname) $GREETING" $(ls /sys/class/net); exec sleep 1000'
    pod = work(sandbox, tmp_path, ContainerWork("c", command=("sh", "-c", script), env={"GREETING": "hi"}))
    assert kubelet.ask("run", pod)[0].ready
    log = tmp_path / "c.log"
    eventually(lambda: log.exists() and "web web hi lo" in log.read_text())
    (pid,) = _pids(sandbox)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(log.read_text().splitlines()) == 2)
    assert kubelet.ask("list")[0].containers[0].restarts == 1
    assert [s.uid for s in kubelet.ask("stop", uids=("uid-1",))] == ["uid-1"]
    assert _pids(sandbox) == []
    assert kubelet.ask("list") == ()


def test_what_cannot_run_says_why(kubelet: Kubelet, sandbox: str, tmp_path: Path) -> None:
    missing = ContainerWork("c", command=("no-such-command-anywhere",))
    kubelet.ask("run", work(sandbox, tmp_path, missing))
    eventually(lambda: "exited with 127" in kubelet.ask("list")[0].containers[0].message)
    assert "command not found" in (tmp_path / "c.log").read_text()
    kubelet.ask("stop", uids=("uid-1",))
    twice = (ContainerWork("a", ports=((80, "TCP"),)), ContainerWork("b", ports=((80, "TCP"),)))
    (state,) = kubelet.ask("run", work(sandbox, tmp_path, *twice))
    assert not state.ready and "cannot listen on TCP port 80" in state.containers[1].message


def _pids(sandbox: str) -> list[int]:
    from k8snetlab.kernel import processes

    return processes.pids_in(sandbox)
