"""The agents of a running lab: none dies unseen, and what others undo is put back."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from k8snetlab.client.client import Client
from k8snetlab.dataplane.links import Veth
from k8snetlab.errors import K8sNetLabError, NotFoundError
from k8snetlab.kernel import netns
from k8snetlab.kernel.read import read
from k8snetlab.testing import Lab, eventually, kill

PODS = ("a", "b", "c")
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 80}]}]}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("agents")
    (directory / "lab.yaml").write_text(LAB + "".join(POD % name for name in PODS))
    (directory / "pods.yaml").write_text("".join(POD % name for name in PODS))
    lab = Lab(directory)
    try:
        lab.run("up", str(directory / "lab.yaml"))
        yield lab
    finally:
        subprocess.run(lab.command("down"), env=lab.environment, capture_output=True, timeout=200)


@pytest.fixture
def pods(lab: Lab) -> Path:
    return lab.run_directory.parent / "pods.yaml"


def test_agents_outlive_pods_that_come_and_go_beside_clients(
    lab: Lab, pods: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that a sandbox's monitor had is a client's connection at once."""
    monkeypatch.setenv("K8SNETLAB_RUN", str(lab.run_directory))
    ended = threading.Event()

    def poll() -> None:
        while not ended.is_set():
            with contextlib.suppress(K8sNetLabError):
                Client(lab.name).list("Pod")

    clients = [threading.Thread(target=poll) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for _ in range(4):
            lab.run("delete", "pod", *PODS)
            lab.run("apply", "-f", str(pods))
    finally:
        ended.set()
        for client in clients:
            client.join()
    status = lab.json("status")
    assert status["problems"] == [] and status["failures"] == []
    lab.shell("node1", "ip", "link", "set", "cni0", "down")
    eventually(lambda: "UP" in lab.shell("node1", "ip", "link", "show", "cni0").partition(">")[0])
    assert lab.probe("a", "b").ok


def held(lab: Lab, *names: str) -> dict[str, tuple[list[object], ...]]:
    """What is in the namespaces, without what the kernel gives each device anew: indexes and, of some, addresses."""
    states = {name: read(lab.netns(*name.split("."))) for name in names}
    return {
        name: (
            sorted(
                (type(x).__name__, x.name, x.mtu, x.up, getattr(x, "master", ""), x.mac if x.name in FIXED else "")
                for x in state.links
            ),
            sorted((a.dev, a.address) for a in state.addresses),
            sorted((r.dst, r.dev, r.via, r.onlink) for r in state.routes),
            sorted((n.dev, n.dst) for n in state.neighbours if n.state == "PERMANENT"),
            sorted((f.dev, f.lladdr, f.dst) for f in state.fdb),
        )
        for name, state in states.items()
    }


FIXED = ("eth0", "cni0", "underlay0", "flannel.1")
WHERE = ("node1", "node2", "router", "outside", "default.a", "default.b", "default.c")
UNDOINGS = {
    "a pod's namespace deleted": "ip netns del {ns}.default.a",
    "a node's namespace deleted": "ip netns del {ns}.node2",
    "the router's namespace deleted": "ip netns del {ns}.router",
    "a pod's namespace unmounted": "umount /run/netns/{ns}.default.b",
    "a pod's namespace replaced": "ip netns del {ns}.default.a && ip netns add {ns}.default.a",
    "a pod's eth0 deleted": "ip -n {ns}.default.a link del eth0",
    "a pod's eth0 renamed": "ip -n {ns}.default.b link set eth0 name ethx",
    "a pod's eth0 moved": "ip -n {ns}.default.b link set eth0 netns {ns}.outside name lost",
    "a pod's veth moved": "ip -n {ns}.node1 link set $veth netns {ns}.node2",
    "a pod's veth renamed": "ip -n {ns}.node1 link set $veth name mine",
    "a pod's eth0 is another device": r"printf 'l del eth0\nl add eth0 type dummy' | ip -n {ns}.default.c -b -; true",
    "a node's eth0 renamed": "ip -n {ns}.node2 link set eth0 name ethx",
    "a node's eth0 deleted": "ip -n {ns}.node2 link del eth0",
    "the router's address changed": "ip -n {ns}.router link set underlay0 address 02:00:00:00:00:01",
    "a node's address changed": "ip -n {ns}.node1 link set eth0 address 02:00:00:00:00:02",
    "a pod's address changed": "ip -n {ns}.default.a link set eth0 address 02:00:00:00:00:03",
    "the router's port renamed": "ip -n {ns}.router link set node1 name mine",
    "the outside host's eth0 renamed": "ip -n {ns}.outside link set eth0 name ethx",
}


def test_what_others_take_away_is_put_back(lab: Lab) -> None:
    for undoing, command in UNDOINGS.items():
        before = held(lab, *WHERE)
        ports = [x.name for x in read(lab.netns("node1")).links if isinstance(x, Veth) and x.master == "cni0"]
        command = command.format(ns=lab.name).replace("$veth", ports[0])
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, f"{undoing}: {done.stderr}"
        try:
            eventually(partial(whole, lab, before))
        except AssertionError:
            pytest.fail(f"{undoing}: {lab.json('status')['problems']}\n{lab.logs()}")
    eventually(lambda: lab.whole())
    eventually(lambda: not lab.json("status")["problems"])


def whole(lab: Lab, before: object) -> bool:
    with contextlib.suppress(K8sNetLabError):
        return held(lab, *WHERE) == before
    return False


@pytest.mark.parametrize("moment", [0.2, 0.3, 0.4, 0.5])
def test_a_daemon_killed_amid_a_deletion_leaves_nothing_in_the_way(lab: Lab, pods: Path, moment: float) -> None:
    before = shape(lab)
    pid = lab.pids()["daemon"]
    deleting = lab.start("delete", "-f", str(pods))
    time.sleep(moment)
    kill(pid)
    deleting.communicate(timeout=200)
    lab.run("up", str(pods.parent / "lab.yaml"))
    assert shape(lab) == before
    assert lab.whole()
    assert lab.json("status")["problems"] == []


def test_a_pod_deleted_by_force_while_its_node_was_paused_and_the_daemon_died(
    lab: Lab, pods: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(lab.run_directory))
    before = shape(lab)
    lab.run("pause", "node1")
    Client(lab.name).delete_object("Pod", "a", force=True)
    Client(lab.name).delete_object("Pod", "b", force=True)
    pid = lab.pids()["daemon"]
    kill(pid)
    up = lab.start("up", str(pods.parent / "lab.yaml"))
    try:
        eventually(lambda: lab.run("status", code=None) and lab.pids()["daemon"] != pid)
        lab.run("resume", "node1")
    finally:
        up.communicate(timeout=200)

    def as_before() -> bool:
        with contextlib.suppress(NotFoundError):  # of the old pods, which answer until they are taken away
            return lab.whole() and shape(lab) == before
        return False

    eventually(as_before)
    assert lab.json("status")["problems"] == []


def test_a_node_that_went_while_its_daemon_died_is_unmade(lab: Lab, pods: Path) -> None:
    """With its pods; and it comes back clean under its name."""

    def mac() -> str:
        return next(link.mac for link in read(lab.netns("router")).links if link.name == "underlay0")

    before, fixed = shape(lab), mac()
    assert fixed.startswith("0a:58:"), "as the CNI plugins make addresses: locally administered"
    file = pods.parent / "small.yaml"
    file.write_text(LAB.replace("nodes: 2", "nodes: [{name: node1}]") + POD % "a")
    pid = lab.pids()["daemon"]
    up = lab.start("up", "--yes", str(file)) if "--yes" in lab.run("up", "--help") else lab.start("up", str(file))
    time.sleep(0.4)
    kill(pid)
    up.communicate(timeout=200)
    lab.run(*up.args[3:])
    assert mac() == fixed, "whichever port goes"
    assert reaches_outside(lab)
    assert lab.namespaces() == [lab.netns(*name) for name in (("default", "a"), ("node1",), ("outside",), ("router",))]
    lab.run("up", str(pods.parent / "lab.yaml"))
    assert mac() == fixed
    assert reaches_outside(lab)
    assert shape(lab) == before
    assert lab.whole()


def reaches_outside(lab: Lab) -> bool:
    """At once, from pod a: nobody listens there, and the host says so."""
    with netns.inside(lab.netns("default", "a")), socket.socket() as sock:
        sock.settimeout(30)
        try:
            sock.connect(("203.0.113.10", 9))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return True


def shape(lab: Lab) -> dict[str, object]:
    """What is in the namespaces, as far as pods that are made anew have the same: how many addresses, not which."""
    found = held(lab, *WHERE)
    return {name: tuple(len(part) for part in parts) for name, parts in found.items()}  # type: ignore[arg-type]
