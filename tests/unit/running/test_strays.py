"""What is run for no pod of the store is found, each change looked at once; the agent's own snapshot has its say."""

from __future__ import annotations

from k8snetlab.api.core import Pod, PodSpec
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import PodState
from k8snetlab.running.strays import Strays

KEY = ("default", "web")
AGENTS = ("node1", "node2")


def pod(uid: str, node: str = "node1") -> Pod:
    return Pod(metadata=ObjectMeta(name="web", namespace="default", uid=uid), spec=PodSpec(nodeName=node))


def running(*uids: str) -> dict[str, PodState]:
    return {uid: PodState(uid, ()) for uid in uids}


def test_what_ran_before_and_is_no_pod_of_the_store() -> None:
    strays, snapshot = Strays(), Snapshot.of([pod("a")])
    strays.follow(snapshot, running("a", "b"))
    assert strays.of(snapshot, "node1", AGENTS) == ["b"]
    assert strays.of(snapshot, "node1", AGENTS) == []


def test_all_that_runs_is_looked_at_anew_when_the_line_comes_back() -> None:
    strays, snapshot, states = Strays(), Snapshot.of([pod("a")]), running("a")
    strays.follow(snapshot, states)
    states["b"] = PodState("b", ())
    strays.follow(snapshot, states)
    assert strays.of(snapshot, "node1", AGENTS) == []
    strays.follow(snapshot, dict(states))
    assert strays.of(snapshot, "node1", AGENTS) == ["b"]


def test_a_pod_that_went_is_told_once_its_agent_has_it_no_more() -> None:
    strays, states = Strays(), running("a")
    before = Snapshot.of([pod("a")])
    after = before.changed([(Pod, KEY, None)], 2)
    strays.follow(before, states)
    strays.follow(after, states)
    assert strays.of(before, "node1", AGENTS) == [], "its agent may be about to have it run"
    assert strays.of(after, "node2", AGENTS) == ["a"]
    assert strays.of(after, "node1", AGENTS) == ["a"], "it may have been run since"
    assert strays.of(after, "node1", AGENTS) == []


def test_a_pod_of_a_node_that_went_is_anybodys() -> None:
    strays, states = Strays(), running("a")
    before = Snapshot.of([pod("a", "gone")])
    after = before.changed([(Pod, KEY, None)], 2)
    strays.follow(before, states)
    strays.follow(after, states)
    assert strays.of(after, "node2", AGENTS) == ["a"]
    assert strays.of(after, "node1", AGENTS) == []


def test_a_namesake_that_took_its_place_and_a_change_of_the_same_pod() -> None:
    strays, states = Strays(), running("a")
    before = Snapshot.of([pod("a")])
    strays.follow(before, states)
    changed = before.changed([(Pod, KEY, pod("a"))], 2)
    strays.follow(changed, states)
    assert strays.of(changed, "node1", AGENTS) == []
    another = changed.changed([(Pod, KEY, pod("b"))], 3)
    strays.follow(another, states)
    assert strays.of(another, "node1", AGENTS) == ["a"]


def test_a_pod_that_was_run_when_another_had_its_place_already() -> None:
    strays, states = Strays(), running()
    synced = Snapshot.of([pod("a")])
    stored = synced.changed([(Pod, KEY, pod("b"))], 2)
    strays.follow(stored, states)
    states["a"] = PodState("a", ())
    strays.begun([pod("a")], stored)
    strays.follow(stored, states)
    assert strays.of(synced, "node1", AGENTS) == []
    assert strays.of(stored, "node1", AGENTS) == ["a"]
