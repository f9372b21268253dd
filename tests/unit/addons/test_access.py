"""What a guest finds of the API."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import msgspec
import pytest

from k8snetlab.addons.access import access_of, write
from k8snetlab.addons.programs import programs
from k8snetlab.api.guest import Guest
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import NotFoundError
from k8snetlab.store.keys import Keys


def obj(kind: str, name: str, **fields: object) -> Object:
    metadata = {"name": name, **fields.pop("metadata", {})}  # type: ignore[dict-item]
    found: Object = msgspec.convert({"metadata": metadata, **fields}, BY_KIND[kind].type)
    return found


LAB = obj("Lab", "lab")
NODES = [
    obj("Node", "node1", metadata={"uid": "n1", "annotations": {"k8snetlab/api": "192.168.0.21:6443"}}),
    obj("Node", "node2", metadata={"uid": "n2"}),
]
SERVICE = obj(
    "Service",
    "kubernetes",
    metadata={"namespace": "default"},
    spec={"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 443}]},
)
CA = obj(
    "ConfigMap",
    "extension-apiserver-authentication",
    metadata={"namespace": "kube-system"},
    data={"client-ca-file": "PEM"},
)
ACCOUNT = obj("ServiceAccount", "default", metadata={"namespace": "default", "uid": "a1"})
GUEST = obj("Guest", "kp", spec={"nodeName": "node2", "command": ["x"], "env": {"A": "b"}})


def snapshot(*objects: Object) -> Snapshot:
    return Snapshot().changed([(type(one), one.key, one) for one in objects], 1)


WHOLE = (LAB, *NODES, SERVICE, CA, ACCOUNT, GUEST)


def test_a_guest_finds_the_service_and_where_the_api_listens() -> None:
    [program] = programs(snapshot(*WHOLE), "node2")
    assert program.access and program.access.server == "192.168.0.21:6443"
    assert program.env == {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "A": "b"}
    assert not programs(snapshot(*WHOLE), "node1")


def test_where_a_guest_writes_the_rules_the_variables_name_the_api_itself() -> None:
    external = msgspec.convert({"metadata": {"name": "lab"}, "spec": {"proxy": {"mode": "external"}}}, Lab)
    [program] = programs(snapshot(external, *WHOLE[1:]), "node2")
    assert program.env["KUBERNETES_SERVICE_HOST"] == "192.168.0.21"
    assert program.env["KUBERNETES_SERVICE_PORT"] == "6443"


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        (SERVICE, "the API does not listen inside the lab yet"),
        (CA, "the API does not listen inside the lab yet"),
        (NODES[0], "the API does not listen inside the lab yet"),
        (ACCOUNT, 'serviceaccounts "default" not found in default'),
    ],
)
def test_what_is_lacking_is_said_and_nothing_is_written(lacking: Object, said: str, tmp_path: Path) -> None:
    assert isinstance(GUEST, Guest)
    access = access_of(GUEST, snapshot(*(one for one in WHOLE if one is not lacking)), "node2")
    assert access.problem == said and not access.variables
    with pytest.raises(NotFoundError, match=r"guest kp: (the API|serviceaccounts)"):
        write(tmp_path, "kp", access, Keys(tmp_path / "pki"))
    assert not list(tmp_path.iterdir())


def test_its_files_are_roots_and_are_written_once(tmp_path: Path) -> None:
    assert isinstance(GUEST, Guest)
    access, keys, directory = access_of(GUEST, snapshot(*WHOLE), "node2"), Keys(tmp_path / "pki"), tmp_path / "kp"
    directory.mkdir()
    write(directory, "kp", access, keys)
    kubeconfig = directory / "kubeconfig"
    config = json.loads(kubeconfig.read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://192.168.0.21:6443"
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    held = {file.name: file.read_text() for file in (directory / "account").iterdir()}
    assert held.keys() == {"token", "ca.crt", "namespace"} and held["namespace"] == "default"
    inode = kubeconfig.stat().st_ino
    write(directory, "kp", access, keys)
    assert kubeconfig.stat().st_ino == inode
