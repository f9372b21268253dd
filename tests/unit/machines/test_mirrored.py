"""The leases of a lab of namespaces, which follow from its Nodes: who asks for them after a change finds them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Node
from k8snetlab.api.load import load
from k8snetlab.api.meta import Object
from k8snetlab.api.reading import LAST_RESERVED
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.machines.leases import Leases
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Store
from k8snetlab.supervision import Supervisor

pytestmark = pytest.mark.anyio
KEY = "/coreos.com/network/subnets/10.244.%d.0-24"


def objects(text: str) -> list[Object]:
    return list(load([("lab.yaml", text)]).objects)


def node(number: int) -> Object:
    (made,) = objects(
        f"{{apiVersion: v1, kind: Node, metadata: {{name: node{number}}}, spec: {{podCIDR: 10.244.{number}.0/24}},"
        f" status: {{addresses: [{{type: InternalIP, address: 192.168.0.{20 + number}}}]}}}}"
    )
    return made


def noted(annotation: str) -> Callable[[Node], Node]:
    def change(old: Node) -> Node:
        return replace(old, metadata=replace(old.metadata, annotations={**old.metadata.annotations, annotation: "x"}))

    return change


async def test_a_lease_is_there_once_it_was_waited_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path / "labs"))
    LabPaths("lab").create()
    informer, supervisor = Informer(store), Supervisor()
    await informer.start()
    cluster = Cluster(store, informer)
    leases = Leases(store, cluster, None, LabPaths("lab"), Ledger(LabPaths("lab").ledger))
    assert await leases.mirrored(0.0), "without a Lab there are none"
    (lab,) = objects("{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab}, spec: {nodes: 1}}")
    await cluster.create(lab)
    assert not await leases.mirrored(0.05), "nobody writes them yet"
    for name, run in leases.work.items():
        supervisor.keep(name, run)
    try:
        for number in (1, 2, 3):
            made = await cluster.create(node(number))
            assert isinstance(made, Node) and made.podCIDRs and made.addresses
            waiting = [leases.mirrored(30.0) for _ in range(2)]
            assert await asyncio.gather(*waiting) == [True, True]
            assert await store.get(KEY % number) is not None
        await cluster.edit(made, noted(LAST_RESERVED))
        assert await leases.mirrored(0.0), "which address a pod had last is in no lease"
        await cluster.edit(made, noted("another"))
        assert not await leases.mirrored(0.0)
        assert await leases.mirrored(30.0)
    finally:
        await supervisor.close()
        await informer.close()
