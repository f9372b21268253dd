"""A lab whose store is an etcd: the same lab, and what becomes of it when the store stops, or loses everything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.store.serve import EtcdProcess, serve
from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.etcd import free_port
from k8snetlab.testing.web import client, web

pytestmark = pytest.mark.etcd

SPEC = 'spec: {nodes: 2, dns: {enabled: false}, store: {type: etcd, endpoints: ["%s"], insecure: true}}'
LAB = f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, {SPEC}}}\n" + client("node1") + web(2)


@pytest.fixture
def endpoint() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def etcd(tmp_path: Path, endpoint: str) -> Iterator[EtcdProcess]:
    process = serve(tmp_path / "etcd", endpoint)
    process.wait_ready()
    yield process
    process.stop()


@pytest.fixture
def manifest(tmp_path: Path, endpoint: str) -> Path:
    file = tmp_path / "lab.yaml"
    file.write_text(LAB % endpoint)
    return file


@pytest.fixture
def lab(tmp_path: Path, etcd: EtcdProcess, manifest: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    lab.run("up", str(manifest))
    yield lab
    if lab.run_directory.exists():
        lab.run("down")


def serving(directory: Path, listen: str, name: str = "served") -> subprocess.Popen[str]:
    words = ("store", "serve", "--insecure", "--listen", listen, "--directory", str(directory / name))
    return Lab(directory).start(*words)


def keys(endpoint: str) -> list[str]:
    command = ["etcdctl", "--endpoints", endpoint, "get", "--prefix", "/", "--keys-only"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"ETCDCTL_API": "3"})
    return done.stdout.split()


def test_a_lab_in_etcd_has_kubernetes_keys_and_takes_them_away(lab: Lab, endpoint: str) -> None:
    assert lab.whole()
    held = keys(endpoint)
    for key in (
        "/registry/minions/node1",
        "/registry/pods/default/client",
        "/registry/services/specs/default/web",
        "/registry/services/endpoints/default/web",
        f"/registry/k8snetlab/labs/{lab.name}",
    ):
        assert key in held
    lab.run("scale", "deploy/web", "--replicas", "3")
    eventually(lambda: len(lab.json("get", "pods")["items"]) == 4 and lab.whole())
    state = lab.json("store", "status")
    assert (state["type"], state["where"], state["healthy"]) == ("etcd", [endpoint], True)
    assert (state["objects"]["pods"], state["objects"]["nodes"]) == (4, 2)
    dumped = json.loads(lab.run("store", "dump", "/registry/minions/node1", "-o", "json"))
    assert dumped["key"] == "/registry/minions/node1" and dumped["value"]["spec"]["podCIDR"] == "10.244.1.0/24"
    lab.run("down")
    assert keys(endpoint) == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_store_serve_runs_until_it_is_ended(tmp_path: Path, endpoint: str, end: signal.Signals) -> None:
    process = serving(tmp_path, endpoint)
    assert process.stderr is not None
    assert "etcd answers" in process.stderr.readline()
    assert keys(endpoint) == []
    process.send_signal(end)
    process.communicate(timeout=120)
    assert process.returncode == 0
    with pytest.raises(subprocess.CalledProcessError):
        keys(endpoint)


def test_store_serve_beside_another(tmp_path: Path, etcd: EtcdProcess) -> None:
    """Whose ports for members and metrics are taken."""
    listen = f"http://127.0.0.1:{free_port()}"
    process = serving(tmp_path, listen, "second")
    assert process.stderr is not None
    assert "etcd answers" in process.stderr.readline()
    assert keys(listen) == []
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("listen", "said", "code"),
    [
        ("127.0.0.1:2379", "is no URL for clients", 2),
        ("http://127.0.0.1", "is no URL for clients", 2),
        ("http://127.0.0.1:99999", "is no URL for clients", 2),
        ("http://127.0.0.1:2379\n--name=x", "is no URL for clients", 2),
        ("", "is no URL for clients", 2),
        ("https://127.0.0.1:2379", "--insecure goes with http://", 2),
        ("http://0.0.0.0:2379", "no address that clients can use", 2),
        ("http://192.0.2.1:2379", "cannot assign requested address", 1),
    ],
)
def test_store_serve_says_what_it_cannot_do(tmp_path: Path, listen: str, said: str, code: int) -> None:
    words = ("store", "serve", "--insecure", "--listen", listen, "--directory", str(tmp_path / "served"))
    text = Lab(tmp_path).run(*words, code=code)
    assert said in text and "hint:" in text
    assert "etcd answers" not in text and "stacktrace" not in text


def test_store_serve_where_no_directory_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file exists" in Lab(tmp_path).run("store", "serve", "--directory", str(tmp_path / "file"), code=1).lower()


def test_store_serve_tells_when_its_etcd_dies(tmp_path: Path, endpoint: str) -> None:
    process = serving(tmp_path, endpoint)
    assert process.stderr is not None
    assert "etcd answers" in process.stderr.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "etcd ended" in said


def test_a_stopped_etcd_stops_no_traffic_and_is_said(
    lab: Lab, etcd: EtcdProcess, endpoint: str, tmp_path: Path
) -> None:
    etcd.stop()
    eventually(lambda: not lab.json("status")["store"]["healthy"])
    assert lab.probe("client", "web:80").ok
    assert any("store" in problem for problem in lab.json("status")["problems"])
    assert "etcd does not answer" in lab.run("scale", "deploy/web", "--replicas", "3", code=1)
    lab.shell("node1", "ip", "route", "del", "10.244.2.0/24")
    eventually(lambda: "10.244.2.0/24" in lab.shell("node1", "ip", "route"))
    again = serve(tmp_path / "etcd", endpoint)
    try:
        again.wait_ready()
        eventually(lambda: lab.json("status")["store"]["healthy"])
        lab.run("scale", "deploy/web", "--replicas", "3")
        eventually(lambda: len(lab.json("get", "pods")["items"]) == 4 and lab.whole())
        lab.run("down")
    finally:
        again.stop()


def test_a_lost_store_is_rebuilt_by_up(
    lab: Lab, etcd: EtcdProcess, endpoint: str, tmp_path: Path, manifest: Path
) -> None:
    before = {p["metadata"]["name"]: p["status"]["podIP"] for p in lab.json("get", "pods")["items"]}
    etcd.kill()
    shutil.rmtree(tmp_path / "etcd")
    again = serve(tmp_path / "etcd", endpoint)
    try:
        again.wait_ready()
        eventually(lambda: "lost" in str(lab.json("status")["problems"]))
        assert lab.probe("client", "web:80").ok, "nothing is torn down"
        lab.run("up", str(manifest))
        assert lab.whole()
        after = {p["metadata"]["name"]: p["status"]["podIP"] for p in lab.json("get", "pods")["items"]}
        assert after == before
        assert f"/registry/k8snetlab/labs/{lab.name}" in keys(endpoint)
        lab.run("down")
    finally:
        again.stop()


def test_an_etcd_of_someone_else_is_left_alone(
    tmp_path: Path, etcd: EtcdProcess, endpoint: str, manifest: Path
) -> None:
    command = ["etcdctl", "--endpoints", endpoint, "put", "/registry/minions/real", '{"metadata":{"name":"real"}}']
    subprocess.run(command, check=True, capture_output=True, env={"ETCDCTL_API": "3"})
    lab = Lab(tmp_path)
    said = lab.run("up", str(manifest), code=1)
    assert "real cluster" in said
    assert keys(endpoint) == ["/registry/minions/real"]
    lab.run("down", code=None)
    assert keys(endpoint) == ["/registry/minions/real"]
    assert lab.namespaces() == []


def test_no_etcd_at_all_is_one_clear_sentence(tmp_path: Path, endpoint: str, manifest: Path) -> None:
    lab = Lab(tmp_path)
    said = lab.run("up", str(manifest), code=1)
    assert "etcd does not answer" in said and endpoint in said and "Traceback" not in said
    lab.run("down", code=None)
    assert lab.namespaces() == []
