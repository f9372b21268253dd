"""A namespace of somebody's own, plugged in as a pod, and unplugged again; labs' and the machine's own are refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.kernel import netns
from k8snetlab.testing import Lab, eventually, madeup, running

pytestmark = pytest.mark.lab("lessons/08-service", scope="module")


@pytest.fixture
def own() -> Iterator[str]:
    name = madeup.name("own-")
    netns.create(name)
    yield name
    netns.delete(name)


def inside(own: str, *command: str) -> str:
    return subprocess.run(["ip", "netns", "exec", own, *command], capture_output=True, text=True, check=True).stdout


def test_an_attached_namespace_is_a_pod_until_it_is_detached(lab: Lab, own: str) -> None:
    number, named = netns.inode(own), set(lab.namespaces())
    plugged = lab.json("attach", own, "--node", "node1", "--name", "mine")
    assert plugged["ip"].startswith("10.244.1.") and plugged["gateway"] == "10.244.1.1" and plugged["attached"] == own
    assert plugged["ip"] in inside(own, "ip", "-br", "addr", "show", "eth0")
    result = lab.probe("mine", "front:80")
    assert (result.answeredBy, result.client) == ("shop", plugged["ip"])
    trace = lab.trace("node2", "mine", "-p", "icmp")
    assert trace.fate == "answered" and trace.observed and trace.observed.agrees
    assert lab.diagnose().findings == ()
    assert "a namespace of a lab" in lab.run("attach", own, "--node", "node1", "--name", "twice", code=1)
    lab.run("detach", "mine")
    assert netns.inode(own) == number and set(lab.namespaces()) == named
    assert "eth0" not in inside(own, "ip", "-br", "link")
    assert lab.run("audit", code=None).find(own) < 0


def test_a_process_brings_its_namespace_and_keeps_it_after_the_lab_let_go(lab: Lab, own: str) -> None:
    process = subprocess.Popen(["ip", "netns", "exec", own, "sleep", "1000"])
    try:
        eventually(lambda: Path(f"/proc/{process.pid}/ns/net").stat().st_ino == netns.inode(own))
        netns.delete(own)  # it lives by its process alone
        plugged = lab.json("attach", str(process.pid), "--node", "node2")
        assert plugged["pod"] == f"default/pid-{process.pid}" and plugged["ip"].startswith("10.244.2.")
        assert lab.probe("client", f"pid-{process.pid}", "-p", "icmp").reached
        assert not [name for name in netns.names() if name.startswith("attach-") and name.endswith(f"-{process.pid}")]
        lab.run("delete", "pod", f"pid-{process.pid}")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_what_is_no_namespace_of_ones_own_is_refused_and_nothing_is_left(lab: Lab, own: str) -> None:
    before = set(lab.namespaces())
    assert "the machine's own network" in lab.run("attach", str(os.getpid()), "--node", "node1", code=1)
    assert "a namespace of a lab" in lab.run("attach", lab.netns("node1"), "--node", "node2", code=1)
    assert "no network namespace" in lab.run("attach", f"{own}-not", "--node", "node1", code=1)
    assert "process" in lab.run("attach", "4194303", "--node", "node1", code=1)
    assert "nowhere" in lab.run("attach", own, "--node", "nowhere", code=1)
    assert "cannot name" in lab.run("attach", "../x", "--node", "node1", "--name", "x", code=2)
    lab.run("attach", own, "--node", "node1", "--name", "Not_A_Name", code=2)
    assert "client" in lab.run("attach", own, "--node", "node1", "--name", "client", code=1)
    inside(own, "ip", "link", "add", "eth0", "type", "bridge")
    assert "has a device eth0" in lab.run("attach", own, "--node", "node1", code=1)
    assert "was not attached" in lab.run("detach", "client", code=2)
    assert set(lab.namespaces()) == before


def test_down_unplugs_what_is_attached_and_leaves_it(own: str) -> None:
    with running("lessons/01-pod") as other:
        other.run("attach", own, "--node", "node1")
        other.down()
        assert other.namespaces() == []
    assert netns.exists(own)
