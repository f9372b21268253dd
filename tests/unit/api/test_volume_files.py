"""What is in the volumes that objects fill, and what is refused of how they are written."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from k8snetlab.api.config import ConfigMap, Secret
from k8snetlab.api.core import Pod
from k8snetlab.api.load import load
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.variables import LacksError
from k8snetlab.api.volume_files import files
from k8snetlab.api.volumes import ServiceAccountTokenProjection, Volume
from k8snetlab.errors import ManifestError

CONFIG = ConfigMap(
    metadata=ObjectMeta(name="cfg", namespace="default"),
    data={"a": "one", "b": "two"},
    binaryData={"raw": b64encode(b"\xff\0").decode()},
)
SECRET = Secret(metadata=ObjectMeta(name="sec", namespace="default"), data={"pw": b64encode(b"open").decode()})
POD = Pod(metadata=ObjectMeta(name="p", namespace="default", labels={"b": 'q"', "a": "1"}))


def token(pod: Pod, asked: ServiceAccountTokenProjection) -> bytes:
    return f"{pod.name} for {asked.audience}".encode()


def found(source: dict[str, Any]) -> dict[str, tuple[bytes, int]]:
    volume = msgspec.convert({"name": "v", **source}, Volume)
    held = Snapshot.of([CONFIG, SECRET])
    return {path: (file.data, file.mode) for path, file in files(volume, POD, held, token).items()}


def test_all_keys_are_files_with_the_default_mode() -> None:
    assert found({"configMap": {"name": "cfg"}}) == {
        "a": (b"one", 0o644),
        "b": (b"two", 0o644),
        "raw": (b"\xff\0", 0o644),
    }
    assert found({"secret": {"secretName": "sec", "defaultMode": 0o400}}) == {"pw": (b"open", 0o400)}


def test_items_choose_keys_paths_and_modes() -> None:
    items = [{"key": "a", "path": "deep/x", "mode": 0o600}, {"key": "b", "path": "y"}]
    assert found({"configMap": {"name": "cfg", "items": items}}) == {"deep/x": (b"one", 0o600), "y": (b"two", 0o644)}


def test_what_is_not_there_is_told_in_kubelets_words_unless_it_is_optional() -> None:
    for source, said in (
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
        (
            {"configMap": {"name": "cfg", "items": [{"key": "z", "path": "z"}]}},
            "configmap references non-existent config key: z",
        ),
        (
            {"secret": {"secretName": "sec", "items": [{"key": "z", "path": "z"}]}},
            "references non-existent secret key: z",
        ),
        ({"projected": {"sources": [{"secret": {"name": "no"}}]}}, 'secret "no" not found'),
    ):
        with pytest.raises(LacksError) as raised:
            found(source)
        assert str(raised.value) == said
    assert found({"configMap": {"name": "no", "optional": True}}) == {}
    missing = {"name": "cfg", "optional": True, "items": [{"key": "z", "path": "z"}]}
    assert found({"configMap": missing}) == {}


def test_a_projected_volume_has_all_its_sources_together() -> None:
    sources = [
        {"configMap": {"name": "cfg", "items": [{"key": "a", "path": "a"}]}},
        {"secret": {"name": "sec"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"serviceAccountToken": {"path": "tok", "audience": "them"}},
    ]
    assert found({"projected": {"sources": sources, "defaultMode": 0o440}}) == {
        "a": (b"one", 0o440),
        "pw": (b"open", 0o440),
        "labels": (b'a="1"\nb="q\\""', 0o440),
        "tok": (b"p for them", 0o600),
    }


def test_the_downward_api_writes_fields_and_resources() -> None:
    items = [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "one", "fieldRef": {"fieldPath": "metadata.labels['a']"}, "mode": 0o400},
    ]
    assert found({"downwardAPI": {"items": items}}) == {"name": (b"p", 0o644), "one": (b"1", 0o400)}


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ("configMap: {}", "configMap.name: Required value"),
        ("secret: {}", "secret.secretName: Required value"),
        ("configMap: {name: c, items: [{key: k, path: ../x}]}", "items[0].path: Invalid value: \"../x\": must"),
        ("configMap: {name: c, items: [{key: k, path: /x}]}", 'path: Invalid value: "/x": must be a relative path'),
        ("configMap: {name: c, items: [{key: k, path: ..x}]}", "must not start with '..'"),
        ("configMap: {name: c, defaultMode: 512}", "Invalid value: 512: must be a number between 0 and 0777"),
        ("hostPath: {path: /a/../b}", "hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"),
        ("hostPath: {path: /a, type: Dir}", 'hostPath.type: Unsupported value: "Dir"'),
        ("downwardAPI: {items: [{path: p}]}", "one of fieldRef and resourceFieldRef is required"),
        (
            "projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 5}}]}",
            "may not specify a duration less than 10 minutes",
        ),
        ("persistentVolumeClaim: {claimName: ''}", "claimName: Required value"),
        ("persistentVolumeClaim: {claimName: ../../etc}", 'persistentVolumeClaim.claimName: "../../etc" is no'),
        ("persistentVolumeClaim: {claimName: /etc}", 'persistentVolumeClaim.claimName: "/etc" is no'),
    ],
)  # fmt: skip
def test_what_no_volume_can_be_made_of_is_refused_with_its_field(volume: str, said: str) -> None:
    with pytest.raises(ManifestError) as raised:
        load([("f", _pod(volume, "mountPath: /v"))])
    assert any(said in problem for problem in raised.value.problems), raised.value.problems


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        ("mountPath: /v, subPath: ../x", "subPath: Invalid value: \"../x\": must not contain '..'"),
        ("mountPath: /v, subPath: /x", 'subPath: Invalid value: "/x": must be a relative path'),
    ],
)
def test_a_part_of_a_volume_is_below_it(mount: str, said: str) -> None:
    with pytest.raises(ManifestError) as raised:
        load([("f", _pod("emptyDir: {}", mount))])
    assert any(said in problem for problem in raised.value.problems), raised.value.problems


def test_a_source_that_no_container_sees_is_named_and_kept() -> None:
    loaded = load([("f", _pod("nfs: {server: s, path: /}", "mountPath: /v"))])
    assert any("spec.volumes[].nfs" in warning for warning in loaded.warnings)
    (pod,) = loaded.objects
    assert isinstance(pod, Pod) and pod.spec.volumes[0].source == "nfs" and not pod.spec.volumes[0].is_brought
    assert replace(pod.spec.volumes[0], nfs=None).source == "emptyDir"


def _pod(volume: str, mount: str) -> str:
    spec = f"volumes: [{{name: v, {volume}}}], containers: [{{name: c, volumeMounts: [{{name: v, {mount}}}]}}]"
    return f"{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{{spec}}}}}"
