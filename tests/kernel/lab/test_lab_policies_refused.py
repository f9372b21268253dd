"""What of NetworkPolicies the kernel refuses opens nothing, closes pods, is shown, and keeps new ones unplugged; who
keeps the rules may die."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from policypackets import PATIENCE, policy

from k8snetlab.api.meta import LabelSelector
from k8snetlab.dataplane import felix_names
from k8snetlab.dataplane.sets import IPSet
from k8snetlab.kernel import ipsets, netns
from k8snetlab.policies import calico_words
from k8snetlab.render.netpol import names
from k8snetlab.testing.lab import Lab
from k8snetlab.testing.waiting import eventually

POD = """---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec: {{nodeName: node1, containers: [{{name: c, image: i, ports: [{{containerPort: 80}}]}}]}}
"""
POLICY = policy(
    "{podSelector: {matchLabels: {app: a}}, ingress: [{from: [{podSelector: {matchLabels: {app: b}}}]}]}",
    "default",
    "only-b",
)
GUARD = policy(
    "{tier: Admin, priority: 1, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: a}}}},"
    " ingress: [{action: Deny, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: c}}}}]}]}",
    name="guard",
)
SETS = {
    POLICY: names.peer_set("default", "only-b", "ingress", 0, "pod", "ipv4"),
    GUARD: names.peer_set("", "guard", "ingress", 0, "pod", "ipv4"),
}
"""The set of the peers of each."""
FELIX = ", podCIDR: 10.1.0.0/16, network: {backend: calico, ipPools: [{cidr: 10.1.0.0/16}]}"
FELIX_CHAIN = felix_names.policy_chain(("default", "only-b"), "ingress")
FELIX_SET = felix_names.set_name(
    felix_names.selector_id(calico_words.peer("default", None, LabelSelector({"app": "b"}))), "ipv4"
)
"""What Felix has of POLICY."""


class Crippled:
    """A lab on a machine whose iptables can be robbed of extensions."""

    def __init__(self, directory: Path, variant: str, more: str = "") -> None:
        self.lab = Lab(directory)
        self.iptables = f"iptables-{variant}"
        self._extensions = directory / "xtables"
        self._real = next(Path("/usr/lib").glob("*/xtables"))
        shutil.copytree(self._real, self._extensions, symlinks=True)
        self.lab.environment["XTABLES_LIBDIR"] = str(self._extensions)
        self._file, self._variant = directory / "lab.yaml", variant
        self.up(more)

    def up(self, more: str, code: int = 0) -> None:
        head = f"apiVersion: k8snetlab/v1alpha1\nkind: Lab\nmetadata: {{name: {self.lab.name}}}\n"
        spec = f"spec: {{nodes: 1, dns: {{enabled: false}}, proxy: {{iptables: {self._variant}}}{more}}}\n"
        self._file.write_text(head + spec + "".join(POD.format(name=name) for name in "abc"))
        self.lab.run("up", "--yes", str(self._file), code=code)

    def take(self, extension: str) -> None:
        for file in self._extensions.glob(f"lib*t_{extension}.so"):
            file.unlink()

    def give(self, extension: str) -> None:
        for file in self._real.glob(f"lib*t_{extension}.so"):
            shutil.copy(file, self._extensions)

    def reached(self, source: str, target: str = "a") -> bool:
        return self.lab.probe(source, f"{target}:80").reached

    def problems(self) -> list[str]:
        found: list[str] = self.lab.json("status", code=None)["problems"]
        return found


@pytest.fixture(scope="module", params=["nft", "legacy"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crippled]:
    if not list(Path("/usr/lib").glob("*/xtables/libxt_set.so")):
        pytest.skip("iptables' extensions are not files here")
    crippled = Crippled(tmp_path_factory.mktemp("refused"), request.param)
    yield crippled
    crippled.lab.run("down")


@pytest.fixture
def crippled(machine: Crippled) -> Iterator[Crippled]:
    """Without policies before and after."""
    yield machine
    for text in (POLICY, GUARD):
        machine.lab.run("delete", "-f", "-", stdin=text, code=None)


def test_a_policy_whose_rules_are_refused_lets_nobody_in_and_is_shown(crippled: Crippled) -> None:
    assert crippled.reached("b")
    crippled.take("set")
    crippled.lab.run("apply", "-f", "-", stdin=POLICY, code=1)
    assert not crippled.reached("b") and not crippled.reached("c")
    assert any("KUBE-NWPLCY-" in line for line in crippled.problems()), crippled.problems()
    assert crippled.reached("a", "b"), "what the policy does not select is as it was"
    crippled.give("set")
    eventually(lambda: crippled.problems() == [])
    assert crippled.reached("b") and not crippled.reached("c")


@pytest.mark.parametrize("text", [POLICY, GUARD], ids=["NetworkPolicy", "ClusterNetworkPolicy"])
def test_a_set_that_the_kernel_refuses_opens_nothing_and_is_shown(crippled: Crippled, text: str) -> None:
    """It refuses one while a stranger's of that name, of another type, is used by a rule. What a set would have
    allowed is closed then, and where it would have denied, all is."""
    lab, name = crippled.lab, SETS[text]
    assert crippled.reached("b")
    ipsets.bring(lab.netns("node1"), [IPSet(name, "hash:net", "ipv4", frozenset({"192.0.2.0/24"}))], {})
    rule = ("FORWARD", "-m", "set", "--match-set", name, "src", "-j", "RETURN")
    lab.shell("node1", crippled.iptables, "-w", "-A", *rule)
    lab.run("apply", "-f", "-", stdin=text, code=1)
    assert not crippled.reached("b") and not crippled.reached("c")
    assert any(name in line for line in crippled.problems()), crippled.problems()
    assert crippled.reached("a", "b"), "what the policy does not select is as it was"
    lab.shell("node1", crippled.iptables, "-w", "-D", *rule)
    eventually(lambda: crippled.problems() == [])
    assert crippled.reached("b") and not crippled.reached("c")


def test_a_new_pod_is_plugged_in_once_its_rules_are_taken(crippled: Crippled) -> None:
    lab = crippled.lab
    lab.apply(POLICY)
    assert crippled.reached("b") and not crippled.reached("c")
    crippled.take("physdev")
    lab.run("apply", "-f", "-", "--wait=false", stdin=POD.format(name="d"))
    eventually(lambda: any("iptables" in line for line in crippled.problems()))
    assert not netns.exists(lab.netns("default", "d"))
    assert crippled.reached("b") and not crippled.reached("c"), "what was taken before stands"
    crippled.give("physdev")
    eventually(lambda: crippled.problems() == [])
    eventually(lambda: crippled.reached("b", "d"))


def test_a_pod_whose_own_rules_are_refused_is_closed_and_that_is_shown(crippled: Crippled) -> None:
    """Also one that is plugged in already. Its own node reaches it; a pod that no policy selects is as it was."""
    assert crippled.reached("c")
    crippled.take("limit")
    crippled.lab.run("apply", "-f", "-", stdin=POLICY, code=1)
    assert not crippled.reached("b") and not crippled.reached("c") and not crippled.reached("a", "b")
    assert crippled.reached("c", "b") and crippled.reached("node1")
    (problem,) = (line for line in crippled.problems() if "KUBE-" in line)
    assert "pods that policies select are closed" in problem
    crippled.give("limit")
    eventually(lambda: crippled.problems() == [])
    assert crippled.reached("b") and not crippled.reached("c") and crippled.reached("a", "b")


def test_what_the_kernel_refuses_of_felix_opens_nothing_and_is_shown(tmp_path: Path) -> None:
    """A policy's rule, its set, and a pod's own rules, in turn; each is taken once the kernel does."""
    crippled = Crippled(tmp_path, "nft", FELIX)
    lab = crippled.lab
    try:
        assert crippled.reached("b")
        crippled.take("set")
        lab.run("apply", "-f", "-", stdin=POLICY, code=1)
        assert not crippled.reached("b") and not crippled.reached("c") and crippled.reached("a", "b")
        assert any(FELIX_CHAIN in line and "allows nothing" in line for line in crippled.problems())
        crippled.give("set")
        eventually(lambda: crippled.problems() == [])
        assert crippled.reached("b")
        lab.run("delete", "-f", "-", stdin=POLICY)

        ipsets.bring(lab.netns("node1"), [IPSet(FELIX_SET, "hash:ip", "ipv4", frozenset({"192.0.2.1"}))], {})
        rule = ("FORWARD", "-m", "set", "--match-set", FELIX_SET, "src", "-j", "RETURN")
        lab.shell("node1", crippled.iptables, "-w", "-A", *rule)
        lab.run("apply", "-f", "-", stdin=POLICY, code=1)
        assert not crippled.reached("b")
        assert any(FELIX_SET in line for line in crippled.problems()), crippled.problems()
        lab.shell("node1", crippled.iptables, "-w", "-D", *rule)
        eventually(lambda: crippled.problems() == [])
        assert crippled.reached("b")

        crippled.take("REJECT")
        crippled.up(FELIX + ", networkPolicy: {cutEstablished: true}", code=1)
        assert not crippled.reached("b") and crippled.reached("node1")
        assert crippled.reached("c", "b"), "no policy selects it"
        assert any("pods that policies select are closed" in line for line in crippled.problems())
        lab.run("apply", "-f", "-", "--wait=false", stdin=POD.format(name="d"))
        assert not netns.exists(lab.netns("default", "d"))
        crippled.give("REJECT")
        eventually(lambda: crippled.problems() == [])
        eventually(lambda: crippled.reached("b", "d"))
        assert crippled.reached("b") and not crippled.reached("c")
    finally:
        lab.run("down")


def test_rules_outlive_who_keeps_them(crippled: Crippled) -> None:
    lab = crippled.lab
    lab.apply(POLICY)
    addresses = [str(lab.get("pod", name)["status"]["podIP"]) for name in "ab"]
    lab.kill("daemon")
    for rule in (f"-d {addresses[0]}/32", f"-s {addresses[0]}/32"):
        assert rule in lab.shell("node1", f"{crippled.iptables}-save", "-t", "filter")
    assert answers(lab, "b", addresses[0]) and not answers(lab, "c", addresses[0])


def answers(lab: Lab, source: str, address: str) -> bool:
    """Of a real connection, for which no daemon is needed."""
    import socket

    with netns.inside(lab.netns("default", source)):
        sock = socket.socket()
    with sock:
        sock.settimeout(PATIENCE)
        return sock.connect_ex((address, 80)) == 0
