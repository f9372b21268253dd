"""A lab whose store is an etcd on another machine: the wire between them cut, the other machine's plug pulled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from k8snetlab.testing.web import client, web

from .conftest import Boot
from .machine import Machine
from .waiting import eventually

STORE = "http://192.168.56.11:2379"
SPEC = f'spec: {{nodes: 2, dns: {{enabled: false}}, store: {{type: etcd, endpoints: ["{STORE}"], insecure: true}}}}'
LAB = f"{{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {{name: afar}}, {SPEC}}}\n"
BLACK_HOLE = ("OUTPUT", "-p", "tcp", "-d", "192.168.56.11", "--dport", "2379", "-j", "DROP")


@pytest.fixture(scope="module")
def machines(boot: Boot) -> list[Machine]:
    return boot(2)


@pytest.fixture(scope="module")
def store(machines: list[Machine]) -> Machine:
    """node1, which serves the store."""
    serve(machines[0])
    return machines[0]


@pytest.fixture(scope="module")
def node2(machines: list[Machine], store: Machine) -> Iterator[Machine]:
    """node2, which runs the lab."""
    node2 = machines[1]
    node2.run("sh", "-c", "cat > /root/lab.yaml", stdin=LAB + client("node1") + web(1, node="node2"))
    node2.run("k8snetlab", "up", "/root/lab.yaml")
    yield node2
    node2.run("k8snetlab", "down")
    assert etcd(store, "get", "--prefix", "/", "--keys-only").split() == []


def serve(machine: Machine) -> None:
    machine.ask("k8snetlab", "store", "serve", "--insecure", "--listen", STORE)
    eventually(lambda: machine.attempt("etcdctl", "--endpoints", STORE, "endpoint", "health").code == 0)


def etcd(machine: Machine, *words: str) -> str:
    return machine.run("etcdctl", "--endpoints", STORE, *words)


def store_of(lab: Machine) -> dict[str, Any]:
    state: dict[str, Any] = lab.json("k8snetlab", "status", "-o", "json")["store"]
    return state


def answers(lab: Machine) -> bool:
    return lab.attempt("k8snetlab", "probe", "client", "web:80").code == 0


def scale(lab: Machine, replicas: int) -> None:
    lab.run("k8snetlab", "scale", "deploy/web", "--replicas", str(replicas))
    eventually(
        lambda: lab.json("k8snetlab", "get", "deploy", "web", "-o", "json")["status"]["readyReplicas"] == replicas
    )
    assert lab.attempt("k8snetlab", "probe", "--all").code == 0


def test_machines_reach_each_other(machines: list[Machine]) -> None:
    node1, node2 = machines
    node1.run("ping", "-c", "1", "-W", "30", node2.address)
    node2.run("ping", "-c", "1", "-W", "30", node1.address)


def test_a_lab_works_with_its_store_on_another_machine(store: Machine, node2: Machine) -> None:
    keys = etcd(store, "get", "--prefix", "/registry/", "--keys-only").split()
    assert {"/registry/minions/node1", "/registry/services/specs/default/web"} <= set(keys)
    scale(node2, 2)


def test_traffic_goes_on_while_the_store_is_cut_off(node2: Machine) -> None:
    """Packets vanish, as on a broken wire: no connection is refused, and the ones there are stay open."""
    node2.run("iptables", "-I", *BLACK_HOLE)
    try:
        eventually(lambda: not store_of(node2)["healthy"])
        assert answers(node2)
        node2.run("ip", "netns", "exec", "afar.node1", "ip", "route", "delete", "10.244.2.0/24")
        eventually(lambda: answers(node2))
    finally:
        node2.run("iptables", "-D", *BLACK_HOLE)
    eventually(lambda: store_of(node2)["healthy"])
    scale(node2, 3)


def test_traffic_goes_on_while_the_stores_machine_is_off(store: Machine, node2: Machine) -> None:
    store.kill()
    eventually(lambda: not store_of(node2)["healthy"])
    assert answers(node2)
    store.start()
    serve(store)
    eventually(lambda: store_of(node2)["healthy"])
    scale(node2, 2)
