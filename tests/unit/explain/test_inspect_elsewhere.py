"""What a node holds is read from its own machine's kernel only."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.machines import other_machines
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import NotFoundError
from k8snetlab.explain import inspect
from k8snetlab.state.paths import LabPaths

LAB = msgspec.convert({"metadata": {"name": "l"}, "spec": {"machines": True}}, Lab)
NODES = [msgspec.convert({"metadata": {"name": name}}, Node) for name in ("node1", "node2")]
SNAPSHOT = Snapshot.of([LAB, *NODES])


@pytest.mark.parametrize("read", ["held", "rules"])
def test_the_rules_of_another_machine_are_not_read_from_this_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read: str
) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    paths = LabPaths("l")
    with pytest.raises(NotFoundError, match="node node2 is another machine, and this one is node1"):
        if read == "held":
            inspect.held(SNAPSHOT, paths, "node2", "ipv4", "node1")
        else:
            inspect.rules(SNAPSHOT, paths, "node2", "", "ipv4", here="node1")


def test_other_machines_are_all_nodes_but_this_one_and_none_where_nodes_are_namespaces() -> None:
    assert [node.name for node in other_machines(NODES, "node1")] == ["node2"]
    assert [node.name for node in other_machines(NODES, "node3")] == ["node1", "node2"]
    assert other_machines(NODES, "") == []
