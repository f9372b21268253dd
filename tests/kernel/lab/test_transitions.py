"""From any lab to any other by `up`: the kernel then holds what a fresh `up` of the second gives, and nothing else.

Addresses of pods, names with a hash and MAC addresses are given in the order in which things come, so they are masked;
everything else is compared line by line. K8SNETLAB_TRANSITIONS sets how many pairs are tried.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.kernelstate import differences, state

pytestmark = pytest.mark.timeout(1800)
PAIRS = int(os.environ.get("K8SNETLAB_TRANSITIONS", "3"))
Json = dict[str, Any]


@st.composite
def labs(draw: st.DrawFn) -> list[Json]:
    """The documents of a lab."""
    nodes = draw(st.integers(1, 3))
    backend = draw(st.sampled_from(["vxlan", "host-gw"]))
    network: Json = {"backend": backend}
    if backend == "vxlan":
        network["directRouting"] = draw(st.booleans())
        network["vni"] = draw(st.sampled_from([1, 1, 42]))
        if not network["directRouting"]:
            network["resolve"] = draw(st.sampled_from(["proactive", "proactive", "on-miss"]))
            network["routes"] = draw(st.sampled_from(["per-node", "per-node", "flat"]))
    proxy = {"iptables": draw(st.sampled_from(["nft", "nft", "legacy"]))}
    proxy["layout"] = draw(st.sampled_from(["current", "current", "classic"]))
    lab = {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab"}
    documents: list[Json] = [
        {**lab, "spec": {"nodes": nodes, "network": network, "proxy": proxy, "dns": {"enabled": False}}}
    ]
    for name in draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3)):
        node = f"node{draw(st.integers(1, nodes))}"
        ports: list[Json] = [{"containerPort": 80}]
        if draw(st.booleans()):
            ports[0]["hostPort"] = 8000 + ord(name)
        spec = {"nodeName": node, "containers": [{"name": "c", "ports": ports}]}
        documents.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    for name in draw(st.lists(st.sampled_from(["web", "db"]), unique=True, max_size=2)):
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"nodeName": "node1", "containers": [{"name": "c"}]}}
        template["spec"]["containers"][0]["ports"] = [{"containerPort": 8080}]  # type: ignore[index]
        spec = {"replicas": draw(st.integers(0, 3)), "selector": {"matchLabels": labels}, "template": template}
        documents.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
        service: Json = {"selector": labels, "ports": [{"port": draw(st.sampled_from([80, 81])), "targetPort": 8080}]}
        if draw(st.booleans()):
            service |= {"type": "NodePort", "externalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"]))}
            service["ports"][0]["nodePort"] = 30000 + len(name)
        if draw(st.booleans()):
            service["sessionAffinity"] = "ClientIP"
        documents.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service})
    return documents


def settled(lab: Lab) -> bool:
    status = lab.json("status")
    return not status["problems"] and all(node["agent"]["synced"] for node in status["nodes"])


def up(lab: Lab, documents: list[Json], directory: Path) -> None:
    file = directory / "lab.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    lab.run("up", str(file), "--yes")
    eventually(lambda: settled(lab))


@settings(
    max_examples=PAIRS,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(pair=st.tuples(labs(), labs()))
def test_up_of_another_lab_leaves_what_a_fresh_up_makes(
    pair: tuple[list[Json], list[Json]], tmp_path_factory: Any
) -> None:
    directory = tmp_path_factory.mktemp("transition")
    lab, fresh = Lab(directory / "changed"), Lab(directory / "fresh")
    try:
        up(lab, pair[0], directory)
        up(lab, pair[1], directory)
        changed = state(lab.name, lab.namespaces())
        lab.run("down")
        up(fresh, pair[1], directory)
        expected = state(fresh.name, fresh.namespaces())
    finally:
        lab.run("down", code=None)
        fresh.run("down", code=None)
    assert not (different := differences(changed, expected)), "\n".join(different)
