"""What several machines say of their lab, made into one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from k8snetlab.errors import DaemonError, K8sNetLabError
from k8snetlab.lab.merging import Merging
from k8snetlab.messages.controlplane import AgentLag, ControlPlane, MachineState
from k8snetlab.messages.nodes import AnsweredMiss, Listening, MissesQuestion, MissEvent
from k8snetlab.messages.progress import Warning
from k8snetlab.messages.status import (
    AgentStatus,
    DaemonStatus,
    KubeletStatus,
    LabStatus,
    MachineStatus,
    NodeStatus,
    PodCount,
    StoreHealth,
)
from k8snetlab.messages.verb import Nothing

pytestmark = pytest.mark.anyio
MERGING = Merging(cast(Any, None), "one")
SILENT = DaemonError("three: its daemon does not answer (no answer within 3 s)")


def node(name: str, answers: bool) -> NodeStatus:
    agent = AgentStatus(synced=answers, lastSync=1.0 if answers else 0.0)
    told = {"address": "192.0.2.1", "podCIDR": "10.244.1.0/24", "ready": True, "paused": False, "pods": 1}
    return NodeStatus(name=name, answers=answers, agent=agent, **told)


def status(here: str, *problems: str) -> LabStatus:
    """As the machine of node `here` tells it."""
    return LabStatus(
        lab="l",
        nodes=tuple(node(name, name == here) for name in ("one", "two", "three")),
        pods=PodCount(1, 2),
        services=3,
        daemon=DaemonStatus(len(here), "1", 1.0, 0.0),
        kubelet=KubeletStatus(None),
        store=StoreHealth(type="etcd", insecure=False, revision=7, healthy=True, age=0.0, problem=""),
        iptables="nft",
        failures=(),
        controllers=(),
        problems=problems,
    )


def test_a_status_has_each_node_from_its_own_machine_and_every_problem_once() -> None:
    mine, two = status("one", "pod x: Pending"), status("two", "pod x: Pending", "iptables: no such chain", "two: away")
    merged = MERGING.status(Nothing(), mine, {"two": two, "three": SILENT})
    assert [(state.name, state.answers, state.agent.synced) for state in merged.nodes] == [
        ("one", True, True),
        ("two", True, True),
        ("three", False, False),
    ]
    assert merged.nodes[2].agent.error == "its daemon does not answer (no answer within 3 s)"
    assert merged.problems == ("pod x: Pending", "two: iptables: no such chain", "two: away", SILENT.message)
    assert merged.machines == {
        name: MachineStatus(said.daemon, said.kubelet, said.store, "nft")
        for name, said in {"one": mine, "two": two}.items()
    }


def test_a_node_that_nobody_was_asked_of_has_just_joined() -> None:
    merged = MERGING.status(Nothing(), status("one"), {"two": status("two")})
    assert merged.nodes[2].agent.error == "it has just joined" and merged.problems == ()


def miss(name: str) -> AnsweredMiss:
    return AnsweredMiss(1.0, name, "flannel.1", "L3", "10.244.2.0")


async def events(*told: MissEvent, error: K8sNetLabError | None = None) -> AsyncIterator[MissEvent]:
    for event in told:
        yield event
    if error:
        raise error
    await asyncio.Event().wait()


async def test_misses_begin_when_every_machine_listens_or_does_not_answer() -> None:
    others = {
        "two": events(miss("two"), Listening(("two",)), miss("two")),
        "three": events(error=SILENT),
    }
    stream = MERGING.misses(MissesQuestion(), events(Listening(("one",))), others)
    first, *others_first = [await anext(stream) for _ in range(4)]
    assert first == Listening(("one", "two"))
    assert sorted(map(str, others_first)) == sorted(map(str, [miss("two"), Warning(SILENT.message), miss("two")]))


async def test_misses_of_this_machine_that_are_refused_are_refused_whole() -> None:
    refused = DaemonError("the kernel asks nothing")
    with pytest.raises(DaemonError, match="asks nothing"):
        await anext(MERGING.misses(MissesQuestion(), events(error=refused), {"two": events(Listening(("two",)))}))


def plane(here: str, revision: int) -> ControlPlane:
    return ControlPlane(
        leaders=(),
        servers=(),
        store="etcd",
        members=(),
        healthy=True,
        etcd=(),
        balancer="",
        revision=revision,
        agents=(AgentLag(here, revision, 0),),
        problem="",
        machines=(MachineState(here, "192.0.2.1:6443", here == "two", revision, 0),),
    )


def test_a_control_plane_has_each_machine_how_far_it_is_and_who_says_nothing() -> None:
    merged = MERGING.control_plane(Nothing(), plane("one", 7), {"two": plane("two", 9), "three": SILENT})
    assert [(one.node, one.leads, one.revision, one.behind) for one in merged.machines] == [
        ("one", False, 7, 2),
        ("three", False, -1, 0),
        ("two", True, 9, 0),
    ]
    assert [one.node for one in merged.agents] == ["one", "two"] and merged.revision == 7
    assert "does not answer" in merged.machines[1].problem
