"""What `link` answers when a node's agent does not follow."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from k8snetlab.lab.operations import linking
from k8snetlab.running.agent_task import AgentState
from k8snetlab.testing.fake_cluster import LAB, FakeCluster


@pytest.mark.parametrize(("error", "said"), [("", "still at work"), ("no room", "no room")])
def test_an_agent_that_does_not_follow_is_named(monkeypatch: pytest.MonkeyPatch, error: str, said: str) -> None:
    monkeypatch.setattr(linking, "FOLLOWING", 0.0)
    task = SimpleNamespace(state=AgentState(error=error), has=lambda _: False)
    agents: Any = SimpleNamespace(node=lambda _: task)
    cluster: Any = SimpleNamespace(snapshot=FakeCluster(LAB % 1).snapshot)
    [note] = asyncio.run(linking.Linking(cluster, agents)._followed("node1"))
    assert note.startswith("node1: ") and said in note
