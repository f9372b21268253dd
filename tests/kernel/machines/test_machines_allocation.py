"""Two machines of a lab that are asked for Services at one instant give no address and no node port twice."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from typing import Any

import pytest

from k8snetlab.api.core import Service
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import allocation
from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine, conversations, pair

pytestmark = pytest.mark.etcd
NETWORK = "10.96.0.0/24"
LAB = f"""
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec: {{machines: true, dns: {{enabled: false}}, serviceCIDR: {NETWORK}}}
"""
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    with pair(LAB, tmp_path_factory.mktemp("allocation")) as both:
        yield both


class Socket(http.client.HTTPConnection):
    """To the daemon of a machine."""

    def __init__(self, machine: Machine) -> None:
        super().__init__("localhost")
        self._path = str(machine.run_directory / machine.name / "api.sock")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


def ask(machine: Machine, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = Socket(machine)
    try:
        form = "application/merge-patch+json" if method == "PATCH" else "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": form})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}], **spec}}


def rivals(number: int) -> list[tuple[str, str]]:
    """Pairs of names that would be given the same cluster IP, or the same node port, had each been alone."""
    by_choice: dict[Any, str] = {}
    found: list[tuple[str, str]] = []
    for name in map("s{}".format, itertools.count()):
        one = Service(metadata=ObjectMeta(name=name, namespace="default"))
        ip = allocation.cluster_ip(one, ip_network(NETWORK), Snapshot())
        port = allocation.node_port(one, "80/TCP", set(), Snapshot())
        for choice in (ip, port):
            if choice in by_choice and not any({name, by_choice[choice]} & {*pair} for pair in found):
                found.append((by_choice[choice], name))
            by_choice[choice] = name
        if len(found) >= number:
            return found
    raise AssertionError


def leader(machines: tuple[Machine, Machine]) -> Machine:
    lease = "/registry/leases/kube-system/kube-controller-manager"
    (held,) = map(json.loads, machines[0].run("store", "dump", lease, "-o", "json").splitlines())
    return next(m for m in machines if m.node in held["value"]["spec"]["holderIdentity"])


def test_services_created_at_once_on_two_machines_share_no_address_or_port(machines: tuple[Machine, Machine]) -> None:
    together = threading.Barrier(2)

    def create(machine: Machine, name: str) -> dict[str, Any]:
        together.wait(30)
        code, said = ask(machine, "POST", SERVICES, service(name))
        assert code == 201, said
        assert ask(machine, "GET", f"{SERVICES}/{name}") == (200, said)
        return dict(said["spec"])

    given: list[dict[str, Any]] = []
    with ThreadPoolExecutor(2) as pool:
        for names in rivals(20):
            given += pool.map(create, machines, names)
    addresses, ports = [g["clusterIP"] for g in given], [g["ports"][0]["nodePort"] for g in given]
    assert len(given) == 40
    assert len(set(addresses)) == len(addresses)
    assert len(set(ports)) == len(ports)


def test_a_service_changed_on_either_machine_is_checked_and_answered_as_stored(
    machines: tuple[Machine, Machine],
) -> None:
    for machine in machines:
        name = f"changes-{machine.node}"
        path = f"{SERVICES}/{name}"
        assert ask(machine, "POST", SERVICES, service(name, type="ClusterIP"))[0] == 201
        code, said = ask(machine, "POST", SERVICES, service(name))
        assert (code, said["reason"]) == (409, "AlreadyExists")
        code, changed = ask(machine, "PATCH", path, {"spec": {"type": "NodePort"}})
        assert code == 200 and changed["spec"]["ports"][0]["nodePort"], changed
        assert ask(machine, "GET", path) == (200, changed)
        code, said = ask(machine, "PUT", path, {**changed, "spec": {**changed["spec"], "clusterIP": "10.96.0.77"}})
        assert code == 422 and "clusterIPs[0]" in said["message"]
        stale = {**changed, "metadata": {**changed["metadata"], "resourceVersion": "1"}}
        assert ask(machine, "PUT", path, stale)[0] == 409
        changed["metadata"]["labels"] = {"colour": "blue"}
        code, said = ask(machine, "PUT", path, changed)
        assert code == 200 and ask(machine, "GET", path) == (200, said)
        assert ask(machine, "PUT", f"{SERVICES}/no-such", changed)[0] == 404
    eventually(lambda: not conversations(machines[0]))


def test_a_service_gets_an_address_while_the_leader_does_not_answer(machines: tuple[Machine, Machine]) -> None:
    first = leader(machines)
    (other,) = {*machines} - {first}
    daemon = next(m["daemon"]["pid"] for n, m in other.json("status")["machines"].items() if n == first.node)
    os.kill(daemon, signal.SIGSTOP)
    try:
        code, said = ask(other, "POST", SERVICES, service("alone"))
        assert code == 201 and said["spec"]["clusterIP"]
    finally:
        os.kill(daemon, signal.SIGCONT)
    eventually(lambda: ask(first, "GET", f"{SERVICES}/alone") == (200, said))
