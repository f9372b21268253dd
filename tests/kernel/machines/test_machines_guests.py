"""Guests of a lab of two machines: started, seen, read and stopped from the machine that they do not run on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.kernel import processes
from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine, pair

pytestmark = pytest.mark.etcd
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {machines: true}
---
apiVersion: v1
kind: Pod
metadata: {name: far}
spec: {nodeName: node2, containers: [{name: c, ports: [{containerPort: 80}]}]}
"""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    with pair(LAB, tmp_path_factory.mktemp("guests")) as both:
        eventually(lambda: both[0].whole())
        yield both


def running(machine: Machine, marked: str) -> list[int]:
    """The processes in the machine's own network whose command line has a word."""
    found = []
    for pid in processes.pids_in(machine.namespace):
        try:
            held = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if marked.encode() in held and b"k8snetlab" not in held:
            found.append(pid)
    return found


def test_a_guest_on_a_node_of_another_machine(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    words = ("sh", "-c", "echo $KUBECONFIG; exec sleep 5811")
    assert one.run("guest", "start", "afar", "--node", "node2", "--", *words) == "guest afar runs in node2\n"
    assert running(two, "5811") and not running(one, "5811")
    for machine in machines:
        [guest] = machine.json("guest", "list")["guests"]
        assert (guest["name"], guest["node"], guest["state"]) == ("afar", "node2", "Running")
        eventually(lambda machine=machine: machine.run("guest", "logs", "afar").strip())  # type: ignore[misc]
    assert one.run("guest", "stop", "afar") == "guest afar stopped\n"
    assert not running(two, "5811") and not two.json("guest", "list")["guests"]


def test_a_guest_in_a_pod_of_another_machine(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    words = ("sh", "-c", "hostname; exec sleep 5812")
    assert (
        one.run("guest", "start", "inside", "--pod", "far", "--", *words) == "guest inside runs in pod far on node2\n"
    )
    eventually(lambda: one.run("guest", "logs", "inside") == two.run("guest", "logs", "inside") == "far\n")
    two.run("guest", "stop", "inside")
    assert not one.json("guest", "list")["guests"]


def test_what_keeps_a_guest_of_another_machine_is_told_here(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    said = one.run("guest", "start", "typo", "--node", "node2", "--", "nosuchprogram", code=1)
    assert "guest typo in node2 does not run" in said and "nosuchprogram" in said
    one.run("guest", "stop", "typo")


def test_the_interrupt_key_leaves_the_guest_and_says_how_to_end_it(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    two.run("pause", "node2")  # nothing is begun there: the command waits
    starting = one.start("guest", "start", "late", "--node", "node2", "--", "sleep", "5813")
    try:
        eventually(lambda: [guest["name"] for guest in one.json("guest", "list")["guests"]] == ["late"])
        os.kill(starting.pid, signal.SIGINT)
        _, said = starting.communicate(timeout=200)
        assert starting.returncode == 130, said
        assert "guest late stays and is started: `k8snetlab guest stop late` ends it" in said
        assert "Traceback" not in said
    finally:
        starting.kill()
        two.run("resume", "node2")
    eventually(lambda: bool(running(two, "5813")))
    one.run("guest", "stop", "late")
    assert not running(two, "5813")
