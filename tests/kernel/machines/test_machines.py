"""A lab of several machines through the real command line: joining, leaving, taking it down, and what is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine, Wire, namespaces, store_on, take_down, url

pytestmark = pytest.mark.etcd
PODS = 4
"""The scenario's three, and the DNS pod."""


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """Two machines; the first serves the store. What they were before they are in the end."""
    directory = tmp_path_factory.mktemp("machines")
    with namespaces() as namespace, ExitStack() as stack:
        wire = Wire(namespace, directory)
        machines = [wire.machine(), wire.machine()]
        before = [machine.state() for machine in machines]
        stack.enter_context(store_on(machines[0], directory))
        stack.callback(lambda: [_compare(m, b) for m, b in zip(machines, before, strict=True)])
        stack.callback(take_down, machines)
        yield wire


@pytest.fixture
def two(wire: Wire) -> tuple[Machine, Machine]:
    one, other, *_ = wire.machines
    return one, other


def _compare(machine: Machine, before: dict[str, str]) -> None:
    after = {what: sorted(text.splitlines()) for what, text in machine.state().items()}
    was = {what: sorted(text.splitlines()) for what, text in before.items()}
    assert after == was, {what: (was[what], lines) for what, lines in after.items() if was[what] != lines}


@pytest.fixture
def lab(two: tuple[Machine, Machine]) -> tuple[Machine, Machine]:
    """The scenario `machines` on both, as it is written, whatever the test before has done to it."""
    one, other = two
    if not held(one):
        first = one.start("up", "machines", "--node", "node1", "--store", url(one), "--insecure")
        said = "".join(first.communicate(timeout=200))
        assert first.returncode == 0, said
        assert "is not declared" not in said, "kube-system is always there"
    if not held(other):
        other.run("node", "join", "--store", url(one), "--insecure", "--name", "node2")
    eventually(lambda: one.whole() and len(ready(one)) == PODS)
    return two


def held(machine: Machine) -> bool:
    return (machine.run_directory / machine.name).exists()


def ready(machine: Machine) -> list[str]:
    pods = machine.json("get", "pods", "-A")["items"]
    return [
        pod["metadata"]["name"]
        for pod in pods
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    ]


def test_a_join_before_the_lab_is_there_is_refused(two: tuple[Machine, Machine]) -> None:
    one, other = two
    said = other.run("node", "join", "--store", url(one), "--insecure", "--name", "node2", code=1)
    assert "holds no lab" in said
    assert f"--store {url(one)}" in said


def test_two_machines_make_one_lab(lab: tuple[Machine, Machine]) -> None:
    """Everyone reaches everyone, seen from both; a machine has what a node of a real cluster has, in its own
    namespace, and by the interface that the others reach it by."""
    for machine, other in (lab, lab[::-1]):
        assert machine.whole()
        link = machine.here("ip", "-d", "link", "show", "flannel.1")
        assert f"local {machine.address} dev eth1" in link
        assert f"dst {other.address}" in machine.here("bridge", "fdb", "show", "dev", "flannel.1")
        assert "KUBE-SERVICES" in machine.here("iptables-save", "-t", "nat")
        assert "cni0" in machine.here("ip", "-o", "-4", "address")
        report = machine.check("machines")
        assert report.ok, report
    nodes = {node["metadata"]["name"]: node for node in lab[1].json("get", "nodes")["items"]}
    for machine in lab:
        annotations = nodes[machine.node]["metadata"]["annotations"]
        assert annotations["flannel.alpha.coreos.com/public-ip"] == machine.address
        assert annotations["k8snetlab/interface"] == "eth1"


def test_up_said_again_on_either_machine_changes_nothing(lab: tuple[Machine, Machine]) -> None:
    for machine in lab:
        outcome = machine.json("up", "machines")
        assert (outcome["created"], outcome["updated"], outcome["deleted"]) == ([], [], [])


def test_a_name_is_answered_on_every_machine(lab: tuple[Machine, Machine]) -> None:
    """The one DNS pod is on one of them; the Service's rules lead there from both."""
    address = lab[0].json("get", "service", "web")["spec"]["clusterIP"]
    pods = lab[0].json("get", "pods")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node1", "node2"}
    for pod in pods:
        said = lab[1].run("exec", pod["metadata"]["name"], "--", "getent", "hosts", "web")
        assert said.split() == [address, "web.default.svc.cluster.local"]


PINNED = """
apiVersion: v1
kind: Pod
metadata: {name: on%(n)s}
spec: {nodeName: node%(n)s, containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
"""


def test_a_fault_is_injected_on_another_machine_named_and_cleared(lab: tuple[Machine, Machine], tmp_path: Path) -> None:
    one, other = lab
    file = tmp_path / "pinned.yaml"
    file.write_text("".join(PINNED % {"n": n} for n in (1, 2)))
    one.run("apply", "-f", str(file))
    eventually(one.whole)
    said = one.run("fault", "inject", "ip-forward", "--node", "node2", code=1)
    assert "node2 is a machine, and `sysctl -w net.ipv4.ip_forward=0` concerns more of this machine" in said
    assert "there are no drills" in one.run("drill", "start", code=2)
    one.run("fault", "inject", "tunnel-down", "--node", "node2")
    for machine in (one, other):
        [fault] = machine.json("fault", "list", "--injected")["faults"]
        assert (fault["name"], fault["node"]) == ("tunnel-down", "node2")
        assert fault["commands"] == ["ip link set flannel.1 down"]
    found = one.json("diagnose", code=1)["findings"][0]
    assert (found["kind"], found["fault"], found["node"], found["object"]) == ("link", "down", "node2", "flannel.1")
    assert one.run("fault", "clear") == "cleared: tunnel-down on node2\n"
    assert ",UP" in other.here("ip", "link", "show", "flannel.1")
    one.run("delete", "-f", str(file))
    eventually(one.whole)


def test_a_machine_that_leaves_is_what_it_was_and_the_lab_goes_on(
    two: tuple[Machine, Machine], lab: tuple[Machine, Machine]
) -> None:
    one, other = lab
    files = [machine.run_directory.parent / "flannel" / "subnet.env" for machine in lab]
    eventually(lambda: ["FLANNEL_SUBNET=10.244.2.1/24" in file.read_text() for file in files] == [False, True])
    other.run("node", "leave")
    assert [file.exists() for file in files] == [True, False]
    assert not other.run_directory.exists() or not list(other.run_directory.iterdir())
    assert [node["metadata"]["name"] for node in one.json("get", "nodes")["items"]] == ["node1"]
    eventually(lambda: other.address not in one.here("bridge", "fdb", "show", "dev", "flannel.1"))
    eventually(lambda: "10.244.2.0/24" not in one.here("ip", "route"))
    assert not one.check("machines").ok, "node2's port does not answer any more"
    other.run("node", "join", "--store", url(one), "--insecure", "--name", "node2")
    eventually(lambda: one.whole() and len(ready(one)) == PODS)


def test_a_name_or_an_address_that_another_machine_has_is_refused(wire: Wire, lab: tuple[Machine, Machine]) -> None:
    one, _ = lab
    third = wire.machine()
    before = third.state()
    said = third.run("node", "join", "--store", url(one), "--insecure", "--name", "node2", code=1)
    assert "node2" in said
    assert "--name" in said
    assert third.state() == before
    assert not (third.run_directory / third.name).exists()
    said = third.run("up", "machines", "--node", "node2", "--store", url(one), "--insecure", code=1)
    assert "another machine is node node2 already" in said
    assert third.state() == before
    assert not (third.run_directory / third.name).exists()
    assert {node["metadata"]["name"] for node in one.json("get", "nodes")["items"]} == {"node1", "node2"}
    assert one.whole()


SERVICES = """
apiVersion: v1
kind: Service
metadata: {{name: {0}-{1}}}
spec: {{type: NodePort, selector: {{app: web}}, ports: [{{port: 80}}]}}
---
"""


def test_what_two_machines_apply_at_once_has_addresses_of_its_own(lab: tuple[Machine, Machine], tmp_path: Path) -> None:
    applying = []
    for machine in lab:
        file = tmp_path / f"{machine.node}.yaml"
        file.write_text("".join(SERVICES.format(machine.node, number) for number in range(40)))
        applying.append(machine.start("apply", "-f", str(file)))
    for process in applying:
        said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    services = lab[0].json("get", "services")["items"]
    specs = [service["spec"] for service in services if service["metadata"]["name"] != "kubernetes"]
    assert len(specs) == 81
    assert len({spec["clusterIP"] for spec in specs}) == 81
    assert len({spec["ports"][0]["nodePort"] for spec in specs}) == 81
    lab[1].run("delete", "-f", str(tmp_path))


def test_an_apply_while_the_leaders_daemon_does_not_answer_gives_addresses(
    lab: tuple[Machine, Machine], tmp_path: Path
) -> None:
    one, other = lab
    pid = one.json("status")["machines"]["node1"]["daemon"]["pid"]
    file = tmp_path / "service.yaml"
    file.write_text(SERVICES.format("late", 1))
    os.kill(pid, signal.SIGSTOP)
    try:
        other.run("apply", "-f", str(file), code=None)
        assert other.json("get", "service", "late-1")["spec"]["clusterIP"]
    finally:
        os.kill(pid, signal.SIGCONT)
    other.run("delete", "-f", str(file))


def test_a_machine_of_one_lab_is_refused_by_another(lab: tuple[Machine, Machine]) -> None:
    one, _ = lab
    one.environment["K8SNETLAB_LAB"] = "another"
    said = one.run("up", "machines", "--node", "node1", "--store", url(one), "--insecure", code=1)
    assert f"a node of lab {one.name} already" in said
    one.environment["K8SNETLAB_LAB"] = one.name


def test_down_on_one_machine_is_heard_on_all(lab: tuple[Machine, Machine]) -> None:
    one, other = lab
    other.run("down")
    eventually(lambda: not (one.run_directory / one.name).exists())
    assert one.here("ip", "netns", "list").count(one.name) == 0
