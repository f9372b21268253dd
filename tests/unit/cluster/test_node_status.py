"""What a node says that pods may request of it."""

from __future__ import annotations

from k8snetlab.api.core import Node
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.cluster.node_events import told
from k8snetlab.cluster.node_status import capacity, posted
from k8snetlab.controllers.fitting import MAX_PODS, Room
from k8snetlab.controllers.node_lifecycle import silent_node


def test_a_full_node_has_room_for_what_manifests_request_whatever_the_machine_has() -> None:
    node = posted(Node(metadata=ObjectMeta(name="node1")), "2026-01-01T00:00:00Z")
    room = Room(node)
    each = {"cpu": 2000, "memory": 8 << 30, "ephemeral-storage": 16 << 30}
    assert not room.lacks({name: MAX_PODS * amount for name, amount in each.items()})
    assert room.lacks({"cpu": 4_000_000}) == ["cpu"]
    assert {name: node.status.capacity[name] for name in capacity()} == capacity()
    assert posted(node, "2026-01-01T00:00:09Z") is node


def test_a_kubelet_tells_that_it_starts_and_after_a_boot_that_its_node_was_rebooted() -> None:
    first = Node(metadata=ObjectMeta(name="node1"))
    node = posted(first, "2026-01-01T00:00:00Z")
    starting = ["Starting", "NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"]
    assert [one.reason for one in told(first, node)] == [*starting, "NodeAllocatableEnforced", "NodeReady"]
    lost = silent_node(node, "2026-01-01T00:01:00Z")
    back = posted(lost, "2026-01-01T00:02:00Z")
    assert [one.message for one in told(lost, back)] == ["Node node1 status is now: NodeReady"]
    booted = posted(lost, "2026-01-01T00:02:00Z", "b0075")
    notes = list(told(lost, booted))
    assert [one.reason for one in notes] == [*starting, "Rebooted", "NodeAllocatableEnforced", "NodeReady"]
    assert (notes[4].type, notes[4].message) == ("Warning", "Node node1 has been rebooted, boot id: b0075")
    assert posted(booted, "2026-01-01T00:03:00Z") is booted and not list(told(booted, booted))
