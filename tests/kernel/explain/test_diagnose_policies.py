"""`diagnose` tells what a NetworkPolicy closes on purpose from what is wrong with its rules and sets."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from k8snetlab.kernel import ipsets
from k8snetlab.messages.diagnose import Diagnosis, ReportedFinding
from k8snetlab.testing import Lab, eventually, running

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}}
"""
POLICY = """---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
    - from: [{podSelector: {matchLabels: {role: friend}}}]
"""
PODS = {"web": ("node1", "app: web"), "near": ("node1", ""), "friend": ("node2", "role: friend"), "far": ("node2", "")}
PREFIXES = ("KUBE-SRC-", "KUBE-DST-")
TOOL = "iptables-nft -t filter"


def manifest() -> str:
    found = [LAB, POLICY]
    for name, (node, labels) in PODS.items():
        ports = "ports: [{containerPort: 80}]"
        found.append(
            f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
            f"spec: {{nodeName: {node}, containers: [{{name: c, {ports}}}]}}\n"
        )
    return "".join(found)


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("policies")
    (directory / "lab.yaml").write_text(manifest())
    with running(directory) as lab:
        yield lab


@pytest.fixture
def paused(working: Lab) -> Iterator[Lab]:
    """Its agents mend nothing until the test is over."""
    eventually(lambda: working.diagnose("--predict-only").findings == ())
    for node in ("node1", "node2"):
        working.run("pause", node)
    yield working
    for node in ("node1", "node2"):
        working.run("resume", node)


def inside(lab: Lab, command: str) -> None:
    subprocess.run(["ip", "netns", "exec", lab.netns("node1"), "bash", "-c", command], check=True)


def only(answer: Diagnosis) -> ReportedFinding:
    assert len(answer.findings) == 1, answer.findings
    return answer.findings[0]


def mended(lab: Lab, finding: ReportedFinding) -> bool:
    for command in finding.mend.splitlines():
        if command.startswith("k8snetlab "):
            lab.run(*command.split()[1:])
        else:
            subprocess.run(["bash", "-c", command], check=True)
    eventually(lambda: lab.diagnose("--predict-only").findings == ())
    return True


def test_what_a_policy_refuses_is_closed_on_purpose_and_no_fault(working: Lab) -> None:
    answer = working.diagnose()
    assert answer.findings == ()
    (closed,) = answer.closed
    assert (closed.kind, closed.object) == ("networkpolicy", "default/web")
    (start, _, end) = closed.message.partition(" (")
    assert start == "pod default/web takes in only what NetworkPolicy default/web" and closed.source.endswith("yaml:6")
    assert end.endswith("lab.yaml:6) allows; refused is for example default/far to default/web:80")
    assert working.run(*closed.show.split()[1:], code=1).startswith("default/far -> default/web:80/TCP: denied")


GUARD = """
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 1
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {role: friend}}}}
  egress: [{action: Deny, to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}]}]
"""


def test_what_a_cluster_network_policy_denies_is_closed_on_purpose(working: Lab, tmp_path: Path) -> None:
    (tmp_path / "guard.yaml").write_text(GUARD)
    working.run("apply", "-f", str(tmp_path / "guard.yaml"))
    try:
        answer = working.diagnose()
        assert answer.findings == ()
        said = [one.message for one in answer.closed if one.object == "guard"]
        assert said and "pod default/friend sends not all: ClusterNetworkPolicy guard (" in said[0]
        assert "guard.yaml:2) denies some of it; refused is for example default/friend to default/web:80" in said[0]
        assert not working.probe("friend", "pod/web").reached
    finally:
        working.run("delete", "-f", str(tmp_path / "guard.yaml"))


def test_a_set_that_lacks_a_pod_and_holds_another_is_named_with_both(paused: Lab) -> None:
    node = paused.netns("node1")
    held = ipsets.held(node, PREFIXES)
    (peers,) = (one for name, one in held.items() if name.startswith("KUBE-SRC-"))
    friend, far = (paused.address_of(f"pod/{name}") for name in ("friend", "far"))
    assert peers.entries == {friend}
    assert ipsets.bring(node, [replace(peers, entries=frozenset({far}))], held) == {}
    finding = only(paused.diagnose("--predict-only"))
    assert (finding.kind, finding.fault, finding.object) == ("set", "wrong", peers.name)
    assert f"of NetworkPolicy default/web lacks {friend} (Pod default/friend) and holds {far} (Pod" in finding.message
    paths = " ".join(finding.paths)
    assert f"friend {paused.address_of('pod/web')}:80" in paths
    assert f"far {paused.address_of('pod/web')}:80: it is answered, though NetworkPolicy default/web does not" in paths
    assert mended(paused, finding)


@pytest.mark.parametrize(
    ("damage", "kind", "says"),
    [
        (f"{TOOL} -D FORWARD 1", ("hook", "missing"), "no NetworkPolicy is asked for pods of this node"),
        (f"{TOOL} -F $POD", ("chain", "empty"), "no NetworkPolicy is asked for pod default/web: what they deny passes"),
        (f"{TOOL} -D $POD -j MARK --set-xmark 0x0/0x10000", ("rule", "missing"), "are not kept for pod default/web"),
        (f"{TOOL} -F $SAID", ("chain", "empty"), "NetworkPolicy default/web is not kept: what only it allows"),
        (f"{TOOL} -D KUBE-ROUTER-FORWARD 1", ("rule", "missing"), "asked for pod default/web: what they deny passes"),
        (f"{TOOL} -I FORWARD -j ACCEPT", ("rule", "foreign"), ""),
        ("sysctl -qw net.bridge.bridge-nf-call-iptables=0", ("sysctl", "wrong"), "no NetworkPolicy is asked between"),
    ],
)
def test_rules_that_somebody_has_changed_are_a_fault(
    paused: Lab, damage: str, kind: tuple[str, str], says: str
) -> None:
    chains = f"{TOOL} -S | sed -n 's/^-N //p'"
    pod = f"{TOOL} -S KUBE-ROUTER-FORWARD | grep -m1 'default/web in' | grep -o 'KUBE-POD-FW.*'"
    said = f"{chains} | grep NWPLCY | grep -vm1 'COMMON\\|DEFAULT'"
    inside(paused, f"POD=$({pod}) SAID=$({said})\n{damage}")
    finding = only(paused.diagnose("--predict-only"))
    assert (finding.kind, finding.fault) == kind
    assert says in finding.consequence
    assert finding.paths or says.startswith("are not kept"), "a path shows what came of it"
    assert mended(paused, finding)


def test_a_real_packet_that_passes_though_it_is_denied_is_laid_to_its_cause(paused: Lab) -> None:
    inside(paused, f"{TOOL} -I FORWARD -j ACCEPT")
    assert only(paused.diagnose()).fault == "foreign"
    inside(paused, f"{TOOL} -D FORWARD 1")


def test_policies_without_a_controller_are_noted_and_close_nothing(working: Lab, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(manifest().replace("nodes: 2,", "nodes: 2, networkPolicy: {controller: none},"))
    said = working.json("up", "--yes", str(tmp_path))["warnings"]
    words = "1 NetworkPolicy is stored and without effect: networkPolicy.controller of Lab"
    assert [one for one in said if one.startswith(words)] == said
    for verb in (["matrix"], ["explain", "web"], ["why", "near", "web:80"], ["lint"]):
        assert working.json("policy", *verb, code=None)["withoutEffect"].startswith(words)
    answer = working.diagnose()
    assert answer.findings == () and answer.closed == ()
    assert [note for note in answer.notes if note.startswith(words)]
    assert working.probe("far", "pod/web").reached
