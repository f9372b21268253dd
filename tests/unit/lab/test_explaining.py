"""What is gathered for a diagnosis, in a thread, while the lab goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from face import Face, with_face
from msgspec.structs import replace

from k8snetlab.api.core import Node
from k8snetlab.api.machines import MACHINE
from k8snetlab.errors import NotFoundError
from k8snetlab.lab.operations.explaining import Explaining
from k8snetlab.running.overflows import Overflows
from k8snetlab.state.paths import LabPaths
from k8snetlab.supervision import Supervisor
from k8snetlab.testing.services import node


def test_a_machine_that_leaves_meanwhile_is_in_the_objects_that_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))

    async def test(face: Face) -> None:
        machine = node("node1", "192.168.0.21")
        metadata = replace(machine.metadata, annotations={MACHINE: "another"})
        await face.cluster.apply(replace(machine, metadata=metadata))
        agents: Any = SimpleNamespace(tasks=[], router=None, here="node2")
        explaining = Explaining(
            face.cluster,
            agents,
            LabPaths("l"),
            remote=None,
            supervisor=Supervisor(),
            troubles=dict,
            overflows=Overflows(),
        )

        def gone(*_: object) -> Node:
            raise NotFoundError("node1 has left")

        monkeypatch.setattr(face.cluster, "current", gone)
        assert not explaining._desired().agents["node1"].paused

    with_face(test)
