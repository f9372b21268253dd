"""`diagnose` says nothing of a lab that is well, however it is built and whatever was done to it before."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from repository import MANIFESTS, SCENARIOS

from k8snetlab.testing import Lab, eventually

Json = dict[str, Any]

NETWORKS = {
    "vxlan": "{}",
    "direct routing": "{directRouting: true}",
    "host-gw": "{backend: host-gw}",
    "on-miss": "{resolve: on-miss}",
    "flat": "{routes: flat}",
    "on-miss, flat": "{resolve: on-miss, routes: flat}",
    "another port and VNI": "{port: 4789, vni: 77}",
}
LONG = ("vxlan", "on-miss, flat")
"""Those with which all is done; the others differ from them in what is there at the start, and when pods come."""
PROXIES = ["nft", "legacy"]
LAYOUTS = ["current", "classic"]
ALL = "two-nodes"
"""The scenario that is built with every layout of either variant; the others are with one of each."""
LABS = sorted(file.parent.name for file in SCENARIOS.glob("*/lab.yaml") if "machines: true" not in file.read_text())
"""The scenarios whose nodes are namespaces."""


def silent(lab: Lab) -> Json:
    answer: Json = lab.json("diagnose")
    assert answer["findings"] == []
    assert answer["paths"]["walked"] and answer["paths"]["tried"]
    return answer


def copied(directory: Path, scenario: str, network: str = "", proxy: str = "") -> Path:
    """The scenario with another network or proxy."""
    copy = directory / scenario
    copy.mkdir()
    for file in (SCENARIOS / scenario).glob("*.yaml"):
        (copy / file.name).write_text(file.read_text())
    text = (copy / "lab.yaml").read_text()
    if network:
        text = re.sub(r"^  network:\n(    .*\n)*", f"  network: {network}\n", text, flags=re.M)
    if proxy:
        text = re.sub(r"^spec:$", f"spec:\n  proxy: {proxy}", text, flags=re.M)
        text = re.sub(r"^spec: {", f"spec: {{proxy: {proxy}, ", text, flags=re.M)
    (copy / "lab.yaml").write_text(text)
    return copy


@pytest.mark.parametrize("scenario", LABS)
def test_a_healthy_scenario_has_no_findings_with_any_proxy(tmp_path: Path, scenario: str) -> None:
    lab = Lab(tmp_path)
    try:
        every = [*itertools.product(PROXIES, LAYOUTS)]
        for variant, layout in every if scenario == ALL else (every[0], every[-1]):
            files = tmp_path / f"{variant}-{layout}"
            files.mkdir()
            lab.run("up", str(copied(files, scenario, proxy=f"{{iptables: {variant}, layout: {layout}}}")))
            assert silent(lab)["notes"] == [], (variant, layout)
        assert "nothing is wrong" in lab.run("diagnose")
    finally:
        lab.run("down")


@pytest.mark.parametrize("network", NETWORKS)
def test_a_healthy_lab_has_no_findings_with_any_backend_when_used_scaled_and_paused(
    tmp_path: Path, network: str
) -> None:
    lab = Lab(tmp_path)
    try:
        lab.run("up", str(copied(tmp_path, "business-manager", NETWORKS[network])))
        silent(lab)
        assert lab.whole()
        silent(lab)
        lab.run("scale", "deploy/business-manager", "--replicas", "5")
        silent(lab)
        if network not in LONG:
            return
        lab.run("scale", "deploy/business-manager", "--replicas", "1")
        silent(lab)
        pods = [p["metadata"]["name"] for p in lab.json("get", "pods")["items"]]
        lab.run("delete", "pod", next(p for p in pods if p.startswith("data-product")))
        silent(lab)
        lab.run("pause", "node1")
        notes = silent(lab)["notes"]
        assert len(notes) == 1 and notes[0].startswith("node1: its agent is paused")
        lab.run("resume", "node1")
        lab.run("scale", "deploy/business-manager", "--replicas", "0")
        notes = silent(lab)["notes"]
        assert len(notes) == 1 and "Service default/business-manager" in notes[0] and "has no pods" in notes[0]
        lab.run("delete", "service", "business-manager")
        assert silent(lab)["notes"] == []
    finally:
        lab.run("down")


OTHERS = """
apiVersion: v1
kind: Service
metadata: {name: database}
spec: {ports: [{port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: database-1, labels: {kubernetes.io/service-name: database}}
addressType: IPv4
ports: [{port: 5432}]
endpoints: [{addresses: [203.0.113.10]}]
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.mark.parametrize("variant", PROXIES)
def test_services_of_every_kind_in_two_families_have_no_findings_when_all_answer(tmp_path: Path, variant: str) -> None:
    lab = Lab(tmp_path)
    text = (MANIFESTS / "dual.yaml").read_text().replace("VARIANT", variant)
    (tmp_path / "dual.yaml").write_text(f"{text}\n---{OTHERS}")

    def settled() -> bool:
        shown = (["ip", "-n", name, "-6", "addr"] for name in lab.namespaces())
        return all("tentative" not in subprocess.run(c, capture_output=True, text=True).stdout for c in shown)

    try:
        lab.run("up", str(tmp_path / "dual.yaml"))
        eventually(settled)
        (database,) = lab.json("diagnose", code=1)["findings"]
        assert database["object"] == "default/database 203.0.113.10:5432", "nobody there answers"
        outside = ["ip", "netns", "exec", lab.netns("outside"), sys.executable, "-m", "http.server", "5432"]
        with subprocess.Popen(outside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                eventually(lambda: not lab.json("diagnose", code=None)["findings"])
                notes = silent(lab)["notes"]
            finally:
                server.kill()
        assert len(notes) == 1 and "Service default/none" in notes[0], notes
    finally:
        lab.run("down")


@pytest.mark.parametrize("layout", ["current", "classic"])
def test_services_closed_by_their_policy_are_named_and_no_finding(tmp_path: Path, layout: str) -> None:
    """Those that lead nowhere on a node, by their policy, are named, and no fault."""
    lab = Lab(tmp_path)
    text = (MANIFESTS / "services.yaml").read_text().replace("VARIANT", "nft").replace("LAYOUT", layout)
    (tmp_path / "services.yaml").write_text(text)
    try:
        lab.run("up", str(tmp_path / "services.yaml"))
        answer = lab.json("diagnose", code=1)
        assert [f["object"] for f in answer["findings"]] == ["default/mysql 203.0.113.10:3306"], "nobody is there"
        assert {(f["kind"], f["fault"]) for f in answer["closed"]} == {("service", "local"), ("service", "ranges")}
    finally:
        lab.run("down")
