"""A lab that this machine cannot hold is refused before anything is built."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from k8snetlab.api.core import Container, Pod, PodSpec
from k8snetlab.api.load import load
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.checkup import room
from k8snetlab.errors import UnsupportedError
from k8snetlab.kernel.limits import Limit, Size, limits

LAB = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {nodes: 3, maxPods: 250}\n---\n"
MACHINES = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec: {machines: true}\n---\n"
PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec: {containers: [{name: c, image: x, command: [sleep, "1"]}, {name: d, image: x, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: of-the-node}
spec: {hostNetwork: true, containers: [{name: c, image: x, command: [sleep, "1"]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 300
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: x, ports: [{containerPort: 80}, {containerPort: 81}]}]}
"""
MOUNTS, NEIGHBOURS = ("mounts", "sysctl -w fs.mount-max=9"), ("ipv4 neighbours", "sysctl -w …=9")


def objects(text: str) -> Sequence[Object]:
    return load([("lab.yaml", text)]).objects


def running(pods: int, *command: str) -> list[Pod]:
    spec = PodSpec(containers=(Container(name="c", image="x", command=command),))
    return [Pod(metadata=ObjectMeta(name=f"pod{number}"), spec=spec) for number in range(pods)]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for 200 pods only, and for 100 pods' neighbours."""
    monkeypatch.setattr(
        room,
        "limits",
        lambda size: [
            Limit(*NEIGHBOURS[:1], 0, size.pods, 100, NEIGHBOURS[1], refuses=False),
            Limit(*MOUNTS[:1], 50, size.pods, 250, MOUNTS[1]),
        ],
    )


def test_the_size_of_a_lab_counts_replicas_commands_and_ports_but_no_pod_of_the_nodes_network() -> None:
    assert room.size_of(objects(LAB + PODS)) == Size(pods=301, nodes=3, commands=2, listeners=601, crowd=250)
    assert room.size_of(objects(LAB + PODS), running(280)).pods == 21
    assert room.size_of(objects(LAB + PODS), running(500)).pods == 0


def test_what_runs_already_takes_no_processes_anew_and_still_its_descriptors() -> None:
    commands = objects(PODS.replace("image: x, ports: [{containerPort: 80}, {containerPort: 81}]", "command: [sleep]"))
    again = room.size_of(commands, running(301, "sleep"))
    assert (again.pods, again.commands) == (0, 1), "the one of the node's network"
    one, all_anew = ({limit.name: limit.wanted for limit in limits(size)} for size in (again, room.size_of(commands)))
    assert (one["processes"], all_anew["processes"]) == (2, 604)
    for name in ("open files of a process", "ipv4 neighbours", "inotify watches"):
        assert one.get(name) == all_anew.get(name), name


@pytest.mark.usefixtures("limited")
def test_what_cannot_be_made_is_refused_with_what_lifts_the_limit() -> None:
    with pytest.raises(UnsupportedError) as refused:
        room.warnings(objects(LAB + PODS), there=())
    assert refused.value.message == "this machine has no room for 301 more pods: mounts 301 beside 50, of 250"
    assert refused.value.hint == MOUNTS[1]


@pytest.mark.usefixtures("limited")
def test_what_only_loses_packets_is_a_warning() -> None:
    (said,) = room.warnings(objects(LAB + PODS), there=running(150))
    assert said.startswith("ipv4 neighbours 151, of 100: ") and said.endswith(f"({NEIGHBOURS[1]})")
    assert room.warnings(objects(LAB + PODS), there=running(250)) == []


@pytest.mark.usefixtures("limited")
def test_pods_that_machines_carry_between_them_are_not_counted_here() -> None:
    assert room.warnings(objects(MACHINES + PODS), there=()) == []


@pytest.mark.usefixtures("limited")
def test_the_doctor_calls_needed_what_would_be_refused() -> None:
    found = [
        (one.name, one.present, one.needed)
        for one in room.features(room.size_of(objects(LAB + PODS), there=running(1)))
    ]
    assert found == [
        ("300 pods: ipv4 neighbours 300, of 100", False, False),
        ("300 pods: mounts 300 beside 50, of 250", False, True),
    ]
