"""Guests that do not run are findings; those that do are none."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.guest import Guest
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose.guests import failing, nowhere

T = TypeVar("T", bound=Object)


def obj(type_: type[T], name: str, **spec: object) -> T:
    containers = {"containers": [{"name": "c", "image": "i"}]} if type_ is Pod else {}
    return msgspec.convert({"metadata": {"name": name}, "spec": {**containers, **spec}}, type_)


def snapshot(*objects: Object) -> Snapshot:
    return Snapshot().changed([(type(one), one.key, one) for one in objects], 1)


def test_a_warning_of_a_guest_is_a_finding_and_another_one_is_none() -> None:
    said = ["guest kp: it ended with 1; it is begun again, with pauses", "legacy rules are there too"]
    [finding] = failing("node1", said)
    assert (finding.kind, finding.fault, finding.node, finding.object) == ("guest", "failing", "node1", "kp")
    assert finding.show == "k8snetlab guest logs kp"


def test_a_guest_is_nowhere_without_its_node_or_its_pod() -> None:
    node = obj(Node, "node1")
    pods = [obj(Pod, "here", nodeName="node1"), obj(Pod, "waiting")]
    guests = [
        obj(Guest, "a", nodeName="node1", command=["x"]),
        obj(Guest, "b", nodeName="gone", command=["x"]),
        obj(Guest, "c", podName="here", command=["x"]),
        obj(Guest, "d", podName="waiting", command=["x"]),
        obj(Guest, "e", podName="gone", command=["x"]),
    ]
    assert [finding.object for finding in nowhere(snapshot(node, *pods, *guests))] == ["b", "d", "e"]
