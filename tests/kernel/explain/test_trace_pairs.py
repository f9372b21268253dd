"""Prediction equals observation for every pair of `probe --all`: on every scenario, every backend, both variants and
both layouts of the proxy's rules, and both IP families.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import MANIFESTS, SCENARIOS

from k8snetlab.client.client import Client
from k8snetlab.messages.probe import PROBE, ProbeQuestion
from k8snetlab.messages.trace import TRACE, Trace, TraceQuestion
from k8snetlab.testing import Lab, eventually

Json = dict[str, Any]
DUAL = MANIFESTS / "dual.yaml"
AT_ONCE = 8

DEFAULTS: Json = {"backend": "vxlan", "vni": 1, "port": 8472}
NETWORKS: dict[str, Json] = {
    "vxlan": {},
    "another port and VNI": {"port": 4789, "vni": 77},
    "flat": {"routes": "flat"},
    "on-miss": {"resolve": "on-miss"},
    "on-miss, flat": {"resolve": "on-miss", "routes": "flat"},
    "direct routing": {"directRouting": True},
    "host-gw": {"backend": "host-gw"},
}
PROXIES: dict[str, Json] = {
    "nft": {"iptables": "nft"},
    "legacy": {"iptables": "legacy"},
    "classic on nft": {"iptables": "nft", "layout": "classic"},
    "classic on legacy": {"iptables": "legacy", "layout": "classic"},
}
SCENES = {path.parent.name: path.parent for path in SCENARIOS.glob("*/lab.yaml")} | {"dual": DUAL.parent}
PRODUCT = ("two-nodes",)
"""Scenes on which every pair meets every backend with every proxy.

On the others every pair meets the proxies of `SOME` with the scene's own backend, and the backends of `OTHERS` with the
first of them one place of each kind on each node: what is left out differs in nothing but addresses, and takes minutes.
"""
SOME = ("nft", "classic on legacy")
OTHERS = ("flat", "on-miss", "host-gw")


def cases() -> Iterator[tuple[str, str]]:
    for scene in sorted(SCENES):
        if "machines" not in lab_of(scene)["spec"]:
            yield from ((scene, proxy) for proxy in (PROXIES if scene in PRODUCT else SOME))


def lab_of(scene: str) -> Json:
    return next(document for document in documents(scene) if document["kind"] == "Lab")


def documents(scene: str) -> list[Json]:
    files = [DUAL] if scene == "dual" else sorted(SCENES[scene].glob("*.yaml"))
    text = "\n---\n".join(file.read_text() for file in files)
    return [document for document in yaml.safe_load_all(text) if document]


def networks(scene: str, proxy: str) -> Iterator[tuple[str, Json]]:
    """The scene's own first."""
    own = DEFAULTS | lab_of(scene)["spec"].get("network", {})
    yield "its own", own
    if proxy == next(iter(PROXIES)) or scene in PRODUCT:
        others = ((name, DEFAULTS | NETWORKS[name]) for name in (NETWORKS if scene in PRODUCT else OTHERS))
        several = bool(lab_of(scene)["spec"].get("underlay", {}).get("links"))
        fits = ((name, one) for name, one in others if not (several and one["backend"] == "host-gw"))
        yield from ((name, network) for name, network in fits if network != own)


@pytest.mark.parametrize(("scene", "proxy"), [*cases()])
@pytest.mark.timeout(900)
def test_prediction_equals_observation_for_every_pair(
    scene: str, proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path)
    monkeypatch.setenv("K8SNETLAB_RUN", str(lab.run_directory))
    try:
        for name, network in networks(scene, proxy):
            up(lab, scene, PROXIES[proxy], network, tmp_path / "scene.yaml")
            asked, different = compared(lab, scene, name == "its own" or scene in PRODUCT)
            assert asked and different == [], (scene, proxy, name)
    finally:
        lab.run("down")


def up(lab: Lab, scene: str, proxy: Json, network: Json, file: Path) -> None:
    held = documents(scene)
    spec = next(document for document in held if document["kind"] == "Lab")["spec"]
    spec |= {"proxy": proxy, "network": network, "dns": {"enabled": False}}
    file.write_text(yaml.safe_dump_all(held))
    lab.run("up", str(file))
    assert lab.json("status")["iptables"] == proxy["iptables"]
    eventually(lambda: settled(lab))


def settled(lab: Lab) -> bool:
    """Duplicate address detection is over: until then the first packets of an IPv6 address are lost."""
    return not any("tentative" in addresses(namespace) for namespace in lab.namespaces())


def addresses(namespace: str) -> str:
    command = ["ip", "-n", namespace, "-6", "addr"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def compared(lab: Lab, scene: str, whole: bool) -> tuple[int, list[object]]:
    """How many packets were asked for, and what of them was otherwise than predicted."""
    probed = [r for r in lab.json("probe", "--all", code=None)["results"] if scene != "dual" or six(r)]
    first = dict(sorted({(r["fromNode"], r["from"]) for r in probed if r["from"] != r["fromNode"]}, reverse=True))
    some = {*first.values(), *first}
    probed = [r for r in probed if whole or r["from"] in some]
    questions = [(r["from"], r["address"], r["port"], r["protocol"].lower()) for r in probed]
    pods = sorted({r["address"] for r in probed if r["kind"] == "pod"})
    far = {"outside", *(host["name"] for host in lab_of(scene)["spec"].get("outside", {}).get("hosts", ()))}
    inside = [source for source in first.values() if source not in far]
    questions += [(source, address, None, "icmp") for source in inside for address in pods]
    client = Client(lab.name)

    def ask(question: tuple[str, str, int | None, str]) -> Trace:
        return client.call(TRACE, TraceQuestion(*question))

    with ThreadPoolExecutor(AT_ONCE) as several:
        answers = list(several.map(ask, questions))
    different: list[object] = []
    reached = [r["reached"] for r in probed] + [True] * (len(questions) - len(probed))
    for question, answer, arrived in zip(questions, answers, reached, strict=True):
        observed = answer.observed
        assert observed is not None
        heard = observed.fate == "answered"
        if heard and not arrived:  # a lab that has only just changed may lose a first packet: asked once more
            source, address, port, protocol = question
            arrived = client.call(PROBE, ProbeQuestion(source, address, port, (protocol,))).results[0].reached
        if heard != arrived or not observed.agrees:
            different.append((question, arrived, observed))
        assert sum(way.probability for way in answer.ways) == pytest.approx(1)
    return len(questions), different


def six(result: Json) -> bool:
    """Of the lab with both families IPv6 is asked for here, from one place of each kind."""
    return ":" in result["address"] and result["from"] in ("web1", "node2", "outside")
