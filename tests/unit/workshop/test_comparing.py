"""What is compared: the same documents under another network, and the parts of a trace that tell networks apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8snetlab.errors import InputError, ManifestError
from k8snetlab.workshop import comparing

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: mine, labels: {a: b}}
spec: {nodes: 2, network: {vni: 7, resolve: on-miss, subnetLen: 25}}
"""


@pytest.mark.parametrize(
    ("backend", "network"),
    [
        ("vxlan", {"vni": 7, "resolve": "on-miss", "subnetLen": 25, "backend": "vxlan"}),
        ("bgp", {"subnetLen": 25, "backend": "bgp"}),
    ],
)
def test_a_lab_keeps_what_every_network_has(backend: str, network: dict[str, object]) -> None:
    spec = {"nodes": 2, "network": {"vni": 7, "resolve": "on-miss", "subnetLen": 25}}
    document = {"kind": "Lab", "metadata": {"name": "mine", "labels": {"a": "b"}}, "spec": spec}
    found = comparing._under(document, backend)
    assert found["spec"] == {"nodes": 2, "network": network} and found["metadata"] == {"labels": {"a": "b"}}
    for wrong in ({"spec": 5}, {"spec": {"network": ["a"]}}, {"spec": {}, "metadata": "x"}):
        assert comparing._under({"kind": "Lab", **wrong}, backend) == {"kind": "Lab", **wrong}
    assert comparing._under({"kind": "Pod", "metadata": {"name": "x"}}, backend)["metadata"] == {"name": "x"}


@pytest.mark.parametrize(
    ("text", "backends", "said"),
    [
        (LAB, ["eigrp"], "'eigrp' is no backend"),
        (LAB, [], "no backend is named"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a}}", ["bgp"], "no Lab among the files"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_built(
    tmp_path: Path, text: str, backends: list[str], said: str
) -> None:
    (tmp_path / "lab.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        comparing.compare(str(tmp_path), backends, "", "", lambda _: None)


@pytest.mark.parametrize("text", ["a: [", "a: " + "[" * 3000])
def test_hostile_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.yaml").write_text(text)
    with pytest.raises(ManifestError, match=r"lab\.yaml:[12]: "):
        comparing.compare(str(tmp_path), ["bgp"], "", "", lambda _: None)


def test_text_that_looks_like_a_time_stays_text(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("kind: ConfigMap\ndata: {a: 12:30:45, b: 2001-99-99}\n")
    assert next(iter(comparing._documents(str(tmp_path))))["data"] == {"a": "12:30:45", "b": "2001-99-99"}


def test_two_pods_on_different_nodes_are_chosen() -> None:
    def pod(name: str, node: str, port: int | None = None, host: bool = False) -> dict[str, object]:
        ports = [{"containerPort": port}] if port else []
        spec = {"nodeName": node, "hostNetwork": host, "containers": [{"name": "c", "ports": ports}]}
        return {"metadata": {"name": name}, "spec": spec}

    pods = [pod("h", "n1", 1, host=True), pod("a", "n1"), pod("b", "n1", 80), pod("c", "n2"), pod("d", "n2", 8080)]
    assert comparing._ends(pods) == ("a", "d:8080")
    with pytest.raises(InputError, match="no two pods"):
        comparing._ends(pods[:3])
