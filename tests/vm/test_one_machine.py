"""A lab on one machine with Debian's own kernel, where nothing else runs: what the build machine cannot show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .article import FILES, NAME, Article
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


NODES = (
    ("k8s-node-1", "10.1.109.64", "10.1.140.64", "192.168.18.4"),
    ("k8s-node-2", "10.1.140.64", "10.1.109.64", "192.168.18.3"),
)
"""Of the article: a node, its block's first address, the other's, and the other node's address."""


@pytest.fixture(scope="module")
def article(node1: Machine) -> Iterator[Article]:
    """With IP in IP, of which only this kernel has the module: the module stays, and with it a tunl0 that is down."""
    node1.run("modprobe", "ipip")
    before, made = state(node1), Article(node1)
    made.up("Always")
    yield made
    node1.run("k8snetlab", "down")
    node1.run("rm", "-r", FILES)
    after = state(node1)
    assert {what: after[what] ^ before[what] for what in before if after[what] != before[what]} == {}


def test_tunl0_and_the_routes_are_those_that_the_article_prints(article: Article) -> None:
    for own, block, other, far in NODES:
        tunnel = article.tunnel(own)
        held = [(one["local"], one["prefixlen"]) for one in tunnel["addr_info"]]
        assert (tunnel["mtu"], held) == (1480, [(block, 32)])
        routes = article.routes(own)
        assert {f"blackhole {block}/26 proto bird", f"{other}/26 via {far} dev tunl0 proto bird onlink"} <= routes
        assert not [line for line in routes if "proto 80" in line]
    assert "nobody" not in article.machine.run("k8snetlab", "tables", "k8s-node-1", "routes")


def test_a_packet_travels_in_ip_protocol_4_and_the_trace_says_so(article: Article) -> None:
    sent = article.tunnel("k8s-node-2")["stats64"]["tx"]["packets"]
    found = article.asked("trace", "busybox", "mysql:3306")
    assert found["observed"]["agrees"] and found["observed"]["fate"] == "answered", found
    assert article.tunnel("k8s-node-2")["stats64"]["tx"]["packets"] > sent
    way = found["ways"][found["chosen"]]["there"]
    outer = {(hop["outer"]["src"], hop["outer"]["dst"], hop["outer"]["protocol"]) for hop in way if hop["outer"]}
    assert outer == {("192.168.18.4", "192.168.18.3", "4")}
    assert [hop["interface"] for hop in way if hop["place"] == "k8s-node-1"].count("tunl0") == 1
    said = article.machine.run("k8snetlab", "trace", "--predict-only", "-v", "busybox", "mysql:3306")
    assert "in IP in IP: 192.168.18.4 → 192.168.18.3" in said
    (pod,) = (one["status"]["podIP"] for one in article.asked("get", "pods")["items"] if "mysql" in str(one))
    assert article.answered("busybox", pod, "k8s-node-1", "k8s-node-2", "203.0.113.10")
    assert article.asked("diagnose")["findings"] == []


def test_what_breaks_the_tunnel_is_the_first_finding(article: Article) -> None:
    article.machine.run("k8snetlab", "pause", "k8s-node-1")
    try:
        article.on("k8s-node-1", "ip", "address", "del", "10.1.109.64/32", "dev", "tunl0")
        (first, *_) = article.asked("diagnose", code=1)["findings"]
        said = (first["kind"], first["fault"], first["node"], first["object"])
        assert said == ("address", "missing", "k8s-node-1", "10.1.109.64/32"), first
        assert first["mend"] == f"ip -n {NAME}.k8s-node-1 addr add 10.1.109.64/32 dev tunl0"
        article.on("k8s-node-1", "ip", "address", "add", "10.1.109.64/32", "dev", "tunl0")
        article.iptables("k8s-node-1", "-I", "INPUT", "-p", "4", "-j", "DROP")
        try:
            (first, *_) = article.asked("diagnose", code=1)["findings"]
        finally:
            article.iptables("k8s-node-1", "-D", "INPUT", "-p", "4", "-j", "DROP")
        assert (first["kind"], first["fault"], first["node"]) == ("rule", "foreign", "k8s-node-1"), first
    finally:
        article.machine.run("k8snetlab", "resume", "k8s-node-1")


def test_felix_makes_the_routes_with_routes_current(article: Article) -> None:
    article.up("Always", "current")
    for own, block, other, far in NODES:
        routes = article.routes(own)
        assert {f"blackhole {block}/26 proto 80", f"{other}/26 via {far} dev tunl0 proto 80 onlink"} <= routes
        assert not [line for line in routes if "proto bird" in line]
    assert [one["established"] for one in article.asked("routing", "k8s-node-1")["nodes"][0]["neighbours"]] == [True]
    assert article.asked("trace", "busybox", "mysql:3306")["observed"]["agrees"]
    assert article.asked("diagnose")["findings"] == []


def test_a_pool_without_a_tunnel_leaves_tunl0_without_an_address(article: Article) -> None:
    article.up("Never")
    tunnel = article.tunnel("k8s-node-1")
    assert tunnel["addr_info"] == [] and "UP" not in tunnel["flags"]
    assert "10.1.140.64/26 via 192.168.18.4 dev eth0 proto bird" in article.routes("k8s-node-1")


def test_compare_shows_the_packet_around_the_packet(article: Article) -> None:
    words = ("compare", FILES, "busybox", "mysql:3306", "--backends", "calico-ipip", "-o", "json")
    (found,) = article.machine.json("k8snetlab", *words)["results"]
    assert (found["problem"], found["fate"], found["mtu"]) == ("", "answered", 1480), found
    assert (found["encapsulation"], found["outer"]) == ("IP in IP", "192.168.18.4 → 192.168.18.3")
    assert found["route"].endswith("dev tunl0 proto bird") and found["owner"].startswith("BIRD"), found
