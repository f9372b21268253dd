"""Machines whose leases end: what the others then say and do, and how all of it comes back."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from k8snetlab.store.serve import EtcdProcess
from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine, Wire, namespaces, store_on, take_down, url
from k8snetlab.testing.web import client, web

pytestmark = pytest.mark.etcd

LAB = (
    "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: %s},"
    " spec: {dns: {enabled: false}, network: {leaseTTL: 5}}}\n"
)


class Three:
    """Three machines of one lab, each with a web pod; the store is on the first one, which also has the client."""

    etcd: EtcdProcess

    def __init__(self, wire: Wire, directory: Path) -> None:
        self.wire = wire
        self.one, self.two, self.three = self.all = [wire.machine() for _ in range(3)]
        self.files = directory / "lab.yaml"
        self.files.write_text(LAB % wire.lab + client("node1") + web(3))
        self._subnets: dict[str, str] = {}

    def up(self) -> None:
        self.one.run("up", str(self.files), "--node", "node1", "--store", url(self.one), "--insecure")

    def join(self, machine: Machine) -> None:
        machine.run("node", "join", "--store", url(self.one), "--insecure", "--name", machine.node)

    def gather(self) -> None:
        """All machines are part of it, each with a web pod, whatever was before."""
        if all(map(answers, self.all)) and self.gathered():
            return
        self.up()
        self.join(self.two)
        self.join(self.three)
        self.one.run("scale", "deploy/web", "--replicas", "0")
        eventually(lambda: not self.pods())
        self.one.run("scale", "deploy/web", "--replicas", "3")
        eventually(lambda: len(self.pods()) == 3 and self.one.whole())

    def gathered(self) -> bool:
        web = self.one.raw("/apis/apps/v1/namespaces/default/deployments/web")
        return web["spec"]["replicas"] == 3 and len(self.pods()) == 3 and self.one.whole()

    def pods(self) -> dict[str, dict[str, Any]]:
        """Of each node the status of its web pod, as the first machine has it."""
        items = self.one.raw("/api/v1/namespaces/default/pods")["items"]
        return {p["spec"]["nodeName"]: p["status"] for p in items if p["metadata"]["name"].startswith("web")}

    def condition(self, node: str, type_: str) -> str:
        conditions = self.one.raw(f"/api/v1/nodes/{node}")["status"]["conditions"]
        return next((c["status"] + " " + c.get("reason", "") for c in conditions if c["type"] == type_), "")

    def entries(self, machine: Machine, to: Machine) -> int:
        """How many routes, neighbours and forwarding entries of the overlay lead from one machine to another."""
        if to.node not in self._subnets:
            self._subnets = {lease["node"]: lease["subnets"][0] for lease in self.one.json("get", "subnet")["items"]}
        subnet = self._subnets[to.node]
        said = [
            machine.here("ip", "route", "show", subnet),
            machine.here("ip", "neigh", "show", subnet.replace("/24", ""), "dev", "flannel.1"),
            *(line for line in machine.here("bridge", "fdb").splitlines() if f"dst {to.address} " in line),
        ]
        return sum(bool(text.strip()) for text in said)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    directory = tmp_path_factory.mktemp("leases")
    with namespaces() as namespace, ExitStack() as stack:
        three = Three(Wire(namespace, directory), directory)
        three.etcd = stack.enter_context(store_on(three.one, directory))
        stack.callback(take_down, three.all)
        yield three


@pytest.fixture
def three(lab: Three) -> Three:
    lab.gather()
    return lab


def answers(machine: Machine) -> bool:
    """Whether a daemon of the lab runs on it."""
    with socket.socket(socket.AF_UNIX) as end:
        return not end.connect_ex(str(machine.run_directory / machine.name / "api.sock"))


def store_keys(machine: Machine, prefix: str) -> list[str]:
    return etcdctl(machine, "get", "--prefix", prefix, "--keys-only").split()


def etcdctl(machine: Machine, *words: str) -> str:
    command = ["nsenter", f"--net=/run/netns/{machine.namespace}", "etcdctl", "--endpoints", url(machine)]
    environment = {**os.environ, "ETCDCTL_API": "3"}
    return subprocess.run([*command, *words], capture_output=True, text=True, check=True, env=environment).stdout


@pytest.mark.timeout(900)
def test_a_dead_machine_is_lost_to_the_others_and_found_again(three: Three) -> None:
    one, two, third = three.all
    assert three.entries(one, two) == three.entries(third, two) == 3
    had = two.json("get", "subnet", "node2")["subnets"]
    two.kill("daemon", "kubelet")
    three.wire.cut(two)
    eventually(lambda: three.condition("node2", "NetworkUnavailable") == "True FlannelLeaseExpired")
    eventually(lambda: three.entries(one, two) == three.entries(third, two) == 0)
    assert three.entries(one, third) == 3, "and only those"
    assert "nobody holds it" in one.run("get", "subnet", "node2")
    eventually(lambda: three.condition("node2", "Ready") == "Unknown NodeStatusUnknown")
    eventually(lambda: three.pods()["node2"].get("reason") == "NodeLost")
    rows = {line.split()[-1]: line for line in one.run("get", "pods").splitlines() if line.startswith("web")}
    assert "NodeLost" in rows["node2"] and "Running" in rows["node1"]
    assert "NotReady" in next(line for line in one.run("get", "nodes").splitlines() if line.startswith("node2"))
    assert any("node2 which was running" in problem for problem in one.json("status")["problems"])
    eventually(lambda: one.run("get", "endpoints", "web").count(":80") == 2)
    # What the API tells the node's kernel has a moment later.
    eventually(lambda: {one.probe("client", "web").answeredNode for _ in range(20)} == {"node1", "node3"})

    three.wire.mend(two)
    three.join(two)
    assert two.json("get", "subnet", "node2")["subnets"] == had
    eventually(lambda: three.condition("node2", "NetworkUnavailable") == "False FlannelIsUp")
    eventually(lambda: three.condition("node2", "Ready") == "True KubeletReady")
    eventually(lambda: three.entries(one, two) == three.entries(third, two) == 3)
    eventually(lambda: one.whole() and two.whole())
    eventually(lambda: "reason" not in three.pods()["node2"])


@pytest.mark.timeout(900)
def test_a_machine_that_was_cut_off_comes_back_by_itself(three: Three) -> None:
    """Its daemon lives all the while, and tears nothing down: it does not know better than the store."""
    one, two, _ = three.all
    three.wire.cut(two)
    eventually(lambda: three.pods()["node2"].get("reason") == "NodeLost")
    assert three.entries(two, one) == 3, "what it had it keeps"
    assert three.entries(one, two) == 0
    three.wire.mend(two)
    eventually(lambda: three.condition("node2", "Ready") == "True KubeletReady")
    eventually(lambda: three.entries(one, two) == 3)
    eventually(lambda: one.whole() and two.whole())


@pytest.mark.timeout(900)
def test_when_the_leader_dies_another_runs_the_controllers(three: Three) -> None:
    one = three.one

    def leader() -> str:
        command = [
            "nsenter",
            f"--net=/run/netns/{one.namespace}",
            "etcdctl",
            "--endpoints",
            url(one),
            "get",
            "/registry/leases/kube-system/kube-controller-manager",
            "--print-value-only",
        ]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "3"})
        return str(json.loads(done.stdout)["spec"]["holderIdentity"]).partition("_")[0] if done.stdout else ""

    first = leader()
    dead = next(machine for machine in three.all if machine.node == first)
    alive = [machine for machine in three.all if machine is not dead]
    dead.kill("daemon")
    alive[0].run("scale", "deploy/web", "--replicas", "6", code=None)
    eventually(lambda: leader() not in ("", first))
    eventually(lambda: len([p for p in alive[1].json("get", "pods")["items"] if p["status"].get("podIP")]) == 7)


@pytest.mark.timeout(900)
def test_a_machine_that_leaves_takes_its_leases_and_pods_along(three: Three) -> None:
    one, two, _ = three.all
    key = next(lease["key"] for lease in one.json("get", "subnet")["items"] if lease["node"] == "node2")
    assert {key, "/registry/leases/kube-node-lease/node2"} < {
        *store_keys(one, "/coreos"),
        *store_keys(one, "/registry"),
    }
    two.run("node", "leave")
    held = {*store_keys(one, "/coreos"), *store_keys(one, "/registry")}
    assert not {key, "/registry/leases/kube-node-lease/node2", "/registry/minions/node2"} & held
    eventually(lambda: len(one.json("get", "pods")["items"]) == 4)
    eventually(lambda: len(three.pods()) == 2 and one.whole())  # its pod runs elsewhere


@pytest.mark.timeout(900)
def test_a_silent_store_is_asked_once_for_all_nodes_and_ways(three: Three) -> None:
    """Each question takes as long as the store is waited for; a verb that asked for each node or way would not end."""
    assert three.etcd
    three.etcd.pause()
    try:
        eventually(lambda: not three.two.json("status")["store"]["healthy"])
        findings = three.two.json("diagnose", "--predict-only", code=1)["findings"]
        assert {finding["kind"] for finding in findings} >= {"store", "daemon"}
        assert [lease["left"] for lease in three.two.json("get", "subnet")["items"]] == [None] * 3
    finally:
        three.etcd.resume()


@pytest.mark.timeout(900)
def test_a_machine_that_cannot_tell_the_store_stays_a_node(three: Three) -> None:
    one, two, _ = three.all
    beat = "/registry/leases/kube-node-lease/node2"
    assert three.etcd
    three.etcd.pause()
    try:
        assert "--force" in two.run("node", "leave", code=1)
    finally:
        three.etcd.resume()
    etcdctl(one, "del", beat)
    eventually(lambda: beat in store_keys(one, beat))
    # What was asked of the store while it stood still may be written when it goes on, and is taken back then.
    eventually(lambda: not one.json("get", "node", "node2")["spec"].get("unschedulable"))
    eventually(lambda: len(three.pods()) == 3 and one.whole())


@pytest.mark.timeout(900)
def test_a_store_that_lost_everything_ends_no_lease(three: Three, tmp_path: Path) -> None:
    """Nothing is torn down, nobody is lost; `up` puts everything back, and every node has the subnet it had.

    The last one, as it ends the store that the others share.
    """
    one, two, third = three.all
    had = {lease["node"]: lease["key"] for lease in one.json("get", "subnet")["items"]}
    three.etcd.kill()
    with store_on(one, tmp_path):
        eventually(lambda: "lost" in str(one.json("status")["problems"]))
        assert one.probe("client", "web").ok
        assert three.entries(one, two) == three.entries(two, third) == 3
        three.up()
        eventually(lambda: set(store_keys(one, "/coreos.com/network/subnets/")) == set(had.values()))
        assert {lease["node"]: lease["key"] for lease in two.json("get", "subnet")["items"]} == had
        eventually(lambda: one.whole() and two.whole())
        assert three.entries(one, two) == three.entries(two, third) == 3
        take_down(three.all)
