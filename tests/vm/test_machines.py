"""One lab on two machines: each a node of it, joined by an etcd that node1 serves, from nothing to nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from k8snetlab.testing.web import web

from .conftest import Boot
from .machine import Machine
from .state import settings, state
from .waiting import eventually

STORE = "https://192.168.56.11:2379"
TOKEN = "abcdef.0123456789abcdef"
PKI = "/var/lib/k8snetlab/etcd/pki"
ETCDCTL = (
    *("etcdctl", "--endpoints", STORE, "--cacert", f"{PKI}/ca.crt"),
    *("--cert", f"{PKI}/client.crt", "--key", f"{PKI}/client.key"),
)
UP = ("up", "/root/machines", "--node", "node1", "--store", STORE)
JOIN = (
    *("node", "join", "192.168.56.11:2378", "--token", TOKEN),
    *("--discovery-token-unsafe-skip-ca-verification", "--name", "node2"),
)
NETWORKS = {
    "vxlan, proactive": {"backend": "vxlan", "resolve": "proactive"},
    "vxlan, on-miss": {"backend": "vxlan", "resolve": "on-miss"},
    "host-gw": {"backend": "host-gw"},
    "vxlan, proactive again": {"backend": "vxlan", "resolve": "proactive"},
}
OTHER = {"node1": "192.168.56.12", "node2": "192.168.56.11"}
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read())"
OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node1, containers: [{name: c, ports: [{containerPort: 8080}]}]}
""" + web(1, 8080, node="node2", type_="NodePort", node_port=30080)
Json = dict[str, Any]
Before = dict[str, tuple[dict[str, set[str]], dict[str, str]]]
"""By machine: its state, its sysctls."""


def k8snetlab(machine: Machine, *words: str, code: int = 0) -> str:
    return machine.run("k8snetlab", *words, code=code)


def write_lab(machine: Machine, network: Json) -> None:
    spec = {"machines": True, "dns": {"enabled": False}, "network": {**network, "leaseTTL": 10}}
    lab = {"apiVersion": "k8snetlab/v1alpha1", "kind": "Lab", "metadata": {"name": "machines"}, "spec": spec}
    machine.run("mkdir", "-p", "/root/machines")
    machine.run("tee", "/root/machines/lab.yaml", stdin=json.dumps(lab))
    machine.run("tee", "/root/machines/objects.yaml", stdin=OBJECTS)


def whole(machine: Machine) -> bool:
    """Whether everybody reaches whom he should, on both nodes, as asked of this machine."""
    done = machine.attempt("k8snetlab", "probe", "--all", "-o", "json")
    if done.code:
        return False
    results = json.loads(done.stdout)["results"]
    return {r["fromNode"] for r in results if r["fromNode"]} == {"node1", "node2"} and all(r["ok"] for r in results)


def healthy(machine: Machine) -> bool:
    return bool(machine.json("k8snetlab", "status", "-o", "json")["store"]["healthy"])


def entries(machine: Machine) -> dict[str, list[list[str]]]:
    """What leads to the other node: routes, neighbours and forwarding entries, as words."""
    commands = {
        "routes": ("ip", "route", "show", "root", "10.244.0.0/16"),
        "neighbours": ("ip", "neigh", "show", "dev", "flannel.1"),
        "fdb": ("bridge", "fdb", "show", "dev", "flannel.1"),
    }
    found = {what: machine.attempt(*command).stdout.splitlines() for what, command in commands.items()}
    found["routes"] = [line for line in found["routes"] if "dev cni0" not in line]
    return {what: [line.split() for line in lines] for what, lines in found.items()}


@pytest.fixture(scope="module")
def machines(boot: Boot) -> list[Machine]:
    both = boot(2)
    write_lab(both[0], NETWORKS["vxlan, proactive"])
    serve(both[0])
    return both


@pytest.fixture(scope="module")
def node1(machines: list[Machine]) -> Machine:
    return machines[0]


@pytest.fixture(scope="module")
def node2(machines: list[Machine]) -> Machine:
    return machines[1]


@pytest.fixture(scope="module")
def before(machines: list[Machine]) -> Before:
    """Each machine as it was when the lab had not come to it; a machine that was switched off begins anew."""
    return {one.name: (state(one), settings(one)) for one in machines}


def assert_as_before(machine: Machine, before: Before) -> None:
    was, set_to = before[machine.name]
    now, set_now = state(machine), settings(machine)
    assert {what: now[what] ^ was[what] for what in was if now[what] != was[what]} == {}
    assert {key: (value, set_now.get(key)) for key, value in set_to.items() if set_now.get(key) != value} == {}


def serve(machine: Machine) -> None:
    machine.ask("k8snetlab", "store", "serve", "--listen", STORE)
    eventually(lambda: machine.attempt("k8snetlab", "token", "create", TOKEN, "--ttl", "0").code == 0)


def test_vagrants_nat_interface_is_refused(node1: Machine, before: object) -> None:
    """Every such machine is 10.0.2.15 there."""
    done = node1.attempt("k8snetlab", *UP, "--iface", "eth0")
    assert done.code == 2
    assert "10.0.2.15" in done.stderr and "eth1 (192.168.56.11/24)" in done.stderr


def test_two_machines_become_one_lab(node1: Machine, node2: Machine) -> None:
    k8snetlab(node1, *UP)
    k8snetlab(node2, *JOIN)
    for machine in (node1, node2):
        nodes = machine.json("k8snetlab", "get", "nodes", "-o", "json")["items"]
        addresses = [a["address"] for n in nodes for a in n["status"]["addresses"] if a["type"] == "InternalIP"]
        assert sorted(addresses) == ["192.168.56.11", "192.168.56.12"], "the NAT interface is avoided"
    eventually(lambda: whole(node1))
    assert whole(node2)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_of_every_kind(node1: Machine, node2: Machine, kind: str) -> None:
    """From one to the next by `up`: everybody reaches everybody, and no route or entry of the last one is left."""
    write_lab(node1, NETWORKS[kind])
    k8snetlab(node1, *UP)
    eventually(lambda: whole(node1))
    for machine in (node1, node2):
        eventually(lambda machine=machine: as_it_should_be(kind, machine))  # type: ignore[misc]


def as_it_should_be(network: str, machine: Machine) -> bool:
    found, other = entries(machine), OTHER[machine.name]
    if network == "host-gw":
        assert machine.attempt("ip", "link", "show", "flannel.1").code != 0
        return [line[1:5] for line in found["routes"]] == [["via", other, "dev", "eth1"]]
    permanent = [line for line in found["neighbours"] if "PERMANENT" in line]
    assert len(found["routes"]) == 1, found["routes"]
    (route,) = found["routes"]
    assert route[1:3] == ["via", route[0].removesuffix("/24")] and route[3:5] == ["dev", "flannel.1"]
    if "on-miss" in network:
        return not permanent
    return (
        [line[0] for line in permanent] == [route[2]]
        and len(found["neighbours"]) == 1
        and [line[line.index("dst") + 1] for line in found["fdb"]] == [other]
        and "permanent" in found["fdb"][0]
    )


def test_verbs_from_either_machine(node1: Machine, node2: Machine) -> None:
    pods = node2.json("k8snetlab", "get", "pods", "-o", "json")["items"]
    web = next(pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith("web-"))
    for machine, pod, node in ((node1, web, "node2"), (node2, "client", "node1")):
        assert "eth0" in k8snetlab(machine, "exec", pod, "--", "ip", "-brief", "address")
        k8snetlab(machine, "logs", pod)
        k8snetlab(machine, "probe", node, "web:80")
        k8snetlab(machine, "probe", web, "client:8080")
        assert "flannel.1" in k8snetlab(machine, "tables", node, "routes")
        assert "KUBE-SVC" in k8snetlab(machine, "rules", "web", "--node", node)
    hops = k8snetlab(node2, "trace", "client", "web:80")
    assert web in hops and "flannel.1" in hops
    k8snetlab(node2, "scale", "deploy/web", "--replicas", "3")
    eventually(lambda: node1.json("k8snetlab", "get", "deploy", "web", "-o", "json")["status"]["readyReplicas"] == 3)
    assert whole(node1)
    k8snetlab(node2, "pause", "node1")
    ((subnet, *_),) = entries(node1)["routes"]
    node1.run("ip", "route", "delete", subnet)
    assert k8snetlab(node1, "probe", "client", "web:80", code=1)
    k8snetlab(node2, "resume", "node1")
    eventually(lambda: node1.attempt("k8snetlab", "probe", "client", "web:80").code == 0)


def test_doctor_sees_each_others_tunnel(node1: Machine, node2: Machine) -> None:
    for machine in (node1, node2):
        found = machine.json("k8snetlab", "doctor", "--peer", OTHER[machine.name], "-o", "json")
        assert found["there"]["state"] == "open", found
    node2.run("iptables", "-I", "INPUT", "-p", "udp", "--dport", "8472", "-j", "DROP")
    try:
        found = node1.json("k8snetlab", "doctor", "--peer", node2.address, "-o", "json", code=1)
        assert found["there"]["state"] == "blocked"
        found = node2.json("k8snetlab", "doctor", "--peer", node1.address, "-o", "json", code=1)
        assert found["back"]["rule"] == "-A INPUT -p udp -m udp --dport 8472 -j DROP (table filter)"
    finally:
        node2.run("iptables", "-D", "INPUT", "-p", "udp", "--dport", "8472", "-j", "DROP")
    eventually(lambda: whole(node1))


def test_the_store_is_cut_off_and_comes_back(node1: Machine, node2: Machine) -> None:
    """For both machines, as on a broken wire: packets vanish, no connection is refused."""
    cut = ("-p", "tcp", "--dport", "2379", "-j", "DROP")
    on_node2 = node2.json("k8snetlab", "get", "pods", "-o", "json")["items"]
    ip = next(p["status"]["podIP"] for p in on_node2 if p["metadata"]["name"].startswith("web-"))
    held = entries(node1)
    node1.run("iptables", "-I", "INPUT", *cut)
    try:
        for machine in (node1, node2):
            eventually(lambda machine=machine: not healthy(machine))  # type: ignore[misc]
        in_client = ("ip", "netns", "exec", "machines.default.client")
        assert ip in node1.run(*in_client, "python3", "-c", ASK, f"http://{ip}:8080/"), "pods answer across machines"
        assert entries(node1) == held, "nothing is torn down"
    finally:
        node1.run("iptables", "-D", "INPUT", *cut)
    for machine in (node1, node2):
        eventually(lambda machine=machine: healthy(machine))  # type: ignore[misc]
    k8snetlab(node1, "scale", "deploy/web", "--replicas", "2")
    eventually(lambda: whole(node2))


def test_a_machine_whose_plug_is_pulled_is_lost_and_comes_back(node1: Machine, node2: Machine, before: Before) -> None:
    subnet = node1.json("k8snetlab", "get", "node", "node2", "-o", "json")["spec"]["podCIDR"]
    node2.kill()

    def pods_are_lost() -> bool:
        pods = node1.json("k8snetlab", "get", "pods", "-o", "json")["items"]
        there = [pod for pod in pods if pod["spec"]["nodeName"] == "node2"]
        return bool(there) and all(pod["status"].get("reason") == "NodeLost" for pod in there)

    eventually(pods_are_lost)
    eventually(lambda: entries(node1) == {"routes": [], "neighbours": [], "fdb": []})
    node2.start()
    # Of files it is to be as it once was: those in /etc/netns outlive the restart, and go with the lab.
    before["node2"] = {**state(node2), "files": before["node2"][0]["files"]}, settings(node2)
    k8snetlab(node2, *JOIN)
    assert node2.json("k8snetlab", "get", "node", "node2", "-o", "json")["spec"]["podCIDR"] == subnet
    eventually(lambda: whole(node1))
    assert whole(node2)


def test_who_leaves_leaves_nothing_behind(node1: Machine, node2: Machine, before: Before) -> None:
    k8snetlab(node2, "node", "leave")
    assert_as_before(node2, before)
    names = [node["metadata"]["name"] for node in node1.json("k8snetlab", "get", "nodes", "-o", "json")["items"]]
    assert names == ["node1"]
    eventually(lambda: entries(node1) == {"routes": [], "neighbours": [], "fdb": []})


def test_down_leaves_nothing_behind_on_any_machine(node1: Machine, node2: Machine, before: Before) -> None:
    k8snetlab(node2, *JOIN)
    k8snetlab(node1, "down")
    assert_as_before(node1, before)
    eventually(lambda: node2.attempt("ls", "/run/k8snetlab/machines").code != 0)
    assert_as_before(node2, before)
    eventually(lambda: node1.run(*ETCDCTL, "get", "--prefix", "/", "--keys-only").split() == [])
