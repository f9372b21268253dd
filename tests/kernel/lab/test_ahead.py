"""A daemon that loads before anybody knows whether it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from k8snetlab.errors import DaemonError
from k8snetlab.lab.ahead import Ahead, ahead
from k8snetlab.messages.changes import UP, Up
from k8snetlab.state.paths import LabPaths
from k8snetlab.testing import Lab

WAIT = 60
LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {nodes: 1, dns: {enabled: false}}\n---\n"
SERVICE = """apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{clusterIP: "{ip}", ports: [{{port: 80}}]}}
"""


def written(directory: Path, text: str) -> Path:
    """A file with it, of a directory after which the lab is called that says no name."""
    file = directory / "small" / "lab.yaml"
    file.parent.mkdir()
    file.write_text(text)
    return file


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path / "run"))
    return tmp_path / "run"


def test_it_touches_nothing_and_ends_with_who_started_it(run: Path) -> None:
    process = Ahead("some").taken("some")
    assert process is not None and process.stdin is not None
    process.stdin.close()
    assert process.wait(WAIT) == 0
    assert not run.exists()


def test_who_does_not_take_it_has_it_ended(run: Path) -> None:
    with ahead("some") as loading:
        assert loading is not None and loading.taken("another") is None
        process = loading._process
    assert process is not None and process.returncode is not None
    assert not run.exists()


def test_it_is_taken_once(run: Path) -> None:
    with ahead("some") as loading:
        assert loading is not None
        taken = loading.taken("some")
        assert taken is not None and loading.taken("some") is None
    assert taken.poll() is None, "who has taken it has it still"
    taken.communicate(timeout=WAIT)


def test_nothing_is_started_beside_a_daemon(run: Path) -> None:
    paths = LabPaths("some")
    paths.create()
    paths.lock.touch()
    with ahead("some") as loading:
        assert loading is None


def test_up_gives_the_lab_the_daemon_that_it_began_with(tmp_path: Path) -> None:
    """Its log holds what it says, though it was started before the log was there."""
    lab, file = Lab(tmp_path), written(tmp_path, LAB)
    try:
        lab.run("up", str(file))
        daemon = lab.pids()["daemon"]
        logged = {Path(f"/proc/{daemon}/fd/{fd}").readlink() for fd in (1, 2)}
        assert logged == {lab.run_directory / lab.name / "daemon.log"}
        kubelet = Path(f"/proc/{lab.pids()['kubelet']}/cmdline").read_bytes().split(b"\0")
        assert b"--names" not in kubelet, "nobody answers names there"
    finally:
        lab.run("down")


def test_the_name_server_begins_with_the_kubelet_and_the_ca_is_there_before_the_daemon(tmp_path: Path) -> None:
    lab, file = Lab(tmp_path), written(tmp_path, "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {nodes: 1}\n")
    try:
        lab.run("up", str(file))
        kubelet = Path(f"/proc/{lab.pids()['kubelet']}/cmdline").read_bytes().split(b"\0")
        assert kubelet[kubelet.index(b"--names") + 1] == lab.name.encode()
        made = (lab.run_directory / lab.name / "api" / "ca.crt").stat().st_mtime_ns
        assert made < (lab.run_directory / lab.name / "kubelet.log").stat().st_mtime_ns
        assert json.loads(lab.run("get", "cm", "kube-root-ca.crt", "-o", "json"))["data"]["ca.crt"].startswith("-----")
    finally:
        lab.run("down")


def test_what_was_handed_to_it_is_up_with_what_was_sent(tmp_path: Path) -> None:
    lab, file = Lab(tmp_path), written(tmp_path, LAB + "---\n".join(SERVICE.format(name=name, ip="") for name in "abc"))
    try:
        lab.run("up", str(file))
        assert {f"service/{name}" for name in "abc"} <= set(lab.run("get", "svc", "-o", "name").split())
        some, count = lab.client.some("Service", 2)
        assert (len(some), count) == (2, 4), "with the Service kubernetes"
        again = lab.run("up", str(file))
        assert "nothing to change" in again, "to a daemon that runs all of it is sent"
    finally:
        lab.run("down")


def test_nothing_is_left_of_a_lab_whose_objects_were_handed_and_do_not_go_together(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    file = written(tmp_path, LAB + "---\n".join(SERVICE.format(name=name, ip="10.96.0.9") for name in "ab"))
    refused = lab.run("up", str(file), code=2)
    assert "already allocated" in refused
    assert not lab.run_directory.exists() or not list(lab.run_directory.iterdir())


def test_a_daemon_refuses_what_it_has_not_been_handed(tmp_path: Path) -> None:
    lab, file = Lab(tmp_path), written(tmp_path, LAB)
    try:
        lab.run("up", str(file))
        for process in (1, lab.pids()["daemon"]):
            with pytest.raises(DaemonError, match="none of the objects"):
                list(lab.client.stream(UP, Up(objects=[], handed=process)))
    finally:
        lab.run("down")


def test_up_goes_where_it_has_no_standard_input(tmp_path: Path) -> None:
    """The objects that it hands on are then in a file of another number than the first that is free."""
    lab, file = Lab(tmp_path), written(tmp_path, f"{LAB}{SERVICE.format(name='web', ip='10.96.0.80')}")
    try:
        words = f"{sys.executable} -m k8snetlab up {file} <&-"
        assert subprocess.run(["sh", "-c", words], env=lab.environment, timeout=WAIT).returncode == 0
        assert [one["metadata"]["name"] for one in lab.client.list("services", "default")] == ["kubernetes", "web"]
    finally:
        lab.run("down")
