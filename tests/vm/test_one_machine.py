"""A lab on one machine with Debian's own kernel, where nothing else runs: what the build machine cannot show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Boot
from .machine import Machine
from .state import settings, state
from .waiting import eventually

POD = ("k8snetlab", "get", "pod")

SCTP = """
{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: sctp}, spec: {nodes: 2, dns: {enabled: false}}}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: web}}
spec: {nodeName: node2, containers: [{name: c, ports: [{containerPort: 9899, protocol: SCTP}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIP: 10.96.10.10
  selector: {app: web}
  ports: [{port: 80, targetPort: 9899, nodePort: 30099, protocol: SCTP}]
"""


@pytest.fixture(scope="module")
def node1(boot: Boot) -> Machine:
    return boot(1)[0]


@pytest.fixture(scope="module", params=["nft", "legacy"])
def variant(request: pytest.FixtureRequest, node1: Machine) -> str:
    """What `iptables` is on the machine."""
    for tool in ("iptables", "ip6tables"):
        node1.run("update-alternatives", "--set", tool, f"/usr/sbin/{tool}-{request.param}")
    return str(request.param)


def test_doctor_misses_nothing_and_leaves_nothing(node1: Machine) -> None:
    before = state(node1)
    found = node1.json("k8snetlab", "doctor", "-o", "json")
    assert {feature["name"] for feature in found} >= {"vxlan", "iptables-nft", "iptables-legacy"}
    # What only makes looking easier is not in the image, and the kernel has room for fewer than a thousand pods: named.
    missing = {feature["name"]: feature["needed"] for feature in found if not feature["present"]}
    large = {name for name in missing if name.startswith("1,000 pods: ")}
    assert missing == dict.fromkeys({"curl (program)", "tcpdump (program)", "zebra (program)"} | large, False)
    assert {what: now ^ before[what] for what, now in state(node1).items() if now != before[what]} == {}


def test_a_lab_comes_works_and_goes_without_a_trace(node1: Machine, variant: str) -> None:
    before, set_to = state(node1), settings(node1)
    node1.run("k8snetlab", "up", "business-manager")
    try:
        other = {"nft": "legacy", "legacy": "nft"}[variant]
        in_node = ("ip", "netns", "exec", "business-manager.node1")
        assert "-A KUBE-SERVICES" in node1.run(*in_node, f"iptables-{variant}-save", "-t", "nat")
        assert "KUBE" not in node1.run(*in_node, f"iptables-{other}-save", "-t", "nat")
        results: list[dict[str, Any]] = []

        def whole() -> bool:
            """The API's TLS may take more than a probe's two seconds while all are asked at once."""
            results[:] = node1.json("k8snetlab", "probe", "--all", "-o", "json")["results"]
            return len(results) > 100 and all(result["ok"] for result in results)

        eventually(whole)
        closed = [one for one in results if not one["reached"]]
        assert closed == [one for one in results if one["from"] == "outside" and one["kind"] != "nodePort"]
        statuses = node1.json("k8snetlab", "status", "-o", "json")
        assert statuses["iptables"] == variant
    finally:
        node1.run("k8snetlab", "down")
    after = state(node1)
    assert {what: after[what] ^ before[what] for what in before if after[what] != before[what]} == {}
    now = settings(node1)
    assert {key: (value, now.get(key)) for key, value in set_to.items() if now.get(key) != value} == {}


@pytest.fixture(scope="module")
def sctp(node1: Machine, variant: str) -> Iterator[Machine]:
    """The machine with a lab whose Service is SCTP's, made where the kernel had nfnetlink_acct already."""
    node1.run("modprobe", "nfnetlink_acct")
    node1.run("sh", "-c", "cat > /tmp/sctp.yaml", stdin=SCTP)
    node1.run("k8snetlab", "up", "/tmp/sctp.yaml")
    yield node1
    node1.attempt("k8snetlab", "--lab", "sctp", "down")  # `make down` may have done it
    node1.run("rm", "/tmp/sctp.yaml")


def test_kube_proxys_counters_are_the_kernels(sctp: Machine) -> None:
    """nfnetlink_acct is a module of this kernel: the rule that drops invalid packets names its counter."""
    rules = sctp.run("ip", "netns", "exec", "sctp.node1", "iptables-save", "-t", "filter")
    (drop,) = [rule for rule in rules.splitlines() if rule.startswith("-A KUBE-FORWARD -m conntrack --ctstate INVALID")]
    assert drop.endswith("-m nfacct --nfacct-name  ct_state_invalid_dropped_pkts -j DROP"), drop


def test_an_sctp_service_is_answered_by_its_pod_from_everywhere(sctp: Machine) -> None:
    for source, target in (("client", "web:80"), ("node2", "web:80"), ("outside", "node1:30099")):
        words = ("probe", source, target, "--protocol", "sctp", "-o", "json")
        (result,) = sctp.json("k8snetlab", "--lab", "sctp", *words)["results"]
        assert result["answeredBy"] == "server", (source, target, result)


def test_a_nodes_link_is_slow_and_lossy_as_netem_has_it(sctp: Machine) -> None:
    """netem is a module of this kernel."""

    def asked(*words: str, code: int = 0) -> Any:
        return sctp.json("k8snetlab", "--lab", "sctp", *words, "-o", "json", code=code)

    asked("link", "set", "node2", "--delay", "30ms", "--jitter", "1ms", "--rate", "10mbit")
    (root,) = json.loads(sctp.run("tc", "-n", "sctp.node2", "-j", "qdisc", "show", "dev", "eth0"))
    assert (root["kind"], root["handle"], root["options"]["rate"]["rate"]) == ("netem", "8b50:", 1_250_000)
    assert (root["options"]["delay"]["delay"], root["options"]["delay"]["jitter"]) == (0.03, 0.001)
    trace = asked("trace", "client", "node2", "-p", "icmp")
    assert trace["observed"]["fate"] == "answered" and trace["observed"]["milliseconds"] >= 29
    (first, *_) = asked("diagnose", code=1)["findings"]
    assert (first["kind"], first["fault"], first["object"]) == ("qdisc", "slow", "netem eth0")
    asked("link", "set", "node2", "--loss", "100%")
    (result,) = asked("probe", "client", "node2", "-p", "icmp", code=1)["results"]
    assert not result["reached"]
    (shown,) = asked("link", "show")["links"]
    assert (shown["held"], shown["ours"]) == ("loss 100%", True) and shown["drops"] > 0
    (first, *_) = asked("diagnose", code=1)["findings"]
    assert (first["kind"], first["fault"], first["node"]) == ("qdisc", "lossy", "node2")
    asked("link", "clear")
    assert "noqueue" in sctp.run("tc", "-n", "sctp.node2", "qdisc", "show", "dev", "eth0")
    assert asked("diagnose")["findings"] == []


def test_make_lab_is_one_command(node1: Machine) -> None:
    """README's first command, on a machine whose packages and environment are there: it has no network to fetch any."""
    said = node1.run("make", "-C", "/opt/k8snetlab", "lab")
    try:
        assert "lab business-manager is up" in said and "answered" in said
    finally:
        node1.run("make", "-C", "/opt/k8snetlab", "down")


LIMITS = """
{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: limits}, spec: {nodes: 1, dns: {enabled: false}}}
---
apiVersion: v1
kind: Pod
metadata: {name: hog}
spec:
  restartPolicy: Never
  containers:
  - name: c
    command: [python3, -c, "import time; x = bytearray(100 << 20); time.sleep(1000)"]
    resources: {limits: {memory: 32Mi, cpu: 500m}}
---
apiVersion: v1
kind: Pod
metadata: {name: runs}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, command: [sleep, infinity]}]}
"""


def test_limits_are_held_by_control_groups_of_version_2(node1: Machine) -> None:
    assert node1.run("stat", "-fc", "%T", "/sys/fs/cgroup").strip() == "cgroup2fs"
    node1.run("sh", "-c", f"cat > /tmp/limits.yaml <<'END'\n{LIMITS}\nEND")
    node1.attempt("k8snetlab", "up", "/tmp/limits.yaml")  # which may say that it does not run
    try:
        eventually(lambda: node1.json(*POD, "hog", "-o", "json")["status"]["phase"] == "Failed")
        (status,) = node1.json(*POD, "hog", "-o", "json")["status"]["containerStatuses"]
        ended = status["state"]["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
        bounds = node1.run("sh", "-c", "find /sys/fs/cgroup -path '*k8snetlab*' -name pids.max | xargs cat")
        assert "2048" in bounds.split()
        assert "LimitNotEnforced" not in node1.run("k8snetlab", "get", "events")
    finally:
        node1.run("k8snetlab", "down")
