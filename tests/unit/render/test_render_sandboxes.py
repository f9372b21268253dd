"""A node that is rendered again and again comes out as one that is rendered for the first time."""

from __future__ import annotations

from typing import Any

import msgspec

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.render.bridge import render
from k8snetlab.render.pods import Sandboxes


def pod(name: str, ip: str = "", node: str = "node1", **spec: Any) -> Pod:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "x"}], **spec},
            "status": {"phase": "Running", "podIPs": [{"ip": ip}] if ip else []},
        },
        Pod,
    )


def node(subnet: str, **metadata: Any) -> Node:
    addresses = [{"type": "InternalIP", "address": "192.168.0.21"}]
    fields = {"metadata": {"name": "node1", **metadata}, "spec": {"podCIDRs": [subnet]}}
    return msgspec.convert(fields | {"status": {"addresses": addresses}}, Node)


def lab(**spec: Any) -> Lab:
    return msgspec.convert({"metadata": {"name": "t"}, "spec": spec}, Lab)


def put(obj: Object) -> Change:
    return type(obj), obj.key, obj


STEPS: list[list[Change]] = [
    [put(pod("c", "10.244.1.4"))],
    [put(pod("a", "10.244.1.9"))],
    [put(node("10.244.1.0/24", annotations={"k8snetlab/last-reserved-ip": "10.244.1.9"}))],
    [put(lab(network={"mtu": 1400}))],
    [put(pod("b", "10.244.1.3", hostNetwork=True))],
    [(Pod, ("default", "a"), None), put(pod("d", "10.244.1.2"))],
    [put(node("10.244.7.0/24"))],
    [put(pod("c", "10.244.1.4", node="node2"))],
]


def test_what_is_remembered_is_what_would_be_rendered() -> None:
    snapshot = Snapshot.of([lab(), node("10.244.1.0/24"), pod("a", "10.244.1.2"), pod("b", "10.244.1.3"), pod("new")])
    sandboxes = Sandboxes()
    for step in STEPS:
        before = render(snapshot, "node1", sandboxes)
        assert before == render(snapshot, "node1")
        snapshot = snapshot.changed(step, snapshot.revision + 1)
        assert render(snapshot, "node1", sandboxes) == render(snapshot, "node1") != before or step is STEPS[2]


def test_an_unchanged_pod_keeps_its_sandbox() -> None:
    snapshot = Snapshot.of([lab(), node("10.244.1.0/24"), pod("a", "10.244.1.2"), pod("b", "10.244.1.3")])
    sandboxes = Sandboxes()
    before = render(snapshot, "node1", sandboxes)
    after = render(snapshot.changed([put(pod("b", "10.244.1.8"))], 2), "node1", sandboxes)
    assert after.pods[0] is before.pods[0] and after.pods[1] != before.pods[1]
