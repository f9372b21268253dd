"""From any lab to any other by `up`: the kernel then holds what a fresh `up` of the second gives, and nothing else.

Addresses of pods, names with a hash and MAC addresses are given in the order in which things come, so they are masked;
everything else is compared line by line. K8SNETLAB_TRANSITIONS sets how many pairs are tried.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from labs import Lab, eventually

pytestmark = [pytest.mark.root, pytest.mark.timeout(1800)]
PAIRS = int(os.environ.get("K8SNETLAB_TRANSITIONS", "3"))
Json = dict[str, Any]
COMMANDS = (
    "ip -o -d link",
    "ip -o address",
    "ip route",
    "ip -6 route",
    "ip neigh show nud permanent",
    "bridge fdb",
    "iptables-nft-save",
    "ip6tables-nft-save",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
    "sysctl -a --pattern ^net\\.(ipv4\\.(ip_forward|conf)|bridge)",
)
MASKS = (
    (re.compile(r"^\d+: "), ""),
    (re.compile(r"@if\d+|link-netns \S+|link-netnsid \d+|index \d+|ifindex \d+|\bcan[-\w]+|numtxqueues.*"), ""),
    (re.compile(r"bridge_id \S+|designated_\w+ \S+|[a-z_]*timer +\S+|port_(id|no) \S+|topology_\w+ \S+"), ""),
    (re.compile(r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b"), "MAC"),
    (re.compile(r"\bfe80::[0-9a-f:]+"), "LOCAL"),
    (re.compile(r"\bveth[0-9a-f]+"), "VETH"),
    (re.compile(r"\b10\.244\.(\d+)\.(?!0\b|1\b|255\b)\d+"), r"POD.\1"),
    (re.compile(r"\b10\.96\.(?!0\.1\b)\d+\.\d+"), "SERVICE"),
    (re.compile(r"\b(KUBE-(SVC|SEP|SVL|EXT|FW)|CNI-DN)-\w+"), r"\1"),
    (re.compile(r"(web|db)-[a-z0-9]+-[a-z0-9]{5}"), r"\1"),
    (re.compile(r"id: \S+|dnat name: .*|probability [0-9.]+"), ""),
    (re.compile(r"valid_lft.*|expires.*|\[\d+:\d+\]|# .*"), ""),
    (re.compile(r"--to-ports? \S+"), "PORT"),
)  # fmt: skip


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
    documents: list[Json] = [{**lab, "spec": {"nodes": nodes, "network": network, "proxy": proxy}}]
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


def state(lab: Lab) -> dict[str, Counter[str]]:
    """What is in the lab's namespaces; those of pods by the Deployment they are of."""
    found: dict[str, Counter[str]] = {}
    for name in lab.namespaces():
        lines: Counter[str] = Counter()
        for command in COMMANDS:
            argv = ["ip", "netns", "exec", name, *command.split(" ")]
            text = subprocess.run(argv, capture_output=True, text=True, timeout=30).stdout
            text = text.replace(lab.name, "LAB")
            lines.update(f"{command}: {line}" for line in map(masked, text.splitlines()) if told(command, line))
        found.setdefault(masked(name.replace(lab.name, "LAB")), Counter()).update(lines)
    return found


def told(command: str, line: str) -> bool:
    """A table that was used stays in its namespace, empty (DESIGN: only a legacy module's end takes it away)."""
    return bool(line) and not ("save" in command and re.fullmatch(r"\*\w+|COMMIT|:[A-Z]+ ACCEPT", line))


def masked(line: str) -> str:
    for pattern, instead in MASKS:
        line = pattern.sub(instead, line)
    return " ".join(line.split())


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
def test_up_of_another_lab_is_as_a_fresh_one(pair: tuple[list[Json], list[Json]], tmp_path_factory: Any) -> None:
    directory = tmp_path_factory.mktemp("transition")
    lab, fresh = Lab(directory / "changed"), Lab(directory / "fresh")
    try:
        up(lab, pair[0], directory)
        up(lab, pair[1], directory)
        changed = state(lab)
        lab.run("down")
        up(fresh, pair[1], directory)
        expected = state(fresh)
    finally:
        lab.run("down", code=None)
        fresh.run("down", code=None)
    assert changed.keys() == expected.keys()
    different = {
        name: {"left": list(changed[name] - expected[name]), "missing": list(expected[name] - changed[name])}
        for name in changed
        if changed[name] != expected[name]
    }
    assert not different, "\n".join(
        f"{name} {what}: {line}" for name, sides in different.items() for what, lines in sides.items() for line in lines
    )
