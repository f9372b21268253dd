"""Machines as nodes when things die or are broken: traffic goes on, what the lab owns is adopted and mended, and what a
machine was before it is again after all."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from strangers import VARIANTS, crowd
from strangers import state as everything

from k8snetlab.kernel import processes
from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine, Wire, namespaces, store_on, take_down, url

pytestmark = pytest.mark.etcd
PODS = 4
"""The scenario's three, and the DNS pod."""
HOST = """
apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  nodeName: node2
  hostNetwork: true
  containers:
    - {name: answers, image: x, ports: [{containerPort: 8099}]}
    - {name: works, image: x, command: [sleep, "86400"]}
"""
TALKER = """
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec: {nodeName: node2, containers: [{name: c, command: [sh, -c, "echo begun; exec sleep 86400"]}]}
"""


@contextmanager
def two(namespace: Callable[[str], str], directory: Path) -> Iterator[tuple[Machine, Machine]]:
    """The scenario `machines` on two of them; afterwards each is what it was."""
    wire = Wire(namespace, directory)
    one, other = wire.machine(), wire.machine()
    before = state(one), state(other)
    with ExitStack() as stack:
        stack.enter_context(store_on(one, directory))
        stack.callback(take_down, [one, other])
        one.run("up", "machines", "--node", "node1", "--store", url(one), "--insecure")
        other.run("node", "join", "--store", url(one), "--insecure", "--name", "node2")
        eventually(lambda: len(ready(one)) == PODS and one.whole())
        yield one, other
    assert [state(one), state(other)] == [*before]


@pytest.fixture
def machines(namespace: Callable[[str], str], tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    with two(namespace, tmp_path) as both:
        yield both


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    """For tests that leave them as they found them."""
    with namespaces() as namespace, two(namespace, tmp_path_factory.mktemp("lasting")) as both:
        yield both


def state(machine: Machine) -> dict[str, list[str]]:
    """In no order: a device that was down has its IPv6 routes after the others'."""
    return {what: sorted(text.splitlines()) for what, text in machine.state().items()}


def ready(machine: Machine) -> list[str]:
    pods = machine.json("get", "pods", "-A")["items"]
    conditions = {pod["metadata"]["name"]: pod["status"].get("conditions", ()) for pod in pods}
    return [name for name, all_ in conditions.items() if {"type": "Ready", "status": "True"}.items() <= _ready(all_)]


def _ready(conditions: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {item for one in conditions if one["type"] == "Ready" for item in one.items()}


def identity(machine: Machine) -> list[str]:
    """What another daemon must leave as it finds it: devices with their numbers and MACs, and every rule."""
    return [machine.here("ip", "-o", "link"), machine.here("iptables-save"), machine.here("ip", "route")]


def test_another_daemon_takes_over_and_only_who_was_being_answered_notices(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    one.run("apply", "-f", "-", stdin=TALKER)
    follower = one.start("logs", "talker", "-f")
    assert follower.stdout and follower.stdout.readline() == "begun\n"
    found = _without_counters(identity(other))
    other.kill("daemon")
    assert one.probe("client", "web").answeredNode == "node2"
    other.run("node", "join", "--store", url(one), "--insecure", "--name", "node2")
    eventually(lambda: one.whole() and other.whole())
    assert _without_counters(identity(other)) == found
    output, error = follower.communicate(timeout=120)
    assert (output, follower.returncode) == ("", 1)
    assert error.startswith("error: node2: its daemon went away while it answered\n")


def _without_counters(texts: list[str]) -> list[str]:
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("#")]
    return [line.partition(" [")[0] if line.startswith(":") else line for line in lines]


def test_a_machine_whose_processes_were_killed_can_still_leave(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    one.run("apply", "-f", "-", stdin=HOST)
    working = f"K8SNETLAB_LOGS={other.run_directory / other.name}/pods/default/host"
    assert len(processes.with_environment(other.namespace, working, below=True)) == 2, "command and pause"
    assert one.probe("client", f"{other.address}:8099").answeredBy == "host"
    other.kill("kubelet", "daemon")
    other.run("node", "leave", "--force")
    assert processes.with_environment(other.namespace, working, below=True) == []
    assert "KUBE-" not in other.here("iptables-save")


def test_a_leave_that_was_interrupted_is_finished_by_another(machines: tuple[Machine, Machine]) -> None:
    """Also when the store has been told already, and the daemon that told it is gone."""
    _, other = machines
    directory = other.run_directory / other.name
    leaving = other.start("node", "leave")
    while (directory / "api.sock").exists() and leaving.poll() is None:
        pass  # what comes after it does not last long
    leaving.send_signal(signal.SIGINT)
    leaving.communicate(timeout=120)
    if directory.exists():
        other.run("node", "leave")
    assert not directory.exists()


@pytest.mark.parametrize(
    "break_it",
    [
        "ip link del cni0",
        "ip link del flannel.1",
        "ip route del 10.244.1.0/24",
        "sysctl -qw net.ipv4.ip_forward=0",
        "iptables -t nat -F KUBE-SERVICES",
        "ip link set eth1 down",
    ],
)
def test_what_is_broken_on_a_machine_is_mended(lasting: tuple[Machine, Machine], break_it: str) -> None:
    one, other = lasting
    other.here(*break_it.split())
    if "eth1" in break_it:
        other.here("ip", "link", "set", "eth1", "up")
    eventually(lambda: not other.json("status")["problems"] and one.whole())


@pytest.mark.parametrize("variant", VARIANTS)
def test_down_leaves_a_machine_that_others_use_as_it_was(
    namespace: Callable[[str], str], tmp_path: Path, variant: str
) -> None:
    """By the ledger alone: nothing of the lab lives when `down` is said, and its store neither."""
    wire, scenario = Wire(namespace, tmp_path), tmp_path / "scenario"
    one, other = wire.machine(), wire.machine()
    scenario.mkdir()
    (scenario / "lab.yaml").write_text(LAB.replace("VARIANT", variant))
    crowd(other, variant)
    before = everything(other)
    with store_on(one, tmp_path):
        other.run("up", str(scenario), "--node", "node2", "--store", url(one), "--insecure")
        assert other.probe("node2", "web").answeredNode == "node2"
        other.kill("daemon", "kubelet")
    other.run("down")
    assert everything(other) == before


LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {machines: true, dns: {enabled: false}, podCIDR: 10.200.0.0/16, proxy: {iptables: VARIANT}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, type: NodePort, ports: [{port: 80, nodePort: 30080}]}
"""
