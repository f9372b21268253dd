"""A person at a terminal of 80 columns: no verb of a running lab writes a line that is longer, whole or broken."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.cli.screen import cells
from k8snetlab.testing import Lab

COLUMNS, LINES = 80, 24
MANIFEST = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  dns: {enabled: false}
  nodes: 2
  podCIDR: 10.244.0.0/16,fd00:10:244::/56
  serviceCIDR: 10.96.0.0/12,fd00:10:96::/112
  underlay: {cidr: "192.168.0.0/24,fd00:168::/64", outside: "203.0.113.10/24,2001:db8::10/64"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a-deployment-whose-name-is-quite-long-as-names-can-be}
spec:
  replicas: 3
  selector: {matchLabels: {app: a-label-that-is-not-short-either}}
  template:
    metadata: {labels: {app: a-label-that-is-not-short-either}}
    spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}, {containerPort: 9090}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: picky}
spec: {nodeSelector: {disk: none}, containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {name: a-service-whose-name-is-quite-long-as-names-can-be}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: a-label-that-is-not-short-either}
  ports: [{name: web, port: 80, targetPort: http, nodePort: 30080}, {name: other, port: 90, targetPort: 9090}]
"""
SERVICE = "a-service-whose-name-is-quite-long-as-names-can-be"
VERBS = [
    "up DIRECTORY",
    "status",
    "get pods",
    "get pods -A",
    "get pods -o wide",
    "get all",
    "get all -A -o wide",
    "get nodes -o wide",
    "get endpoints,endpointslices,services -o wide",
    "get events",
    "get subnet",
    "get lease -A",
    "get pod no-such-pod",
    f"rules {SERVICE}",
    "rules",
    f"rules {SERVICE} --diff node1 node2",
    "tables node1",
    "tables client",
    "tables router",
    f"trace client {SERVICE}:80",
    f"trace client {SERVICE}:80 -v",
    "trace outside node1:30080 -v",
    f"probe client {SERVICE}:80",
    f"probe client {SERVICE}:81",
    f"probe client {SERVICE} -p icmp",
    "probe --all",
    "diagnose",
    "capture client node1 --count 1",
    "misses",
    "logs picky",
    "doctor",
    "scale deploy/no-such-thing --replicas 2",
    "store status",
    "trace --help",
    "--help",
]
BROKEN = [
    "status",
    f"rules {SERVICE} --diff node1 node2",
    f"trace client {SERVICE}:80",
    "trace node2 node1:30080 -v",
    "probe --all",
    "diagnose",
]


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Its two ends: ours, and the one to give to a process."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def seen(lab: Lab, words: list[str], end: str = "") -> tuple[str, int]:
    """What a verb writes to a terminal, and its exit code; it is interrupted once `end` was written twice."""
    environment = {key: value for key, value in lab.environment.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    with terminal() as (ours, theirs):
        process = subprocess.Popen(
            lab.command(*words),
            env=environment | {"TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        data, deadline = b"", time.monotonic() + 90
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            data += part
            if end and data.decode(errors="replace").count(end) >= 2:
                process.send_signal(signal.SIGINT)
                end = ""
        return data.decode(), process.wait(timeout=120)


def lines(text: str) -> list[str]:
    """Without colours; what is drawn over again (bars, progress) each time anew."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [line for part in plain.split("\n") for line in part.split("\r")]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("manifests")
    (directory / "lab.yaml").write_text(MANIFEST)
    return directory


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, directory: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.run("up", str(directory), code=1)
    yield lab
    lab.run("down")


def too_long(lab: Lab, verb: str, directory: Path) -> list[str]:
    told, code = seen(lab, verb.replace("DIRECTORY", str(directory)).split())
    assert code in (0, 1), f"{verb}: {told}"
    assert "Traceback" not in told and told.strip(), verb
    return [f"{verb}: {cells(line)}: {line}" for line in lines(told) if cells(line) > COLUMNS]


def test_no_line_is_longer_than_the_terminal(lab: Lab, directory: Path) -> None:
    wrong = [line for verb in VERBS for line in too_long(lab, verb, directory)]
    assert not wrong, "\n".join(wrong)


def test_watched_rules_keep_their_top_and_end_with_ctrl_c(lab: Lab) -> None:
    title = f"service default/{SERVICE} on node1"
    told, code = seen(lab, ["rules", SERVICE, "--watch"], end=title)
    assert code == 0 and "Traceback" not in told
    looks = told.split("\x1b[H")[1:]
    assert len(looks) >= 2
    for look in looks:
        assert look.startswith(title)
        assert look.count("\n") <= LINES
        assert all(cells(line) <= COLUMNS for line in lines(look))


def test_no_line_is_longer_where_something_is_broken(lab: Lab, directory: Path) -> None:
    lab.run("pause", "node1")
    lab.shell("node1", "ip", "link", "set", "flannel.1", "down")
    lab.shell("node1", "iptables", "-t", "nat", "-F", "KUBE-SERVICES")
    wrong = [line for verb in BROKEN for line in too_long(lab, verb, directory)]
    assert not wrong, "\n".join(wrong)
