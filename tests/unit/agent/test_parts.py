"""One pod more among a thousand: what the nodes' managers are asked again is the pod's node's alone."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from k8snetlab.agent.managers import managers
from k8snetlab.agent.parts import Parts
from k8snetlab.agent.protocol import Manager, Surroundings
from k8snetlab.api.apps import Deployment
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import NotFoundError
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment, service

MANY = 1000
BIG = (LAB % 10).replace("spec: {nodes: 10}", "spec: {nodes: 10, maxPods: 200}")


class Asked:
    """The parts of ten nodes, and which managers of which were asked."""

    def __init__(self, nodes: list[str]) -> None:
        owner: Any = None
        self.asked = Counter[tuple[str, str]]()
        self.parts: dict[str, Parts] = {}
        for name in nodes:
            found = managers(Surroundings(name, owner, Path("/nowhere")))
            for manager in found:
                self._count(name, manager)
            self.parts[name] = Parts(found)

    def _count(self, node: str, manager: Any) -> None:
        wanted = manager.wanted

        def counted(snapshot: Snapshot) -> Any:
            self.asked[node, manager.name] += 1
            return wanted(snapshot)

        manager.wanted = counted

    def follow(self, snapshot: Snapshot) -> set[str]:
        """The nodes of which something else is wanted; `asked` then counts what was asked for that alone."""
        self.asked.clear()
        changed = set()
        for name, parts in self.parts.items():
            touched, before = parts.touched(snapshot), dict(parts.held)
            whole = parts.ask(snapshot, _do)
            assert touched == any(node == name for node, _ in self.asked)
            assert parts.ask(snapshot, _do) is whole
            if any(before.get(key) != part for key, part in parts.held.items()):
                changed.add(name)
        return changed


def _do(manager: Manager, work: Callable[[], None]) -> None:
    """What has gone has no part, and is asked again."""
    with contextlib.suppress(NotFoundError):
        work()


def test_one_pod_more_concerns_its_node() -> None:
    cluster = FakeCluster(BIG + deployment("web", replicas=MANY) + service("web")).run()
    nodes = [name for _, name in cluster.snapshot.all(Node)]
    asked = Asked(nodes)
    before = cluster.snapshot
    assert asked.follow(before) == set(nodes)

    [web] = before.all(Deployment).values()
    cluster.store(replace(web, spec=replace(web.spec, replicas=MANY + 1)))
    assert not asked.follow(cluster.snapshot) and not asked.asked, "a Deployment is in no kernel"

    cluster.run()
    after = cluster.snapshot
    [key] = after.all(Pod).keys() - before.all(Pod).keys()
    home = after.all(Pod)[key].spec.nodeName
    assert after.all(Node) != before.all(Node), "the node has noted the address"
    assert asked.follow(after) == {home}
    assert {node for node, _ in asked.asked} == {home}
    assert set(asked.asked.values()) == {1}
    assert "flannel" not in {name for _, name in asked.asked}, "its node's pods are not its concern"


def test_a_node_that_goes_concerns_all_others() -> None:
    cluster = FakeCluster(BIG + deployment("web", replicas=10)).run()
    nodes = [name for _, name in cluster.snapshot.all(Node)]
    asked = Asked(nodes)
    asked.follow(cluster.snapshot)
    fewer, node = cluster.snapshot, cluster.snapshot.node("node10")
    cluster.snapshot = fewer.changed([(Node, node.key, None)], fewer.revision + 1)
    assert asked.follow(cluster.snapshot) >= set(nodes) - {"node10"}
