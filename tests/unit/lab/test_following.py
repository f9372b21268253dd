"""What `follow` tells of rules, and when."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from k8snetlab.api.core import Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.lab.operations.following import _Story
from k8snetlab.running.agent_task import AgentState
from k8snetlab.testing.services import cluster, web


def test_rules_of_what_has_gone_are_told_once_the_node_has_none() -> None:
    before = cluster(*web())
    after = before.changed([(kind, key, None) for kind in (Service, EndpointSlice) for key in before.all(kind)], 9)
    task: Any = SimpleNamespace(name="node1", state=AgentState(snapshot=before, synced_at=time.time()))
    agents: Any = SimpleNamespace(tasks=[task])
    story = _Story(("Service", "default", "web"), agents)

    def told(snapshot: Snapshot) -> list[str]:
        list(story.turn(snapshot))
        return [step.what for step in story._ruled(task, snapshot)]

    assert told(before) == ["rules of Service web lead to 2 endpoints"]
    assert told(after) == [], "the node has them still"
    task.state = AgentState(snapshot=after, synced_at=time.time())
    assert told(after) == ["rules of Service web lead to 0 endpoints"]
