"""What pods of the host's network see of /etc is a directory of their own, for as long as they are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import objects

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.running import etcs
from k8snetlab.state.paths import LabPaths

NODE = "kind: Node\nmetadata: {name: node1}\nstatus: {addresses: [{type: InternalIP, address: 192.168.0.21}]}\n"
POD = "kind: Pod\nmetadata: {name: NAME, uid: u-NAME}\nspec: {nodeName: node1, hostNetwork: true}\n"


def test_the_files_of_a_pod_go_once_another_one_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))
    paths, said = LabPaths("lab"), list[str]()
    for name in ("one", "two"):
        world = Snapshot.of(objects(f"{NODE}---\n{POD.replace('NAME', name)}"))
        pods = list(world.all(Pod).values())
        etcs.write(pods, world, paths, lambda pod, reason, message: said.append(message))
        (held,) = paths.etcs.iterdir()
        assert held.name == f"u-{name}"
        assert (held / "hosts").read_text().endswith("192.168.0.21\tnode1\n")
    assert said == []
