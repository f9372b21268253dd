"""Rules that change hands in a running lab: layouts and variants switched, strangers' rules, and what is refused."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Target, exchange

from k8snetlab.kernel import netns
from k8snetlab.testing import Lab, eventually

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}, proxy: {iptables: VARIANT, layout: LAYOUT}}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node2, containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [203.0.113.0/24]
  selector: {app: web}
  ports: [{port: 80, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}
"""
STICKY = """
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec: {clusterIP: 10.96.0.20, sessionAffinity: ClientIP, selector: {app: web}, ports: [{port: 80}]}
"""
PLAIN = STICKY.replace("sessionAffinity: ClientIP, ", "")
LATER = """
---
apiVersion: v1
kind: Service
metadata: {name: later}
spec: {clusterIP: 10.96.0.30, selector: {app: web}, ports: [{port: 80}]}
"""
OTHER = {"nft": "legacy", "legacy": "nft"}


class Switched:
    """A lab put up again and again with another variant, layout and other Services."""

    def __init__(self, directory: Path) -> None:
        self.lab, self._file = Lab(directory), directory / "lab.yaml"

    def up(self, variant: str = "nft", layout: str = "current", services: str = "", code: int = 0) -> str:
        self._file.write_text(LAB.replace("VARIANT", variant).replace("LAYOUT", layout) + services)
        return self.lab.run("up", str(self._file), code=code)

    def rules(self, variant: str, node: str = "node1") -> set[str]:
        """The rules of both families, and the chains of ours."""
        saved = "".join(self.lab.shell(node, f"{tool}-{variant}-save") for tool in ("iptables", "ip6tables"))
        lines = (re.sub(r" \[\d+:\d+\]| - \[0:0\]", "", line) for line in saved.splitlines())
        return {line for line in lines if line.startswith(("-A", ":KUBE", ":FLANNEL"))}

    def asks(self, address: str, port: int = 80, place: str = "default.client") -> str:
        with netns.inside(self.lab.netns(*place.split("."))):
            sock = socket.socket()
        with sock:
            sock.settimeout(30)
            return exchange(sock, Target("", address, port)).what

    def problems(self) -> list[str]:
        return list(self.lab.json("status", code=None)["problems"])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], set[str]]:
    """The rules of node1 in a lab that was never anything else, by variant and layout."""
    found = {}
    for variant in ("nft", "legacy"):
        for layout in ("current", "classic"):
            lab = Switched(tmp_path_factory.mktemp("fresh"))
            lab.up(variant, layout)
            found[variant, layout] = lab.rules(variant)
            lab.lab.run("down")
    return found


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switched]:
    switched = Switched(tmp_path_factory.mktemp("switched"))
    switched.up()
    yield switched
    switched.lab.run("down")


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_a_switched_layout_leaves_nothing_of_the_other(
    switched: Switched, fresh: dict[tuple[str, str], set[str]], variant: str
) -> None:
    for layout in ("current", "classic", "current"):
        switched.up(variant, layout)
        assert switched.rules(variant) == fresh[variant, layout]
        assert switched.asks("10.96.0.10") == "answered"
        assert switched.asks("198.51.100.1", place="outside") == "answered"


def test_a_switched_variant_leaves_nothing_of_the_other(
    switched: Switched, fresh: dict[tuple[str, str], set[str]]
) -> None:
    for variant in ("nft", "legacy", "nft"):
        switched.up(variant)
        assert switched.rules(variant) == fresh[variant, "current"]
        assert switched.rules(OTHER[variant]) == set()
        assert switched.lab.json("status")["iptables"] == variant
        assert switched.problems() == []
        assert switched.asks("10.96.0.10") == "answered"


def test_connections_live_through_a_switch(switched: Switched) -> None:
    switched.up("nft")
    with netns.inside(switched.lab.netns("default", "client")):
        connection = socket.create_connection(("10.96.0.10", 80), timeout=30)
    with connection:
        for variant, layout in (("nft", "classic"), ("legacy", "classic"), ("nft", "current")):
            switched.up(variant, layout)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_a_strangers_rules_in_the_other_variant_are_noticed_and_kept(switched: Switched, variant: str) -> None:
    switched.up(variant)
    rule = ["-t", "filter", "-A", "INPUT", "-s", "198.51.100.77", "-j", "DROP"]
    tool = f"iptables-{OTHER[variant]}"
    switched.lab.shell("node1", tool, *rule)
    eventually(lambda: any("node1" in line and "both variants" in line for line in switched.problems()))
    assert not any("node2" in line for line in switched.problems())
    switched.up(OTHER[variant])
    switched.up(variant)
    assert "-A INPUT -s 198.51.100.77/32 -j DROP" in switched.rules(OTHER[variant])
    assert any("both variants" in line for line in switched.problems())
    switched.lab.shell("node1", tool, *("-D" if word == "-A" else word for word in rule))
    eventually(lambda: switched.problems() == [])


def test_a_strangers_jumps_into_our_chains_are_kept(switched: Switched) -> None:
    switched.up("nft")
    switched.lab.shell("node1", "iptables", "-A", "INPUT", "-s", "198.51.100.7", "-j", "KUBE-FORWARD")
    switched.lab.shell(
        "node1", "iptables", "-I", "INPUT", "-m", "multiport", "-p", "tcp", "--dports", "7,9", "-j", "DROP"
    )
    switched.up("nft", "classic")
    switched.up("nft", "current")
    kept = {rule for rule in switched.rules("nft") if "198.51.100.7/" in rule or "multiport" in rule}
    assert len(kept) == 2
    for rule in kept:
        switched.lab.shell("node1", "iptables", *rule.replace("-A", "-D", 1).split())


def test_an_unreadable_rule_in_a_chain_of_ours_is_cleared_away(switched: Switched) -> None:
    switched.up("nft")
    before = switched.rules("nft")
    odd = ["-m", "multiport", "-p", "tcp", "--dports", "7,9", "-j", "DROP"]
    switched.lab.shell("node1", "iptables", "-A", "KUBE-FORWARD", *odd)
    eventually(lambda: switched.rules("nft") == before)
    switched.lab.shell("node1", "iptables", "-R", "KUBE-FORWARD", "1", *odd)
    eventually(lambda: switched.rules("nft") == before)


@pytest.mark.parametrize(
    ("node", "key", "value"),
    [
        ("node1", "net.bridge.bridge-nf-call-iptables", "0"),
        ("node2", "net.ipv4.ip_forward", "0"),
        ("router", "net.ipv4.ip_forward", "0"),
    ],
)
def test_a_changed_sysctl_is_put_right(switched: Switched, node: str, key: str, value: str) -> None:
    switched.up("nft")
    held = switched.lab.shell(node, "sysctl", "-n", key)
    switched.lab.shell(node, "sysctl", "-w", f"{key}={value}")
    eventually(lambda: switched.lab.shell(node, "sysctl", "-n", key) == held)


# --- a Service that the machine's iptables does not take ------------------------------------------------------------


class Crippled(Switched):
    """A lab on a machine whose iptables lacks the match `recent`, which session affinity needs."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._extensions = directory / "xtables"
        self._real = next(Path("/usr/lib").glob("*/xtables"))
        shutil.copytree(self._real, self._extensions, symlinks=True)
        self.take()
        self.lab.environment["XTABLES_LIBDIR"] = str(self._extensions)

    def take(self) -> None:
        (self._extensions / "libxt_recent.so").unlink(missing_ok=True)

    def give(self) -> None:
        shutil.copy(self._real / "libxt_recent.so", self._extensions)


@pytest.fixture(params=["nft", "legacy"])
def crippled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Crippled, str]]:
    if not list(Path("/usr/lib").glob("*/xtables/libxt_recent.so")):
        pytest.skip("iptables' extensions are not files here")
    crippled = Crippled(tmp_path)
    yield crippled, request.param
    crippled.lab.run("down")


def test_a_refused_service_is_shown_and_is_in_nobodys_way(crippled: tuple[Crippled, str]) -> None:
    lab, variant = crippled
    said = lab.up(variant, services=STICKY + LATER, code=1)
    assert "default/sticky" in said and "recent" in said
    for address in ("10.96.0.10", "10.96.0.30"):
        eventually(lambda address=address: lab.asks(address) == "answered")
    status = lab.lab.json("status", code=None)
    agent = status["nodes"][0]["agent"]
    assert not agent["synced"]
    assert re.match(r"-A KUBE-S.P-\w+ .*-m recent", agent["operation"]), agent
    assert any("node1" in line and "default/sticky" in line and "-m recent" in line for line in status["problems"])
    assert status["pods"] == {"running": 2, "total": 2}
    assert not [rule for rule in lab.rules(variant) if "KUBE-SEP" in rule and "default/sticky" in rule]
    assert lab.asks("10.96.0.20") == "refused", "as long as it had no endpoints its rules were taken"
    lab.give()
    eventually(lambda: lab.problems() == [])
    assert lab.asks("10.96.0.20") == "answered"


def test_a_refused_change_leaves_the_old_rules_working(crippled: tuple[Crippled, str]) -> None:
    lab, variant = crippled
    lab.up(variant, services=PLAIN)
    before = {rule for rule in lab.rules(variant) if "default/sticky" in rule}
    assert lab.asks("10.96.0.20") == "answered"
    lab.up(variant, services=STICKY + LATER, code=1)
    assert {rule for rule in lab.rules(variant) if "default/sticky" in rule} == before
    for address in ("10.96.0.10", "10.96.0.20"):
        assert lab.asks(address) == "answered"
    eventually(lambda: lab.asks("10.96.0.30") == "answered")  # `up` has ended at the refusal
    lab.up(variant, services=LATER)
    assert lab.problems() == []
    assert not [rule for rule in lab.rules(variant) if "default/sticky" in rule]
