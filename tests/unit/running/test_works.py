"""What a node finds in /etc: written once, and anew for another node of its name."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.running import etcs
from k8snetlab.running.works import Works
from k8snetlab.testing.services import node


def test_a_node_that_comes_back_has_its_files_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def write(one: Node, _: Snapshot) -> None:
        written.append(one.metadata.uid)

    monkeypatch.setattr(etcs, "write_node", write)
    cluster: Any = SimpleNamespace(snapshot=Snapshot())
    unused: Any = None
    works = Works(cluster, unused, unused, unused)
    first, second = (_of(node("node1", "192.168.0.21"), uid) for uid in ("a", "b"))

    async def come() -> None:
        for one in (first, first, second):
            await works.node(one)

    asyncio.run(come())
    assert written == ["a", "b"], "what the first one had went with its namespace"


def _of(one: Node, uid: str) -> Node:
    return replace(one, metadata=replace(one.metadata, uid=uid))
