"""What verbs wait for, for how long, and what becomes of the others meanwhile: nobody waits for a stranger's pod, for a
node that is paused, or for a client that has gone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.kernel import netns
from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.web import web

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s, labels: {app: %s}}\nspec: {%scontainers: [{name: c}]}\n---\n"
LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {nodes: 2, dns: {enabled: false}}\n---\n"
FILE = LAB + POD % ("one", "one", "nodeName: node1, ") + POD % ("two", "two", "nodeName: node2, ") + web(2, 8080)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes, a pod on each, a Deployment with its Service, and a stranger's pod that fits no node."""
    directory = tmp_path_factory.mktemp("waits")
    lab = Lab(directory)
    (directory / "lab.yaml").write_text(FILE)
    lab.run("up", str(directory / "lab.yaml"))
    lab.run("apply", "-f", "-", stdin=POD % ("stuck", "stuck", "nodeSelector: {disk: none}, "))
    yield lab
    lab.run("down")


@pytest.fixture
def paused(lab: Lab) -> Iterator[Lab]:
    lab.run("pause", "node1")
    yield lab
    lab.run("resume", "node1")
    lab.run("up", file_of(lab))


def file_of(lab: Lab) -> str:
    return str(lab.run_directory.parent / "lab.yaml")


def both(lab: Lab, *words: str, code: int = 0) -> str:
    """What a verb says on both of its streams."""
    done = subprocess.run(lab.command(*words), env=lab.environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_strangers_pod_is_not_waited_for(lab: Lab) -> None:
    pods = {pod["metadata"]["name"]: pod for pod in lab.json("get", "pods")["items"]}
    assert pods["stuck"]["status"]["phase"] == "Pending"
    for words in (["up", file_of(lab)], ["scale", "deploy/web", "--replicas", "3"], ["delete", "pod", "two"]):
        assert "stuck" not in both(lab, *words)
    lab.run("up", file_of(lab))


def test_a_pod_of_ones_own_that_fits_no_node_is_said_so(lab: Lab) -> None:
    name = "misfit"
    done = subprocess.run(
        lab.command("apply", "-f", "-"),
        env=lab.environment,
        capture_output=True,
        text=True,
        timeout=60,
        input=POD % (name, name, "nodeSelector: {disk: none}, "),
    )
    assert "pod default/misfit: 0/2 nodes are available" in done.stderr
    lab.run("delete", "pod", name)


def test_what_goes_on_a_paused_node_is_named_and_not_waited_for(paused: Lab) -> None:
    said = both(paused, "delete", "pod", "one", "--timeout", "20s")
    assert "node1 is paused: nothing was changed there, one stays (resume node1)" in said
    assert "one" in {pod["metadata"]["name"] for pod in paused.json("get", "pods")["items"]}
    assert "node1" not in both(paused, "delete", "pod", "two")  # what is not there concerns nobody
    paused.run("resume", "node1")
    eventually(lambda: "one" not in {pod["metadata"]["name"] for pod in paused.json("get", "pods")["items"]})
    paused.run("pause", "node1")


def test_a_wait_ends_and_says_for_what_it_was(lab: Lab) -> None:
    """Whoever stops the kubelet keeps every pod from starting."""
    kubelet = lab.pids()["kubelet"]
    os.kill(kubelet, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = subprocess.run(
            lab.command("apply", "-f", "-", "--timeout", "3s"),
            env=lab.environment,
            capture_output=True,
            text=True,
            timeout=60,
            input=POD % ("slow", "slow", "nodeName: node1, "),
        )
        assert done.returncode == 1 and time.monotonic() > began + 2
        assert "error: after 3 s still waiting for pod default/slow: ContainerCreating on node1\n" in done.stderr
        assert re.search(r"^waiting [123] s  pod default/slow: ContainerCreating on node1$", done.stderr, re.MULTILINE)
        assert "deleted" in lab.run("delete", "pod", "slow", "--wait=false")
    finally:
        os.kill(kubelet, signal.SIGCONT)
    eventually(lambda: "slow" not in {pod["metadata"]["name"] for pod in lab.json("get", "pods")["items"]})


def test_what_is_being_deleted_already_is_deleted_again_at_once(lab: Lab) -> None:
    """Nothing is written then, so that no agent has anything to follow."""
    kept = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, finalizers: [example.com/mine]}\n"
    lab.run("apply", "-f", "-", stdin=kept)
    for _ in range(2):
        lab.run("delete", "configmap", "kept", "--timeout", "30")


def test_every_verb_says_that_an_agent_fails(lab: Lab) -> None:
    """A namespace cannot be made anew where something else has its name."""
    place = netns.path(lab.netns("node1"))
    try:
        while not place.is_dir():
            netns.delete(lab.netns("node1"))
            with contextlib.suppress(FileExistsError):  # the agent was quicker
                place.mkdir()
        eventually(lambda: "node1: " in "".join(lab.json("status")["problems"]))
        assert "error: node1: " in both(lab, "up", file_of(lab), code=1)
        assert "error: node1: " in both(lab, "delete", "service", "web", code=1)  # a Service is on every node
        said = both(lab, "delete", "pod", "two")  # this one was on node2
        assert "warning: node1: its agent fails: " in said
    finally:
        place.rmdir()
    eventually(lambda: not lab.json("status")["problems"] or "node1" not in str(lab.json("status")["problems"]))
    lab.run("up", file_of(lab))


def test_up_says_first_that_it_deletes_more_than_it_keeps(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    before = lab.json("get", "pods,svc,deploy")["items"]
    said = both(lab, "up", str(tmp_path), code=2)
    assert "this deletes 4 of the 5 objects that `up` brought: " in said and "--yes" in said
    assert [o["metadata"]["uid"] for o in lab.json("get", "pods,svc,deploy")["items"]] == [
        o["metadata"]["uid"] for o in before
    ]
    assert len(lab.json("up", str(tmp_path), "--yes")["deleted"]) == 4
    lab.run("up", file_of(lab))


def test_a_lab_of_another_name_is_refused_by_the_daemon_too(lab: Lab) -> None:
    body = {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "metadata": {"name": "other"}, "spec": {"nodes": 2}}
    answer = rest(lab, "POST", "/apis/k8snetlab/v1alpha1/labs", body)
    assert answer["code"] == 422 and f"this is lab {lab.name}" in answer["message"]


def test_down_goes_on_when_nobody_reads_of_it(tmp_path: Path) -> None:
    other = Lab(tmp_path)
    (tmp_path / "lab.yaml").write_text(LAB + POD % ("one", "one", ""))
    other.run("up", str(tmp_path / "lab.yaml"))
    process = other.start("down")
    assert process.stdout and process.stderr
    process.stdout.close()
    process.stderr.close()
    assert process.wait(200) == 1  # not all of it could be said
    assert other.namespaces() == [] and not (other.run_directory / other.name).exists()


def test_up_and_down_take_turns(tmp_path: Path) -> None:
    other = Lab(tmp_path)
    (tmp_path / "lab.yaml").write_text(LAB)
    for turn in range(4):
        together = [
            other.start(*words) for words in (["up", str(tmp_path / "lab.yaml")], ["down"], ["down"])[turn % 2 :]
        ]
        for process in together:
            said = "".join(process.communicate(timeout=200))
            assert process.returncode in (0, 1) and "Traceback" not in said and "bug" not in said, said
            assert process.returncode == 0 or "error: no lab" in said or "its daemon" in said, said
    other.run("down", code=None)
    assert other.namespaces() == [] and not (other.run_directory / other.name).exists()


def rest(lab: Lab, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    socket = lab.run_directory / lab.name / "api.sock"
    done = subprocess.run(
        ["curl", "-s", "--unix-socket", str(socket), "-X", method, "-H", "Content-Type: application/json"]
        + ["-d", json.dumps(body), f"http://localhost{path}"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
