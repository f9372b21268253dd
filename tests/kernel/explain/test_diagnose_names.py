"""diagnose names faults of cluster DNS: each put in by hand, named, taken out again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dnsprocess
import pytest

from k8snetlab.testing import Lab, eventually, running

pytestmark = pytest.mark.root

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c}]}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("names")
    (directory / "lab.yaml").write_text(LAB)
    with running(directory) as one:
        eventually(lambda: one.diagnose().findings == ())
        yield one


def found(lab: Lab) -> list[tuple[str, str]]:
    return [(finding.kind, finding.fault) for finding in lab.diagnose().findings]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("nameserver 10.96.0.10", "nameserver 192.0.2.1", "nameserver"),
        ("search default.svc.cluster.local ", "search ", "search"),
        ("ndots:5", "ndots:1", "ndots"),
    ],
)
def test_a_resolv_conf_edited_by_hand_is_named_and_mended_by_what_it_says(
    lab: Lab, old: str, new: str, fault: str
) -> None:
    file = Path("/etc/netns", lab.netns("default", "client"), "resolv.conf")
    before = file.read_text()
    file.write_text(before.replace(old, new))
    (finding,) = lab.diagnose().findings
    assert (finding.kind, finding.fault, finding.object) == ("resolver", fault, "default/client")
    subprocess.run(["bash", "-c", finding.mend], check=True)
    assert file.read_text() == before
    assert lab.diagnose().findings == ()


def test_a_server_of_names_that_stands_still_is_named(lab: Lab) -> None:
    pid = dnsprocess.pid_of(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: {("resolver", "silent"), ("resolver", "endpoints")} & set(found(lab)))
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: lab.diagnose().findings == ())


def test_no_endpoints_of_kube_dns_are_named(lab: Lab) -> None:
    lab.run("scale", "deployment/coredns", "--replicas", "0", "-n", "kube-system")
    assert ("resolver", "endpoints") in found(lab)
    lab.run("scale", "deployment/coredns", "--replicas", "1", "-n", "kube-system")
    eventually(lambda: lab.diagnose().findings == ())


def test_a_firewall_rule_that_drops_port_53_is_named(lab: Lab) -> None:
    rule = ("FORWARD", "-p", "udp", "--dport", "53", "-j", "DROP")
    lab.shell("node1", "iptables", "-I", *rule)
    finding = lab.diagnose().findings[0]
    assert finding.kind == "rule"
    assert "--dport 53" in finding.message + finding.object
    lab.shell("node1", "iptables", "-D", *rule)
    eventually(lambda: lab.diagnose().findings == ())
