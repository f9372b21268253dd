"""A real kubectl in a real lab: who gets in, who may do what, and what outlives the daemon."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import kubectl
import pytest
import yaml
from kubectl import Kubectl

from k8snetlab.testing import Lab

pytestmark = [
    pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE),
    pytest.mark.lab("two-nodes", scope="module"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def as_user(lab: Lab, home: Path, user: str) -> Kubectl:
    file = home / user
    file.write_text(lab.run("kubeconfig", "--user", user))
    program = kubectl.found()
    assert program
    return Kubectl(program, home, file)


@pytest.fixture
def k(lab: Lab, home: Path) -> Iterator[Kubectl]:
    yield as_user(lab, home, "admin")


def test_kubectl_shows_what_the_lab_shows(lab: Lab, k: Kubectl) -> None:
    wide = {line.split()[0]: line.split() for line in k.run("get", "pods", "-o", "wide", "--no-headers").splitlines()}
    for pod in lab.list("pods", "default"):
        row = wide[pod["metadata"]["name"]]
        assert row[1:3] == ["1/1", "Running"]
        assert row[5:7] == [pod["status"]["podIP"], pod["spec"]["nodeName"]]
    nodes = k.run("get", "nodes", "--no-headers").split()
    assert nodes.count("Ready") == 2
    assert k.run("get", "--raw", "/readyz") == "ok"


def test_a_pod_that_kubectl_makes_is_answered_for_by_its_service(lab: Lab, k: Kubectl) -> None:
    manifest = """
apiVersion: v1
kind: Pod
metadata: {name: made, labels: {app: made}}
spec: {containers: [{name: c, image: any, ports: [{containerPort: 80}]}]}
---
{apiVersion: v1, kind: Service, metadata: {name: made}, spec: {selector: {app: made}, ports: [{port: 80}]}}
"""
    k.run("apply", "-f", "-", stdin=manifest)
    k.run("wait", "--for=condition=Ready", "pod/made", "--timeout=60s")
    k.run("wait", "--for=jsonpath={.subsets[0].addresses[0].ip}", "endpoints/made", "--timeout=60s")
    lab.run("apply", "-f", "-", stdin="{apiVersion: v1, kind: Namespace, metadata: {name: settled}}")
    assert lab.probe("client", "made:80").answeredBy == "made"
    k.run("delete", "pod/made", "service/made")
    assert "made" not in k.run("get", "pods", "-o", "name")


def test_a_viewer_looks_and_changes_nothing(lab: Lab, home: Path) -> None:
    viewer = as_user(lab, home, "view")
    assert "client" in viewer.run("get", "pods", "-o", "name")
    said = viewer.run("delete", "pod", "client", code=1)
    assert 'pods "client" is forbidden: User "view" cannot delete resource "pods" in API group "" in the ' in said
    assert 'cannot patch resource "pods"' in viewer.run("label", "pod", "client", "a=b", code=1)
    assert "an administrator's" in viewer.run("get", "--raw", "/apis/k8snetlab/v1alpha1/store/dump", code=1)


def test_without_credentials_nobody_gets_in(k: Kubectl) -> None:
    cluster = yaml.safe_load(k.kubeconfig.read_text())["clusters"][0]["cluster"]
    ours = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())

    def code(path: str, **headers: str) -> int:
        try:
            with urlopen(Request(cluster["server"] + path, headers=headers), context=ours, timeout=30) as response:
                return response.status
        except HTTPError as error:
            with error:
                assert json.load(error)["reason"] == "Unauthorized"
                return error.code

    assert code("/api/v1/pods") == code("/apis") == code("/api/v1/pods", Authorization="Bearer abc") == 401
    assert code("/apis/k8snetlab/v1alpha1/status") == 401
    assert code("/livez") == code("/version") == 200
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        urlopen(cluster["server"], context=ssl.create_default_context(), timeout=30)


def test_a_kubeconfig_outlives_the_daemon(lab: Lab, k: Kubectl) -> None:
    lab.kill("daemon")
    lab.up("two-nodes")
    assert "client" in k.run("get", "pods", "-o", "name")


def test_the_kubeconfig_is_merged_into_the_one_there_is(lab: Lab, home: Path) -> None:
    file = home / "merged"
    file.write_text("current-context: other\ncontexts: [{name: other, context: {cluster: c, user: u}}]\n")
    lab.environment["KUBECONFIG"] = str(file)
    for _ in range(2):
        lab.run("kubeconfig", "--merge")
    merged = yaml.safe_load(file.read_text())
    assert [one["name"] for one in merged["contexts"]] == ["other", lab.name]
    assert merged["current-context"] == lab.name and file.stat().st_mode & 0o777 == 0o600
    del lab.environment["KUBECONFIG"]


def test_a_command_runs_in_a_pod_and_says_how_it_ended(lab: Lab, k: Kubectl) -> None:
    assert k.run("exec", "client", "--", "hostname") == "client\n"
    assert lab.address_of("pod/client") in k.run("exec", "client", "--", "ip", "-br", "address")
    done = k.try_("exec", "client", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n") and "err\n" in done.stderr
    assert k.try_("exec", "-i", "client", "--", "sort", stdin="b\na\n").stdout == "a\nb\n"
    assert len(k.run("exec", "client", "--", "head", "-c", "3000000", "/dev/zero")) == 3_000_000
    assert "not found" in k.run("exec", "nobody", "--", "true", code=1)
    assert "container nothing" in k.run("exec", "client", "-c", "nothing", "--", "true", code=1)


def test_a_terminal_is_the_commands_own(k: Kubectl) -> None:
    main, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [k.program, "exec", "-it", "client", "--", "sh", "-c", "tty; stty size; read answer; echo got $answer"],
            env=k.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.write(main, b"something\n")
        said = ""
        while "got something" not in said:
            assert select.select([main], [], [], 120)[0], said
            said += os.read(main, 65536).decode()
        assert process.wait(120) == 0
    finally:
        os.close(main)
        os.close(theirs)
    assert "/dev/pts/" in said


def test_a_viewer_runs_nothing_in_a_pod(lab: Lab, home: Path) -> None:
    viewer = as_user(lab, home, "view")
    assert 'cannot create resource "pods/exec"' in viewer.run("exec", "client", "--", "true", code=1)
    assert viewer.run("auth", "can-i", "get", "pods") == "yes\n"
    assert viewer.try_("auth", "can-i", "create", "pods/exec").stdout == "no\n"
    assert "view" in viewer.run("auth", "whoami")


def test_what_a_pod_wrote_is_shown(lab: Lab, k: Kubectl) -> None:
    manifest = """
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec: {containers: [{name: c, image: any, command: [sh, -c, "echo one; echo two; exec sleep 1000"]}]}
"""
    k.run("apply", "-f", "-", stdin=manifest)
    k.run("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s")
    with k.begin("logs", "-f", "talker") as lines:
        assert [lines.readline(), lines.readline()] == ["one\n", "two\n"]
    assert k.run("logs", "talker", "--tail=1") == "two\n"
    assert k.run("logs", "talker", "--since=1h") == "one\ntwo\n"
    k.run("delete", "pod", "talker", "--grace-period=1")


WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
"""


def test_our_own_verbs_know_the_kinds_that_kubectl_brings(lab: Lab, k: Kubectl) -> None:
    k.run("apply", "-f", "-", stdin=WIDGETS)
    k.run("wait", "--for=condition=established", "crd/widgets.example.com", "--timeout=20s")
    made = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: %s}, spec: {size: 3}}"
    k.run("create", "-f", "-", stdin=f"{made % 'one'}\n---\n{made % 'two'}")
    assert [line.split()[:2] for line in lab.run("get", "wd").splitlines()] == [
        ["NAME", "SIZE"],
        ["one", "3"],
        ["two", "3"],
    ]
    assert lab.run("get", "wd").splitlines() == k.run("get", "wd").splitlines()
    assert lab.json("get", "widget", "one")["spec"] == {"size": 3}
    assert "widget/one deleted" in lab.run("delete", "wd", "one")
    assert "not found" in k.run("get", "wd", "one", code=1)
    assert "no kind 'wdx'" in lab.run("get", "wdx", code=2)
    lab.run("delete", "crd", "widgets.example.com")
    assert "no kind 'wd'" in lab.run("get", "wd", code=2)
