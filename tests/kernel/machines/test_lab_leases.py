"""Leases of a lab of namespaces: flannel's keys in the store, and /run/flannel/subnet.env in each node's view."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from k8snetlab.store.serve import serve
from k8snetlab.testing import Lab, eventually
from k8snetlab.testing.etcd import free_port

LAB = """
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {nodes: 2, dns: {enabled: false}, network: {subnetLen: 26, subnetMin: 10.244.5.64}%s}
---
apiVersion: v1
kind: Pod
metadata: {name: pod}
spec: {nodeName: node2, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  nodeName: node2
  hostNetwork: true
  containers: [{name: c, command: [sh, -c, "cat /run/flannel/subnet.env; exec sleep 86400"]}]
"""
ENV = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.5.%d/26\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
KEY = "/coreos.com/network/subnets/10.244.5.%d-26"


def etcdctl(endpoint: str, *words: str) -> str:
    done = subprocess.run(
        ["etcdctl", "--endpoints", endpoint, *words],
        capture_output=True, text=True, check=True, env={**os.environ, "ETCDCTL_API": "3"},
    )  # fmt: skip
    return done.stdout


@pytest.fixture(params=["embedded", pytest.param("etcd", marks=pytest.mark.etcd)])
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Lab, str]]:
    """A lab, and its etcd's endpoint."""
    with ExitStack() as stack:
        endpoint = ""
        if request.param == "etcd":
            endpoint = f"http://127.0.0.1:{free_port()}"
            etcd = serve(tmp_path / "etcd", endpoint)
            stack.callback(etcd.stop)
            etcd.wait_ready()
        lab = Lab(tmp_path)
        store = f", store: {{type: etcd, endpoints: ['{endpoint}'], insecure: true}}" if endpoint else ""
        (tmp_path / "lab.yaml").write_text(LAB % store)
        lab.run("up", str(tmp_path / "lab.yaml"))
        stack.callback(lambda: lab.run_directory.exists() and lab.run("down"))
        yield lab, endpoint


def machine_files() -> set[str]:
    return {file.name for file in Path("/run").iterdir()}


def keys(lab: Lab) -> dict[str, str]:
    """The holder of each lease."""
    return {lease["key"]: lease["holder"] for lease in lab.json("get", "subnet")["items"]}


def test_nodes_have_leases_as_flannel_keeps_them(up: tuple[Lab, str], tmp_path: Path) -> None:
    lab, endpoint = up
    assert keys(lab) == {KEY % 64: "192.168.0.21", KEY % 128: "192.168.0.22"}, "up waits for them"
    lease = lab.json("get", "subnets", "node2")
    assert (lease["node"], lease["subnets"]) == ("node2", ["10.244.5.128/26"])
    assert 86_000 < lease["left"] <= 86_400
    assert lab.run("get", "subnet/node1").endswith(ENV % 65)
    assert "held by 192.168.0.21 for another 23h" in lab.run("get", "subnet", "node1")
    assert "node 'node9' not found" in lab.run("get", "subnet", "node9", code=1)
    stored = json.loads(lab.run("store", "dump", KEY % 64, "-o", "json"))["value"]
    mac = lab.json("get", "node", "node1")["metadata"]["annotations"]["flannel.alpha.coreos.com/backend-data"]
    device = json.loads(lab.shell("node1", "ip", "-j", "link", "show", "flannel.1"))[0]
    assert stored["BackendData"] == json.loads(mac) and stored["BackendData"]["VtepMAC"] == device["address"]
    lab.apply((tmp_path / "lab.yaml").read_text().replace("nodes: 2", "nodes: 3"))
    assert keys(lab)[KEY % 192] == "192.168.0.23", "apply waits for it"
    if endpoint:
        etcdctl(endpoint, "del", KEY % 64)
        eventually(lambda: KEY % 64 in etcdctl(endpoint, "get", "--prefix", "/coreos.com", "--keys-only"))
        eventually(lambda: f"its lease {KEY % 64} was deleted" in lab.logs())
        etcdctl(endpoint, "put", KEY % 128, '{"PublicIP": "10.9.9.9"}')
        eventually(lambda: any("is held by 10.9.9.9" in problem for problem in lab.json("status")["problems"]))
        assert lab.json("get", "node", "node2")["spec"]["podCIDR"] == "10.244.5.128/26", "nothing is torn down"
        etcdctl(endpoint, "del", KEY % 128)
        eventually(lambda: keys(lab)[KEY % 128] == "192.168.0.22" and not lab.json("status")["problems"])
        etcdctl(endpoint, "put", "/registry/ranges/fence", "another 1")  # as a daemon does that gives an address
        lab.run("down")
        assert etcdctl(endpoint, "get", "--prefix", "/", "--keys-only").split() == []


def test_each_node_sees_its_own_subnet_env_and_the_machine_none(up: tuple[Lab, str]) -> None:
    lab, _ = up
    run = machine_files()
    assert lab.run("exec", "node1", "--", "cat", "/run/flannel/subnet.env") == ENV % 65
    assert lab.run("exec", "node2", "--", "cat", "/run/flannel/subnet.env") == ENV % 129
    assert lab.run("exec", "host", "--", "cat", "/run/flannel/subnet.env") == ENV % 129
    eventually(lambda: lab.run("logs", "host") == ENV % 129)
    in_node, in_pod = (set(lab.run("exec", place, "--", "ls", "/run").split()) for place in ("node1", "pod"))
    assert lab.run("exec", "node1", "--", "ip", "netns", "exec", lab.netns("node2"), "hostname") != ""
    steady, ever = run & machine_files(), run | machine_files()  # others of this machine make and remove files there
    assert steady <= in_node - {"flannel"} <= ever and "flannel" in in_node
    assert steady <= in_pod <= ever, "a pod sees what the machine has"
    assert ("flannel" in machine_files()) == ("flannel" in run)


def test_a_restarted_daemon_keeps_the_leases(up: tuple[Lab, str], tmp_path: Path) -> None:
    lab, _ = up
    eventually(lambda: set(keys(lab).values()) == {"192.168.0.21", "192.168.0.22"})
    lab.kill("daemon")
    lab.run("up", str(tmp_path / "lab.yaml"))
    eventually(lambda: keys(lab) == {KEY % 64: "192.168.0.21", KEY % 128: "192.168.0.22"})
    assert "was deleted" not in lab.logs()


CLUSTER = (
    ("/coreos.com/network/config", '{"Network": "10.1.0.0/16"}', "may be a real flannel's"),
    ("/registry/pods/kube-system/etcd-m", "k8s\n\x0b\n\x02v1\x12\x05Pod", "may be a real cluster's"),
    ("/registry/secrets/default/x", "k8s\n", "may be a real cluster's"),
    ("/registry/minions/node9", '{"kind": "Node"}', "may be a real cluster's"),
    ("/registry/k8snetlab/labs/lab", '{"spec": {"nodes": "x"}}', "labs/lab, which is no lab's"),
)


@pytest.mark.etcd
@pytest.mark.parametrize(("key", "value", "why"), CLUSTER, ids=[key for key, _, _ in CLUSTER])
def test_anothers_etcd_is_left_alone(tmp_path: Path, key: str, value: str, why: str) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    etcd = serve(tmp_path / "etcd", endpoint)
    lab = Lab(tmp_path)
    try:
        etcd.wait_ready()
        etcdctl(endpoint, "put", key, value)
        (tmp_path / "lab.yaml").write_text(LAB % f", store: {{type: etcd, endpoints: ['{endpoint}'], insecure: true}}")
        said = lab.run("up", str(tmp_path / "lab.yaml"), code=1)
        assert why in said and "Traceback" not in said
        lab.run("down", code=None)
        said = lab.run("node", "join", "--store", endpoint, "--insecure", "--name", "node2", code=1)
        assert "no lab" in said and "this is a bug" not in said
        assert etcdctl(endpoint, "get", "--prefix", "/").strip() == f"{key}\n{value}".strip()
    finally:
        etcd.stop()
