"""Which directories a pod's volumes are, and what an Event says of those that are none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Pod
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.running.volumes import Mounted, Volumes
from k8snetlab.state.paths import LabPaths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPaths:
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path / "run"))
    return LabPaths("l")


def pod(*volumes: dict[str, Any], command: bool = True) -> Pod:
    container = {"name": "c", "volumeMounts": [{"name": one["name"], "mountPath": "/v"} for one in volumes]}
    if command:
        container["command"] = ["true"]
    spec = {"containers": [container], "volumes": list(volumes)}
    return msgspec.convert({"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": spec}, Pod)


def mounted(paths: LabPaths, one: Pod, *objects: Object, write: bool = False) -> Mounted:
    lab = msgspec.convert({"metadata": {"name": "l"}, "spec": {"hostPath": "ReadWrite"} if write else {}}, Lab)
    cluster: Any = SimpleNamespace(snapshot=Snapshot.of([lab, *objects]))
    volumes = Volumes(cluster, paths, lambda pod, asked: b"token", lambda *_: None)
    return asyncio.run(volumes.prepare([one]))["u"]


def test_an_empty_dir_is_the_pods_own_and_all_may_write_to_it(paths: LabPaths) -> None:
    (place,) = mounted(paths, pod({"name": "e", "emptyDir": {}})).places.values()
    assert Path(place.path) == paths.volumes / "u" / "e" and not place.sealed
    assert Path(place.path).stat().st_mode & 0o777 == 0o777


def test_a_claim_is_the_same_directory_for_every_pod_and_keeps_what_is_there(paths: LabPaths) -> None:
    one = pod({"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}})
    place = mounted(paths, one).places["data"]
    Path(place.path, "kept").touch()
    again = mounted(paths, one).places["data"]
    assert again == place and Path(again.path, "kept").exists()
    assert Path(place.path) == paths.claims / "default" / "data-db-0"


def test_what_objects_fill_is_sealed_and_what_lacks_is_told(paths: LabPaths) -> None:
    config = ConfigMap(metadata=ObjectMeta(name="cfg", namespace="default"), data={"a": "1"})
    wanted = pod({"name": "c", "configMap": {"name": "cfg"}}, {"name": "d", "configMap": {"name": "none"}})
    found = mounted(paths, wanted, config)
    assert found.places["c"].sealed and Path(found.places["c"].path, "a").read_text() == "1"
    assert found.failures == ('MountVolume.SetUp failed for volume "d" : configmap "none" not found',)


def test_the_machine_is_written_to_only_where_the_lab_allows_it(paths: LabPaths, tmp_path: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.mkdir()
    place = mounted(paths, pod({"name": "h", "hostPath": {"path": str(there), "type": "Directory"}})).places["h"]
    assert (place.path, place.sealed) == (str(there), True)
    made = pod({"name": "h", "hostPath": {"path": str(missing), "type": "DirectoryOrCreate"}})
    (failure,) = mounted(paths, made).failures
    assert "spec.hostPath of the Lab is ReadOnly" in failure and not missing.exists()
    place = mounted(paths, made, write=True).places["h"]
    assert missing.is_dir() and not place.sealed
    (failure,) = mounted(paths, pod({"name": "h", "hostPath": {"path": str(there), "type": "File"}})).failures
    assert failure.endswith(f"hostPath type check failed: {there} is not a file")


def test_a_source_that_nobody_brings_keeps_only_a_command_waiting(paths: LabPaths) -> None:
    volume = {"name": "n", "nfs": {"server": "s", "path": "/"}}
    assert mounted(paths, pod(volume)).failures == (
        'MountVolume.SetUp failed for volume "n" : no volume plugin matched',
    )
    assert mounted(paths, pod(volume, command=False)) == Mounted()
