"""A diagnosis that passes pods by finds what is wrong inside one all the same, or says what it did not look at."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from k8snetlab.diagnose.finding import Finding
from k8snetlab.messages.diagnose import FINDINGS
from k8snetlab.messages.verb import Nothing
from k8snetlab.testing import Lab, eventually

PODS = ("a", "b", "c")
LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec: {nodeName: node%d, containers: [{name: c, ports: [{containerPort: 80}]}]}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("sampled")
    (directory / "lab.yaml").write_text(LAB + "".join(POD % (name, n % 2 + 1) for n, name in enumerate(PODS)))
    lab = Lab(directory)
    lab.environment["PYTHONPATH"] = str(Path(__file__).parent / "site")
    try:
        lab.run("up", str(directory / "lab.yaml"))
        yield lab
    finally:
        subprocess.run(lab.command("down"), env=lab.environment, capture_output=True, timeout=200)


@pytest.fixture
def paused(lab: Lab) -> Iterator[Lab]:
    """Its agents mend nothing, and have heard of no change in any pod."""
    eventually(lambda: passed_by(lab.json("diagnose", "--predict-only", code=None)) == len(PODS))
    for node in ("node1", "node2"):
        lab.run("pause", node)
    yield lab
    for node in ("node1", "node2"):
        lab.run("resume", node)


def passed_by(answer: dict[str, Any]) -> int:
    """How many pods were not read, by the note that tells of it."""
    said = [int(n.split(" of ")[0]) for n in answer["notes"] if "were not looked into" in n]
    assert answer["sampled"] == bool(said)
    return said[0] if said else 0


def asked_by_another_machine(lab: Lab) -> list[Finding]:
    socket = httpx.HTTPTransport(uds=str(lab.run_directory / lab.name / "api.sock"))
    with httpx.Client(transport=socket, base_url="http://lab", timeout=60) as client:
        answer = client.get(FINDINGS.target(Nothing())).raise_for_status()
    return msgspec.msgpack.decode(answer.content, type=list[Finding])


def inside(lab: Lab, pod: str, *command: str) -> None:
    subprocess.run(["ip", "netns", "exec", lab.netns("default", pod), *command], check=True)


class Fault(NamedTuple):
    command: str
    named: tuple[str, str]
    """The kind and fault of a finding."""


TOLD = {
    "route deleted": Fault("ip route del default", ("route", "missing")),
    "route of another kind": Fault("ip route replace blackhole default", ("route", "wrong")),
    "MTU": Fault("ip link set eth0 mtu 1280", ("link", "mtu")),
}


@pytest.mark.parametrize("case", TOLD.values(), ids=TOLD)
def test_a_pod_in_which_the_kernel_told_a_change_is_read(paused: Lab, case: Fault) -> None:
    inside(paused, "b", *case.command.split())
    answer = paused.json("diagnose", "--predict-only", code=1)
    assert passed_by(answer) == len(PODS) - 1
    found = [finding for finding in answer["findings"] if "default/b" in finding["message"]]
    assert case.named in [(finding["kind"], finding["fault"]) for finding in found], answer["findings"]


def test_rules_that_close_a_pod_are_met_by_a_path(paused: Lab) -> None:
    inside(paused, "c", "iptables", "-A", "INPUT", "-p", "tcp", "-j", "DROP")
    try:
        answer = paused.json("diagnose", code=1)
        assert passed_by(answer) == len(PODS)
        assert "default/c" in answer["findings"][0]["message"], answer["findings"]
    finally:
        inside(paused, "c", "iptables", "-F", "INPUT")


def test_a_rule_inside_a_pod_that_no_path_meets_is_noted(paused: Lab) -> None:
    inside(paused, "c", "iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "9999", "-j", "DROP")
    try:
        answer = paused.json("diagnose", "--predict-only")
        assert passed_by(answer) == len(PODS) and answer["findings"] == []
        (note,) = [note for note in answer["notes"] if "9999" in note]
        assert note.startswith("pod default/c: rule 1 of OUTPUT (table filter) is nobody's")
    finally:
        inside(paused, "c", "iptables", "-F", "OUTPUT")


def test_what_the_kernel_does_not_tell_is_noted_here_and_found_for_another_machine(paused: Lab) -> None:
    """Another machine has no notes of this one's: for it each pod is read."""
    inside(paused, "a", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=0")
    try:
        answer = paused.json("diagnose", "--predict-only")
        assert passed_by(answer) == len(PODS) and answer["findings"] == []
        assert any("their sysctls" in note for note in answer["notes"])
        (found,) = asked_by_another_machine(paused)
        assert (found.kind, found.netns) == ("sysctl", paused.netns("default", "a"))
    finally:
        inside(paused, "a", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
