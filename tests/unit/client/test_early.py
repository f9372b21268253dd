"""What is asked before the command line is loaded, and what is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.client import early
from k8snetlab.state.paths import SOCKET_PATH


@pytest.mark.parametrize(
    "form",
    [
        "",
        "--lab some status",
        "status --help",
        "diagnose --node node1",
        "graph -f lab.yaml",
        "tables",
        "tables node1 routes",
        "tables ../../v1/pods",
        "tables node1?table=fdb",
        "scale deployment/web --replicas -1",
        "scale deployment/web --replicas 2 --timeout x",
        "scale deployment/Web --replicas 2",
        "scale deployment/web/scale --replicas 2",
        "scale pod/web --replicas 2",
        "scale deployment web --replicas 2",
        "scale deployment/web --replicas 2 -o bogus",
        "scale deployment/web --replicas 2 -o --help",
        "scale deployment/web --replicas 2 -o json -o json",
        "status -o yaml",
        "delete deployment/web",
        "-o json",
    ],
)
def test_nothing_is_asked_that_may_not_be_meant(form: str) -> None:
    assert early.requests_of(form.split()) == ()


def test_a_picture_is_only_looked_at_whatever_it_is_written_to() -> None:
    assert early.requests_of(["graph", "-o", "lab.svg"]) == early.requests_of(["graph"]) != ()


class Daemon:
    """Something that listens where a lab's daemon does, and answers nothing. `asked` is what it hears first."""

    def __init__(self, run: Path) -> None:
        directory = run / "some"
        directory.mkdir(parents=True)
        (directory / "ledger").touch()
        path = directory / "api.sock"
        assert len(str(path)) <= SOCKET_PATH
        self.asked = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(100)
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def _hear(self) -> None:
        try:
            line, _ = self._socket.accept()
        except OSError:
            return
        with line:
            self.asked = line.recv(1 << 16)

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.close()


BROKEN = """
import sys
class Finder:
    def find_spec(self, name, *rest):
        if name == "k8snetlab.cli.main":
            raise {}
sys.meta_path.insert(0, Finder())
from k8snetlab.__main__ import main
main()
"""
"""The command, which ends as it comes to load its command line."""


def command(run: Path, words: str, error: str = "SystemExit(3)", **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "K8SNETLAB_RUN": str(run), **more}
    environment.pop("K8SNETLAB_LAB", None)
    argv = [sys.executable, "-c", BROKEN.format(error), *words.split()]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)


def test_it_is_asked_before_the_command_line_is_loaded(tmp_path: Path, daemon: Daemon) -> None:
    assert command(tmp_path, "status").returncode == 3
    daemon.close()
    assert daemon.asked.startswith(b"GET /apis/k8snetlab/v1alpha1/status HTTP/1.1\r\n")


@pytest.mark.parametrize("more", [{"_K8SNETLAB_COMPLETE": "complete_bash"}, {"K8SNETLAB_RUN": "/nonexistent"}])
def test_nothing_is_asked_where_nothing_is_to_be_done(tmp_path: Path, daemon: Daemon, more: dict[str, str]) -> None:
    done = command(tmp_path, "scale deployment/web --replicas 2", **more)
    daemon.close()
    assert (done.returncode, done.stderr, daemon.asked) == (3, "", b"")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("scale deployment/web --replicas 2", "interrupted: what was begun stays as it is\n"),
        ("status", ""),
    ],
)
def test_who_interrupts_it_then_is_told_what_has_been_begun(
    tmp_path: Path, daemon: Daemon, words: str, said: str
) -> None:
    done = command(tmp_path, words, "KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (130, said)


def test_who_has_no_lab_hears_so_from_the_verb(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "k8snetlab", "status"],
        env={**os.environ, "K8SNETLAB_RUN": str(tmp_path), "K8SNETLAB_LAB": ""},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "error: no lab runs here")
