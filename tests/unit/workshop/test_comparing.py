"""What is compared: the same documents under another network, and the parts of a trace that tell networks apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k8snetlab.errors import InputError, ManifestError
from k8snetlab.workshop import comparing
from k8snetlab.workshop.scripts import Ran

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {name: mine, labels: {a: b}}
spec: {nodes: 2, network: {vni: 7, resolve: on-miss, subnetLen: 25}}
"""
POD_OF_ITS_OWN = {"metadata": {"name": "mine"}, "spec": {"nodeName": "n1", "containers": []}}
OTHER = {
    "metadata": {"name": "yours"},
    "spec": {"nodeName": "n2", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]},
}


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
        (LAB.replace("nodes: 2", "machines: true"), ["vxlan"], "the nodes of .* are machines"),
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
    pods = [{**pod, "metadata": {**pod["metadata"], "ownerReferences": [{}]}} for pod in pods]  # type: ignore[dict-item]
    assert comparing._ends([*pods, POD_OF_ITS_OWN, OTHER]) == ("mine", "yours:80")


def commands(monkeypatch: pytest.MonkeyPatch, trace: Ran) -> list[str]:
    """Has every verb end well and `trace` so; the verbs as they are run."""
    ran: list[str] = []

    def command(words: tuple[str, ...], lab: str, *, apart: bool = False) -> Ran:
        ran.append(words[1])
        return trace if words[1] == "trace" else Ran(0, '{"seconds": 1.0}')

    monkeypatch.setattr(comparing.scripts, "command", command)
    return ran


def test_who_names_a_pod_that_is_none_is_told_in_the_first_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    ran = commands(monkeypatch, Ran(1, "", "waiting\nerror: no pod or node is called 'nosuch'\n"))
    with pytest.raises(InputError, match="no pod or node is called 'nosuch'"):
        comparing.compare(str(tmp_path), ["vxlan", "bgp", "vxlan"], "nosuch", "web", lambda _: None)
    assert ran == ["up", "trace", "down"]


def test_each_network_is_built_once_and_its_lab_is_named_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    ran = commands(monkeypatch, Ran(0, json.dumps({"ways": [], "note": "there is no way"})))
    found = comparing.compare(str(tmp_path), ["vxlan", "bgp", "vxlan"], "a", "b", lambda _: None)
    assert [one.backend for one in found.results] == ["vxlan", "bgp"] and ran.count("up") == 2
    with comparing._Trial([{"kind": "Lab"}], "bgp") as trial:
        owner = f"Node node2 of Lab {trial._lab}, {trial._file}:2"
        assert trial._plain(owner) == "Node node2"
        assert trial._plain(f"{trial._file}:2: spec.x: wrong") == "spec.x: wrong"
        assert trial._plain(f"FRR, by OSPF, in Lab {trial._lab}, {trial._file}:2") == "FRR, by OSPF"


@pytest.mark.parametrize(
    ("backend", "owner", "said"),
    [
        ("vxlan", "Node node2", "flannel, for Node node2"),
        ("calico-vxlan", "Node node2", "Felix, for Node node2"),
        ("calico-bgp", "Pod default/web", "Calico's CNI plugin, for Pod default/web"),
        ("bgp", "BIRD, by BGP", "BIRD, by BGP"),
    ],
)
def test_a_route_has_its_maker(backend: str, owner: str, said: str) -> None:
    assert comparing._maker(backend, owner) == said
