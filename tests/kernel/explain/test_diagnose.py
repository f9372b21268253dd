"""`diagnose` names the true cause first, for every kind of damage in a table, and its commands mend it."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from damage import AS_FAULTS, DAMAGE

from k8snetlab.testing import Lab, eventually

Json = dict[str, Any]
MANIFEST = Path(__file__).parent / "diagnosed.yaml"

pytestmark = pytest.mark.timeout(900)


def settled(lab: Lab) -> bool:
    """Duplicate address detection is over: until then a pod's first packets are lost."""
    shown = (["ip", "-n", name, "-6", "addr"] for name in lab.namespaces())
    return all("tentative" not in subprocess.run(c, capture_output=True, text=True).stdout for c in shown)


def start(directory: Path, variant: str) -> Lab:
    lab = Lab(directory)
    (directory / "lab.yaml").write_text(MANIFEST.read_text().replace("VARIANT", variant))
    binary = directory / "bin" / "k8snetlab"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec {sys.executable} -m k8snetlab "$@"\n')
    binary.chmod(0o755)
    lab.environment["PATH"] = f"{binary.parent}:{os.environ['PATH']}"
    lab.run("up", str(directory / "lab.yaml"))
    eventually(lambda: settled(lab))
    return lab


@pytest.fixture(scope="module", params=["nft", "legacy"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def working(variant: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose agents work."""
    lab = start(tmp_path_factory.mktemp("working"), variant)
    yield lab
    lab.run("down")


@pytest.fixture(scope="module")
def paused(variant: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose agents mend nothing."""
    lab = start(tmp_path_factory.mktemp("paused"), variant)
    pause(lab)
    yield lab
    lab.run("down")


def pause(lab: Lab) -> None:
    for node in ("node1", "node2"):
        lab.run("pause", node)


def mended_by_agents(lab: Lab) -> None:
    for node in ("node1", "node2"):
        lab.run("resume", node)
    eventually(lambda: not any(n["agent"]["drift"] for n in lab.json("status")["nodes"]))
    pause(lab)


def sh(lab: Lab, line: str) -> None:
    done = subprocess.run(["sh", "-c", line], env=lab.environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def healthy(lab: Lab, *words: str) -> Json:
    answer: Json = lab.json("diagnose", *words)
    assert answer["findings"] == []
    return answer


@functools.cache
def pods_of(lab: Lab) -> list[Json]:
    """As `up` made them; no test changes them before it asks for facts."""
    items: list[Json] = lab.json("get", "pods")["items"]
    return items


def facts(lab: Lab, variant: str) -> dict[str, str]:
    """Names and addresses to break things with."""
    found = {"lab": lab.name, "n1": f"{lab.name}.node1", "n2": f"{lab.name}.node2", "router": f"{lab.name}.router"}
    for pod in pods_of(lab):
        name, ips = pod["metadata"]["name"], [ip["ip"] for ip in pod["status"]["podIPs"]]
        found |= {name: ips[0], f"{name}v6": ips[1], f"ns_{name}": f"{lab.name}.default.{name}"}
        node = f"{lab.name}.{pod['spec']['nodeName']}"
        own = json.loads(subprocess.check_output(["ip", "-n", found[f"ns_{name}"], "-j", "link", "show", "eth0"]))[0]
        found[f"mac_{name}"] = own["address"]
        links = json.loads(subprocess.check_output(["ip", "-n", node, "-j", "link"]))
        found[f"veth_{name}"] = next(link["ifname"] for link in links if link["ifindex"] == own["link_index"])
    for node in ("node1", "node2"):
        for device, name in (("flannel.1", "vtep"), ("flannel-v6.1", "vtep6")):
            found[f"{name}_{node}"] = json.loads(lab.shell(node, "ip", "-j", "link", "show", device))[0]["address"]
    rules = lab.shell("node1", f"iptables-{variant}-save", "-t", "nat")
    found["svc"] = next(iter(re.findall(r"default/web:tcp cluster IP.* -j (KUBE-SVC-\w+)", rules)))
    found["sep"] = next(iter(re.findall(rf"-A (KUBE-SEP-\w+) .*--to-destination {found['web2']}:8080", rules)))
    tools = {"ipt1": ("n1", "iptables"), "ipt2": ("n2", "iptables"), "ip6t1": ("n1", "ip6tables")}
    found |= {name: f"ip netns exec {found[ns]} {tool}-{variant} -w" for name, (ns, tool) in tools.items()}
    found["other"] = "legacy" if variant == "nft" else "nft"
    found["sysctl1"] = f"ip netns exec {found['n1']} sysctl -qw"
    return found


IN_RULES = [name for name, one in DAMAGE.items() if "{ip" in one.command or "{other}" in one.command]
"""What is done to iptables' rules is another thing with each variant; the rest is the same with both."""


@pytest.mark.parametrize("variant", ["nft"], indirect=True, scope="module")
@pytest.mark.parametrize("damage", [name for name in DAMAGE if name not in AS_FAULTS])
def test_the_cause_is_named_first_and_its_command_mends_it(paused: Lab, variant: str, damage: str) -> None:
    broken_and_mended(paused, variant, damage)


@pytest.mark.parametrize("variant", ["legacy"], indirect=True, scope="module")
@pytest.mark.parametrize("damage", IN_RULES)
def test_the_cause_is_named_in_the_other_variant(paused: Lab, variant: str, damage: str) -> None:
    broken_and_mended(paused, variant, damage)


def broken_and_mended(paused: Lab, variant: str, damage: str) -> None:
    known = facts(paused, variant) | {"variant": variant}
    case = DAMAGE[damage]
    sh(paused, case.command.format(**known))
    try:
        answer = paused.json("diagnose", code=1)
        first = answer["findings"][0]
        named = (first["kind"], first["fault"], first["node"])
        shown = json.dumps(answer["findings"], indent=1, ensure_ascii=False)
        assert named == (case.kind, case.fault, case.node), shown
        assert case.object.format(**known) in first["object"], shown
        assert case.words.format(**known) in first["message"], shown
        assert first["consequence"] and first["show"], shown
        looked = subprocess.run(["sh", "-c", first["show"]], env=paused.environment, capture_output=True, text=True)
        assert looked.stdout or "does not exist" in looked.stderr or not looked.stderr, looked
        for line in first["mend"].splitlines():
            sh(paused, line)
        if "k8snetlab" in first["mend"]:
            pause(paused)
        eventually(lambda: settled(paused))
        assert paused.json("diagnose", code=None)["findings"] == [], f"not mended by {first['mend']}"
    except BaseException:
        mended_by_agents(paused)
        raise
    rest = [f["kind"] for f in answer["findings"][1:]]
    assert rest == (["variant"] if "(" in case.object else []), shown


# --- what is written in manifests, and what no agent does ----------------------------------------------------------

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  clusterIPs: [10.96.0.11, "fd00:10:96::11"]
"""


class Written(NamedTuple):
    """A manifest with a fault, and the only finding then; `words` stand in its message."""

    text: str
    kind: str
    fault: str
    node: str
    object: str
    words: str


WRITTEN: dict[str, Written] = {
    "targetPort wrong": Written(
        text=SERVICE + "  selector: {app: web}\n  ports: [{name: tcp, port: 80, targetPort: 9999, nodePort: 30080}]",
        kind="service",
        fault="targetPort",
        node="",
        object="default/web:80",
        words="sends port 80 to port 9999, where nobody listens; its pods do on 8080, 5353",
    ),
    "name of the targetPort wrong": Written(
        text=SERVICE + "  selector: {app: web}\n  ports: [{name: tcp, port: 80, targetPort: htpp, nodePort: 30080}]",
        kind="service",
        fault="targetPort",
        node="",
        object="default/web:80",
        words="sends port 80 to the port named htpp, which no pod of it has (names: http)",
    ),
    "selector wrong": Written(
        text=SERVICE + "  selector: {app: wbe}\n  ports: [{name: tcp, port: 80, targetPort: 8080, nodePort: 30080}]",
        kind="service",
        fault="selector",
        node="",
        object="default/web",
        words="Service default/web selects app=wbe, which no pod has; web1 has app=web",
    ),
    "an endpoint that nobody is": Written(
        text="""
apiVersion: v1
kind: Service
metadata: {name: byhand}
spec: {clusterIP: 10.96.0.12, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: byhand-1, labels: {kubernetes.io/service-name: byhand}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.1.77]}]
""",
        kind="endpoint",
        fault="stale",
        node="",
        object="10.244.1.77",
        words="Service default/byhand has the endpoint 10.244.1.77, an address that no pod has",
    ),
    "a command that does not exist": Written(
        text="""
apiVersion: v1
kind: Pod
metadata: {name: broken}
spec: {nodeName: node1, containers: [{name: c, command: [/no/such/program]}]}
""",
        kind="pod",
        fault="waiting",
        node="node1",
        object="default/broken",
        words="pod default/broken:",
    ),
}


@pytest.mark.parametrize("fault", WRITTEN)
def test_a_fault_in_a_manifest_is_named_with_its_line(working: Lab, tmp_path: Path, fault: str) -> None:
    case = WRITTEN[fault]
    file = tmp_path / "fault.yaml"
    file.write_text(case.text.lstrip())
    healthy(working)
    try:
        working.run("apply", "-f", str(file))
        answer = working.json("diagnose", code=1)
        first = answer["findings"][0]
        shown = json.dumps(answer["findings"], indent=1, ensure_ascii=False)
        named = (first["kind"], first["fault"], first["node"], first["object"])
        assert named == (case.kind, case.fault, case.node, case.object), shown
        assert case.words in first["message"], shown
        assert re.fullmatch(rf"{re.escape(str(file))}:\d+", first["source"]), shown
        assert len(answer["findings"]) == 1, shown
    finally:
        working.run("delete", "-f", str(file), code=None)
        working.run("up", str(working.run_directory.parent / "lab.yaml"))
        eventually(lambda: settled(working))
    healthy(working)


def test_rules_that_lead_to_a_pod_that_has_gone(working: Lab, variant: str) -> None:
    known = facts(working, variant)
    working.run("pause", "node1")
    try:
        working.run("delete", "pod", "web3")
        answer = working.json("diagnose", code=1)
        first = answer["findings"][0]
        assert (first["kind"], first["fault"], first["node"]) == ("endpoint", "stale", "node1")
        assert first["object"] == f"{known['web3']}:5353" and f"{known['web3']}:8080" in first["message"]
        assert "no endpoint of Service default/web" in first["message"]
        assert first["paths"]
        assert {f["kind"] for f in answer["findings"]} == {"endpoint"}
        assert {f["node"] for f in answer["findings"]} == {"node1"}
        for line in first["mend"].splitlines():
            sh(working, line)
    finally:
        working.run("resume", "node1")
    eventually(lambda: not any(n["agent"]["drift"] for n in working.json("status")["nodes"]))
    working.run("up", str(working.run_directory.parent / "lab.yaml"))
    eventually(lambda: settled(working))
    healthy(working)


def test_two_causes_are_both_named_and_node_narrows(paused: Lab, variant: str) -> None:
    known = facts(paused, variant)
    sh(paused, "bridge -n {n1} fdb del {vtep_node2} dev flannel.1".format(**known))
    sh(paused, "ip -n {n2} link set {veth_web2} down".format(**known))
    try:
        found = paused.json("diagnose", code=1)["findings"]
        assert {(f["kind"], f["node"], f["object"]) for f in found} == {
            ("fdb", "node1", known["vtep_node2"]),
            ("link", "node2", known["veth_web2"]),
        }
        only = paused.json("diagnose", "--node", "node1", "--predict-only", code=1)
        assert [f["kind"] for f in only["findings"]] == ["fdb"] and only["paths"]["tried"] == 0
        told = paused.run("diagnose", "--node", "node1", code=1)
        assert told.startswith("1. node1: FDB entry") and "   mend: bridge -n" in told and "   see:  bridge -n" in told
        assert "hint: nodes: node1, node2" in paused.run("diagnose", "--node", "node9", code=1)
    finally:
        mended_by_agents(paused)
    healthy(paused)
