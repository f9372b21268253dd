"""`python -m k8snetlab.apiserver`: the API alone over any store, asked by a real kubectl."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from face import service
from kubectl import Kubectl

from k8snetlab.store.serve import EtcdProcess
from k8snetlab.testing.etcd import start_etcd

COMMAND = [sys.executable, "-m", "k8snetlab.apiserver"]
NEWEST = "1.37"


@contextlib.contextmanager
def server(*words: str, code: int = 0) -> Iterator[str]:
    """Where it serves; in the end it is told to end, and does, with that code."""
    with subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            said = process.stderr.readline()
            assert said.startswith("serving at "), said + process.stderr.read()
            yield said.removeprefix("serving at ").strip()
        finally:
            process.terminate()
            assert process.wait(20) == code, process.stderr.read()


@contextlib.contextmanager
def asked(directory: Path, program: str, *words: str) -> Iterator[Kubectl]:
    config = directory / "config"
    with server("--listen", "127.0.0.1:0", "--kubeconfig", str(config), *words):
        yield Kubectl(program, directory, config)


def refused(*words: str) -> tuple[int, str]:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_real_kubectl_is_served_out_of_memory(tmp_path: Path, kubectl_of: Callable[[str], str]) -> None:
    with asked(tmp_path, kubectl_of(NEWEST)) as k:
        assert stat.S_IMODE(k.kubeconfig.stat().st_mode) == 0o600
        names = k.run("get", "namespaces", "-o", "name").split()
        assert names == [f"namespace/{name}" for name in ("default", "kube-node-lease", "kube-public", "kube-system")]
        k.run("create", "deployment", "web", "--image=nginx")
        k.run("expose", "deployment", "web", "--port=80")
        assert k.json("get", "service", "web")["spec"]["clusterIP"].startswith("10.")
        row = k.run("get", "deployment", "web", "--no-headers").split()
        assert row[:4] == ["web", "0/1", "0", "0"]  # nobody makes its pods
        k.run("run", "alone", "--image=nginx")
        assert "runs alone, without a kubelet" in k.run("logs", "alone", code=1)
        assert "runs alone, without a kubelet" in k.run("exec", "alone", "--", "id", code=1)
        assert json.loads(k.run("auth", "whoami", "-o", "json"))["status"]["userInfo"]["groups"][0] == "system:masters"
        without = httpx.get(_url(k) + "/api/v1/pods", verify=False)
        assert without.status_code == 401 and without.json()["kind"] == "Status"


def _url(k: Kubectl) -> str:
    found: str = json.loads(k.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return found


def test_a_file_keeps_objects_and_keys(tmp_path: Path, kubectl_of: Callable[[str], str]) -> None:
    program, store = kubectl_of(NEWEST), ("--store", str(tmp_path / "objects.db"))
    with asked(tmp_path, program, *store) as k:
        k.run("create", "configmap", "kept", "--from-literal=a=b")
        token = k.run("create", "sa", "robot") and k.run("create", "token", "robot").strip()
        code, said = refused(*store, "--listen", "127.0.0.1:0")
        assert code == 1 and "objects.db" in said  # the file is the first one's
    with asked(tmp_path, program, *store) as k:
        assert k.json("get", "configmap", "kept")["data"] == {"a": "b"}
        reply = httpx.get(_url(k) + "/api/v1/namespaces", verify=False, headers={"Authorization": f"Bearer {token}"})
        assert reply.status_code == 200


def test_kubectl_is_served_without_tls_on_loopback(tmp_path: Path, kubectl_of: Callable[[str], str]) -> None:
    with asked(tmp_path, kubectl_of(NEWEST), "--plain") as k:
        assert _url(k).startswith("http://127.0.0.1:")
        assert k.run("create", "ns", "team") == "namespace/team created\n"


def test_a_page_in_a_browser_is_told_nothing_though_all_others_are(tmp_path: Path) -> None:
    with server("--plain", "--listen", "127.0.0.1:0") as where, httpx.Client(base_url=where) as client:
        path, port = "/api/v1/namespaces", where.rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", f"[::1]:{port}", "[::1]"):
            assert client.get(path, headers={"Host": host}).status_code == 200, host
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Host": f"evil.example:{port}"},
            {"Host": "127.0.0.1.evil.example"},
            {"Host": "192.0.2.1"},
        ):
            for reply in (client.get(path, headers=headers), client.post(path, headers=headers, content=b"{}")):
                assert reply.status_code == 403 and reply.json()["kind"] == "Status", headers


def test_a_unix_socket_is_its_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with server("--plain", "--listen", f"unix:{path}") as where:
        assert where == f"unix:{path}" and stat.S_IMODE(path.stat().st_mode) == 0o600
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://x/readyz").text == "ok"
            made = client.post("http://x/api/v1/namespaces/default/services", json=service("web"))
            assert made.status_code == 201
        code, said = refused("--plain", "--listen", f"unix:{path}")
        assert code == 2 and "another program listens there" in said
    assert not path.exists()


def test_what_is_wrong_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words, code, where in (
            (("--listen", "nowhere"), 2, "--listen: 'nowhere'"),
            (("--listen", "127.0.0.1:99999"), 2, "--listen"),
            (("--listen", f"127.0.0.1:{port}"), 2, f"--listen 127.0.0.1:{port}: another program listens there"),
            (("--listen", "192.0.2.1:0"), 2, "192.0.2.1"),
            (("--listen", "0.0.0.0:0", "--plain"), 2, "--plain"),
            (("--listen", "unix:x"), 2, "--plain"),
            (("--lissten", "x"), 2, "command line: unrecognized arguments: --lissten"),
            (("--store", "http://127.0.0.1:9"), 2, "plain http"),
            (("--store", "http://127.0.0.1:9", "--insecure"), 1, "http://127.0.0.1:9"),
            (("--store", "https://127.0.0.1:9", "--ca", str(tmp_path / "no")), 2, str(tmp_path / "no")),
            (("--store", "https://127.0.0.1:9", "--cert", "x"), 2, "belong together"),
            (("--store", str(tmp_path / "no" / "file")), 1, str(tmp_path / "no" / "file")),
            (("--store", "memory", "--ca", "x"), 2, "--ca"),
            (("--listen", "127.0.0.1:0", "--kubeconfig", "/nowhere/config"), 2, "/nowhere/config"),
            (("--listen", "127.0.0.1:0", "--keys", "/dev/null"), 1, "/dev/null"),
        ):
            got, said = refused(*words)
            assert got == code and where in said and "\nhint: " in said, (words, got, said)


def test_the_interrupt_key_ends_it_and_its_watches(tmp_path: Path) -> None:
    with subprocess.Popen([*COMMAND, "--plain", "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True) as one:
        assert one.stderr
        url = one.stderr.readline().removeprefix("serving at ").strip()
        with httpx.stream("GET", f"{url}/api/v1/pods?watch=1", timeout=30) as watch:
            assert watch.status_code == 200
            one.send_signal(signal.SIGINT)
            assert one.wait(20) == 0
        assert "Traceback" not in one.stderr.read()


@pytest.fixture(scope="module")
def own_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """Of its own: what is in it is looked at."""
    process = start_etcd(tmp_path_factory.mktemp("etcd-alone"))
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


@pytest.mark.etcd
def test_servers_of_one_etcd_see_each_others_writes_and_watches(
    own_etcd: EtcdProcess, tmp_path: Path, kubectl_of: Callable[[str], str]
) -> None:
    program, store = kubectl_of(NEWEST), ("--store", own_etcd.endpoint, "--insecure")
    places = [tmp_path / name for name in "ab"]
    for place in places:
        place.mkdir()
    with asked(places[0], program, *store) as a, asked(places[1], program, *store) as b:
        with b.begin("get", "configmaps", "-w", "-o", "name") as seen:
            a.run("create", "configmap", "told", "--from-literal=a=b")
            assert seen.readline() == "configmap/told\n"
            assert b.run("get", "configmaps", "-o", "name") == "configmap/told\n"  # at once
            b.run("delete", "configmap", "told")
        assert a.run("get", "configmaps") == ""
        # One CA and one key of tokens: who is known to one is known to the other.
        token = b.run("create", "token", "robot") if b.run("create", "sa", "robot") else ""
        config = {**a.environment, "KUBECONFIG": "/dev/null"}
        held = json.loads(a.kubeconfig.read_text())["clusters"][0]["cluster"]
        (tmp_path / "ca").write_bytes(b64decode(held["certificate-authority-data"]))
        words = ("--server", held["server"], "--certificate-authority", str(tmp_path / "ca"), "--token", token.strip())
        done = subprocess.run([program, *words, "get", "ns"], env=config, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.mark.etcd
def test_servers_of_one_etcd_give_no_address_twice(own_etcd: EtcdProcess) -> None:
    store = ("--plain", "--listen", "127.0.0.1:0", "--store", own_etcd.endpoint, "--insecure")
    path = "/api/v1/namespaces/default/services"
    with server(*store) as one, server(*store) as two, server(*store) as three, httpx.Client(timeout=60) as client:
        urls = (one, two, three)

        def made(number: int, **spec: Any) -> httpx.Response:
            return client.post(urls[number % 3] + path, json=service(f"s{number}", **spec))

        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(lambda number: made(number, type="NodePort"), range(30)))
            assert {reply.status_code for reply in replies} == {201}
            specs = [reply.json()["spec"] for reply in replies]
            assert len({spec["clusterIP"] for spec in specs}) == 30
            assert len({spec["ports"][0]["nodePort"] for spec in specs}) == 30
            for turn in range(5):  # all want the same at once, and one has it
                asked = [made] * 3
                ip = f"10.96.0.{200 + turn}"
                got = list(pool.map(lambda one, n, ip=ip: one(n, clusterIP=ip), asked, range(100 + 3 * turn, 200)))
                assert sorted(reply.status_code for reply in got) == [201, 422, 422]
                assert all("already allocated" in reply.text for reply in got if reply.status_code == 422)


@pytest.mark.etcd
def test_of_two_writers_one_is_told_of_the_conflict(own_etcd: EtcdProcess) -> None:
    store = ("--plain", "--listen", "127.0.0.1:0", "--store", own_etcd.endpoint, "--insecure")
    path = "/api/v1/namespaces/default/configmaps"
    with server(*store) as one, server(*store) as two, httpx.Client(timeout=60) as client:
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "race"}}

        def post(url: str) -> int:
            return client.post(url + path, json=made).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(post, (one, two))) == [201, 409]
        old = client.get(f"{one}{path}/race").json()
        done = client.put(f"{one}{path}/race", json={**old, "data": {"a": "b"}})
        assert done.status_code == 200
        late = client.put(f"{two}{path}/race", json={**old, "data": {"a": "c"}})
        assert late.status_code == 409 and late.json()["reason"] == "Conflict"
        assert "race" in late.json()["message"] and "/registry" not in late.json()["message"]


@pytest.mark.etcd
def test_the_etcd_of_a_real_cluster_is_left_alone(tmp_path: Path) -> None:
    process = start_etcd(tmp_path)
    try:
        process.wait_ready()
        key = "/registry/services/specs/default/kubernetes"
        environment = {**os.environ, "ETCDCTL_API": "3"}
        put = ["etcdctl", "--endpoints", process.endpoint, "put", key]
        subprocess.run(put, input=b"k8s\0\n\x0d", check=True, env=environment, stdout=subprocess.DEVNULL)
        code, said = refused("--plain", "--listen", "127.0.0.1:0", "--store", process.endpoint, "--insecure")
        assert code == 1 and key in said and "real" in said
    finally:
        process.kill()
