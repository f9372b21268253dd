"""What a node says that pods may request of it."""

from __future__ import annotations

from k8snetlab.api.core import Node
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.cluster.node_status import capacity, posted
from k8snetlab.controllers.fitting import MAX_PODS, Room


def test_a_full_node_has_room_for_what_manifests_request_whatever_the_machine_has() -> None:
    node = posted(Node(metadata=ObjectMeta(name="node1")), "2026-01-01T00:00:00Z")
    room = Room(node)
    each = {"cpu": 2000, "memory": 8 << 30, "ephemeral-storage": 16 << 30}
    assert not room.lacks({name: MAX_PODS * amount for name, amount in each.items()})
    assert room.lacks({"cpu": 4_000_000}) == ["cpu"]
    assert {name: node.status.capacity[name] for name in capacity()} == capacity()
    assert posted(node, "2026-01-01T00:00:09Z") is node
