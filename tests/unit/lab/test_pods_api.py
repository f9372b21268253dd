"""Where pods would look for the API and find none is told."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

from face import face_of
from msgspec.structs import replace

from k8snetlab.api.core import Node, NodeAddress, NodeStatus
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.lab.pods_api import PodsApi


def test_a_machine_without_an_address_of_the_services_family_says_so(monkeypatch: Any) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", "/nonexistent")

    async def told(snapshot: Snapshot) -> str:
        async with face_of() as face:
            agents = Mock(local=lambda now: {name for _, name in now.all(Node)})
            api = PodsApi(face.cluster, agents, Mock(), Mock())
            await api._keep(snapshot)
            return api.problem

    lab = Lab(metadata=ObjectMeta(name="l"))
    lab = replace(lab, spec=replace(lab.spec, serviceCIDR="fd00:96::/112"))
    status = NodeStatus(addresses=(NodeAddress(type="InternalIP", address="192.0.2.1"),))
    node = Node(metadata=ObjectMeta(name="node1"), status=status)
    world = Snapshot().changed([(Lab, lab.key, lab)], 1)
    assert asyncio.run(told(world)) == "", "there are no nodes yet"
    assert asyncio.run(told(world.changed([(Node, node.key, node)], 2))) == (
        "the API cannot be reached from pods: no node of this machine has an IPv6 address, as the Service kubernetes "
        "has (fd00:96::/112)"
    )
