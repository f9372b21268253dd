"""The first scenario from end to end: the command line, the daemon, the kernel."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import SCENARIOS

from k8snetlab.testing import Lab, eventually


@pytest.fixture(scope="module", params=["nft", "legacy"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusinessManager]:
    """A running business-manager with each variant of iptables, shared by the tests of this file; each leaves it as it
    found it."""
    lab = BusinessManager(tmp_path_factory.mktemp("lab"), request.param)
    lab.run("up", lab.scenario)
    yield lab
    lab.run("down")


class BusinessManager(Lab):
    """The scenario with its variant of iptables chosen; `iptables` begins the names of its tools."""

    def __init__(self, directory: Path, variant: str) -> None:
        super().__init__(directory)
        self.iptables = f"iptables-{variant}"
        self.scenario = str(shutil.copytree(SCENARIOS / "business-manager", directory / "business-manager"))
        file = Path(self.scenario, "lab.yaml")
        assert "proxy:" not in file.read_text()
        file.write_text(f"{file.read_text().rstrip()}\n  proxy: {{iptables: {variant}}}\n")


def test_every_probe_is_answered_as_in_a_real_cluster(lab: BusinessManager) -> None:
    results = lab.json("probe", "--all")["results"]
    assert results
    assert [r for r in results if not r["ok"]] == []
    kinds = {(r["kind"], r["reached"]) for r in results if r["from"] == "outside"}
    assert kinds == {("pod", False), ("clusterIP", False), ("nodePort", True)}
    to_service = [r for r in results if r["kind"] == "clusterIP" and r["to"] == "business-manager"]
    answered = {r["answeredBy"] for r in to_service} - {""}

    def by_all() -> bool:
        """Chance decides who answers: nine questions leave one of three out in every thirteenth run."""
        answered.add(lab.probe("client", "business-manager:80").answeredBy)
        return len(answered) == 3

    eventually(by_all)


def test_pods_have_the_addresses_of_the_reference(lab: BusinessManager) -> None:
    pods = {p["metadata"]["name"].rsplit("-", 2)[0]: [] for p in lab.json("get", "pods")["items"]}
    for pod in lab.json("get", "pods")["items"]:
        pods[pod["metadata"]["name"].rsplit("-", 2)[0]].append(pod["status"]["podIP"])
    assert sorted(pods["business-manager"]) == ["172.30.76.4", "172.30.76.5", "172.30.9.4"]
    assert sorted(pods["data-product"]) == ["172.30.76.2", "172.30.76.3", "172.30.9.3"]


def test_a_node_looks_as_flannel_leaves_it(lab: BusinessManager) -> None:
    link = json.loads(lab.shell("node1", "ip", "-d", "-j", "link", "show", "flannel.1"))[0]
    data = link["linkinfo"]["info_data"]
    assert (link["mtu"], data["id"], data["port"], data["learning"]) == (1450, 1, 8472, False)
    routes = lab.shell("node1", "ip", "route")
    assert "172.30.9.0/24 via 172.30.9.0 dev flannel.1 onlink" in routes
    addresses = lab.shell("node1", "ip", "-4", "-o", "addr")
    assert "172.30.76.0/32" in addresses and "172.30.76.1/24" in addresses and "192.168.0.21/24" in addresses
    neighbours = lab.shell("node1", "ip", "neigh", "show", "dev", "flannel.1").strip().splitlines()
    assert len(neighbours) == 1 and neighbours[0].startswith("172.30.9.0 ") and "PERMANENT" in neighbours[0]
    mac = neighbours[0].split()[2]
    assert f"{mac} dst 192.168.0.22 self permanent" in lab.shell("node1", "bridge", "fdb", "show", "dev", "flannel.1")
    assert mac == json.loads(lab.shell("node2", "ip", "-j", "link", "show", "flannel.1"))[0]["address"]
    assert lab.shell("node1", "sysctl", "-n", "net.ipv4.ip_forward").strip() == "1"


def test_iptables_save_in_a_node_shows_the_rules(lab: BusinessManager) -> None:
    rules = lab.shell("node1", f"{lab.iptables}-save")
    for text in (
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        ":KUBE-SVC-45TXGSBX3LGQQRTB",
        '--comment "default/data-product:data-product -> 172.30.76.3:50051"',
        "-j KUBE-SEP-DGXT5Z3WOYVLBGRM",
        "-A KUBE-NODEPORTS",
        "-A FLANNEL-POSTRTG",
        '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
    ):
        assert text in rules


def test_traffic_to_the_outside_is_masqueraded_and_inside_the_cluster_is_not(lab: BusinessManager) -> None:
    assert lab.probe("client", "data-product:50051").client == "172.30.9.2"
    with socket_in(lab.netns("outside"), ("0.0.0.0", 7777)) as listener:
        assert lab.probe("client", "203.0.113.10:7777").reached
        peer = listener.accept()
        peer[0].close()
        assert peer[1][0] == "192.168.0.22"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_curl_finds_a_service_by_its_name(lab: BusinessManager) -> None:
    assert "nameserver 10.254.0.2\n" in lab.exec("client", "cat", "/etc/resolv.conf")
    eventually(lambda: '"pod": "data-product-' in lab.exec("client", "curl", "-s", "http://data-product:50051/"))


def test_a_pod_reaches_itself_through_its_service(lab: BusinessManager) -> None:
    pod = next(p for p in lab.json("get", "pods")["items"] if p["metadata"]["name"].startswith("business-manager"))
    seen = {lab.probe(pod["metadata"]["name"], "business-manager:80").answeredBy for _ in range(25)}
    assert pod["metadata"]["name"] in seen


def test_up_again_changes_nothing(lab: BusinessManager) -> None:
    before = lab.shell("node1", f"{lab.iptables}-save"), lab.shell("node1", "ip", "route"), lab.pids()
    done = lab.json("up", lab.scenario)
    assert (done["created"], done["updated"], done["deleted"]) == ([], [], [])
    after = lab.shell("node1", f"{lab.iptables}-save"), lab.shell("node1", "ip", "route"), lab.pids()
    assert [_without_counters(x) for x in before[:1]] == [_without_counters(x) for x in after[:1]]
    assert before[1:] == after[1:]


def test_scale_up_and_down(lab: BusinessManager) -> None:
    lab.run("scale", "deployment/business-manager", "--replicas", "5")
    pods = [p for p in lab.json("get", "pods")["items"] if p["metadata"]["name"].startswith("business-manager")]
    assert len(pods) == 5
    eventually(lambda: lab.shell("node1", f"{lab.iptables}-save").count('"default/business-manager') >= 5)
    lab.run("scale", "deployment/business-manager", "--replicas", "3")
    eventually(lambda: len(lab.namespaces()) == 2 + 2 + 7 + 1)  # nodes, router and outside, pods, the DNS pod
    assert lab.whole()


@pytest.mark.parametrize(
    "damage",
    [
        ("ip", "route", "del", "172.30.9.0/24"),
        ("ip", "link", "del", "flannel.1"),
        ("ip", "link", "set", "cni0", "down"),
        ("ip", "neigh", "flush", "dev", "flannel.1", "nud", "permanent"),
        ("iptables", "-t", "nat", "-F", "KUBE-SERVICES"),
        ("iptables", "-t", "nat", "-F", "POSTROUTING"),
        ("sysctl", "-w", "net.bridge.bridge-nf-call-iptables=0"),
    ],
    ids=" ".join,
)
def test_damage_is_repaired(lab: BusinessManager, damage: tuple[str, ...]) -> None:
    state = _state(lab)
    lab.shell("node1", *(lab.iptables if word == "iptables" else word for word in damage))
    eventually(lambda: _state(lab) == state)
    assert lab.probe("client", "business-manager:80").ok


def test_a_deleted_fdb_entry_and_a_pods_veth_are_repaired(lab: BusinessManager) -> None:
    entry = lab.shell("node1", "bridge", "fdb", "show", "dev", "flannel.1").split()[0]
    lab.shell("node1", "bridge", "fdb", "del", entry, "dev", "flannel.1")
    eventually(lambda: entry in lab.shell("node1", "bridge", "fdb", "show", "dev", "flannel.1"))
    veth = next(link["ifname"] for link in json.loads(lab.shell("node1", "ip", "-j", "link", "show", "master", "cni0")))
    lab.shell("node1", "ip", "link", "del", veth)
    eventually(lambda: veth in lab.shell("node1", "ip", "link", "show", "master", "cni0"))
    eventually(lab.whole)


def test_a_paused_node_stays_broken_until_it_is_resumed(lab: BusinessManager) -> None:
    lab.run("pause", "node1")
    lab.shell("node1", "ip", "route", "del", "172.30.9.0/24")
    time.sleep(2.5)
    assert "172.30.9.0/24" not in lab.shell("node1", "ip", "route")

    def drifts() -> bool:
        node1 = next(n for n in lab.json("status")["nodes"] if n["name"] == "node1")
        assert node1["paused"]
        return any("172.30.9.0/24" in line for line in node1["agent"]["drift"])

    eventually(drifts)
    assert "172.30.9.0/24" not in lab.shell("node1", "ip", "route")
    lab.run("resume", "node1")
    eventually(lambda: "172.30.9.0/24" in lab.shell("node1", "ip", "route"))


def test_foreign_rules_and_routes_are_never_touched(lab: BusinessManager) -> None:
    lab.shell("node1", lab.iptables, "-N", "MY-CHAIN")
    lab.shell("node1", lab.iptables, "-A", "MY-CHAIN", "-s", "198.51.100.1", "-j", "DROP")
    lab.shell("node1", "ip", "route", "add", "198.51.100.0/24", "via", "192.168.0.1")
    lab.shell("node1", lab.iptables, "-t", "nat", "-F", "KUBE-SERVICES")
    eventually(
        lambda: "KUBE-SVC-45TXGSBX3LGQQRTB" in lab.shell("node1", lab.iptables, "-t", "nat", "-S", "KUBE-SERVICES")
    )
    assert "-A MY-CHAIN -s 198.51.100.1/32 -j DROP" in lab.shell("node1", f"{lab.iptables}-save")
    assert "198.51.100.0/24" in lab.shell("node1", "ip", "route")
    lab.shell("node1", lab.iptables, "-F", "MY-CHAIN")
    lab.shell("node1", lab.iptables, "-X", "MY-CHAIN")
    lab.shell("node1", "ip", "route", "del", "198.51.100.0/24")


def test_a_killed_daemon_stops_no_traffic_and_a_new_one_adopts_the_lab(lab: BusinessManager) -> None:
    before, kubelet = _state(lab), lab.pids()["kubelet"]
    lab.kill("daemon")
    assert _fetch(lab.netns("default", "client"), ("10.254.80.22", 80)).startswith(b"HTTP/1.1 200")
    assert "its daemon does not run" in lab.run("status", code=1)
    done = lab.json("up", lab.scenario)
    assert (done["created"], done["updated"], done["deleted"]) == ([], [], [])
    assert lab.pids()["kubelet"] == kubelet
    assert _state(lab) == before


def test_a_killed_kubelet_is_started_again_with_its_pods(lab: BusinessManager) -> None:
    lab.kill("kubelet")
    eventually(lab.whole)


def test_a_pod_with_a_command_runs_it_and_has_logs_and_exec(lab: BusinessManager, tmp_path: Path) -> None:
    manifest = tmp_path / "worker.yaml"
    manifest.write_text(
        """
apiVersion: v1
kind: Pod
metadata: {name: worker}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    command: [sh, -c, 'echo first; echo "I am $(hostname) $GREETING"; exec sleep 1000']
    env: [{name: GREETING, value: hello}]
  - name: web
    ports: [{containerPort: 9000}]
"""
    )
    lab.run("apply", "-f", str(manifest))
    eventually(lambda: lab.run("logs", "worker") == "first\nI am worker hello\n")
    assert lab.run("logs", "pod/worker", "--tail", "1") == "I am worker hello\n"
    assert "a stand-in answers on 8080/TCP and logs nothing" in lab.run("logs", "deploy/business-manager")
    assert lab.run("exec", "worker", "--", "hostname").strip() == "worker"
    assert "eth0" in lab.run("exec", "worker", "--", "ls", "/sys/class/net")
    assert lab.probe("client", "worker:9000").answeredBy == "worker"
    pids = subprocess.run(["ip", "netns", "pids", lab.netns("default", "worker")], capture_output=True, text=True)
    assert pids.stdout.strip()
    lab.run("delete", "-f", str(manifest))
    eventually(lambda: lab.netns("default", "worker") not in lab.namespaces())
    eventually(lambda: not any(Path("/proc", pid).exists() for pid in pids.stdout.split()))


def _state(lab: BusinessManager) -> list[str]:
    """What node1 holds, without counters and in an order of its own."""
    return [
        _without_counters(lab.shell("node1", f"{lab.iptables}-save")),
        lab.shell("node1", "ip", "route"),
        "\n".join(
            sorted(lab.shell("node1", "ip", "neigh", "show", "dev", "flannel.1", "nud", "permanent").splitlines())
        ),
        "\n".join(sorted(lab.shell("node1", "bridge", "fdb", "show", "dev", "flannel.1").splitlines())),
        lab.shell("node1", "sysctl", "-n", "net.bridge.bridge-nf-call-iptables"),
    ]


def _without_counters(saved: str) -> str:
    """Rules by chain: the order in which iptables-nft lists chains is the order in which they were made."""
    lines = [line.partition(" [")[0] for line in saved.splitlines() if not line.startswith("#")]
    tables, table = {}, ""
    for line in lines:
        if line.startswith("*"):
            table = line
        tables.setdefault(table, []).append(line)
    return "\n".join(line for name in sorted(tables) for line in sorted(tables[name], key=lambda x: x.split()[:2]))


def socket_in(namespace: str, address: tuple[str, int]) -> socket.socket:
    from k8snetlab.kernel import netns

    with netns.inside(namespace):
        listener = socket.create_server(address)
    listener.settimeout(60)
    return listener


def _fetch(namespace: str, address: tuple[str, int]) -> bytes:
    from k8snetlab.kernel import netns

    with netns.inside(namespace):
        client = socket.socket()
    with client:
        client.settimeout(60)
        client.connect(address)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return client.recv(4096)
