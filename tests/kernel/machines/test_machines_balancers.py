"""Load balancers in a lab of machines: speakers on the machines' own devices, which any host of that network asks."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8snetlab.kernel import netns
from k8snetlab.render.lb import candidates
from k8snetlab.testing import eventually
from k8snetlab.testing.machines import Machine, Wire, namespaces, store_on, take_down, url

pytestmark = pytest.mark.etcd
HOST = "192.168.56.1"
ADDRESS = next(
    one for n in range(200, 250) if candidates.order(one := f"192.168.56.{n}", ("node1", "node2"))[0] == "node2"
)
"""One that node2 is the first to announce: node1 has the store, and the pod."""
LAB = f"""
apiVersion: k8snetlab/v1alpha1
kind: Lab
spec:
  machines: true
  dns: {{enabled: false}}
  underlay: {{cidr: 192.168.56.0/24}}
  loadBalancer: {{mode: l2, pool: [192.168.56.11-192.168.56.12, {ADDRESS}-{ADDRESS}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  nodeName: node1
  containers: [{{name: c, image: x, ports: [{{containerPort: 8080}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: LoadBalancer
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080}}]
"""


class World:
    """Two machines and a host of their network, in the switch's namespace."""

    def __init__(self, wire: Wire, one: Machine, two: Machine) -> None:
        self.wire, self.one, self.two = wire, one, two

    def asked(self) -> str:
        """Which pod answers the host; "" for none."""
        try:
            with netns.inside(self.wire.switch):
                raw = socket.create_connection((ADDRESS, 80), timeout=2)
            connection = http.client.HTTPConnection(ADDRESS)
            connection.sock = raw
            with contextlib.closing(connection):
                connection.request("GET", "/")
                return str(json.loads(connection.getresponse().read())["pod"])
        except (OSError, ValueError, http.client.HTTPException):
            return ""

    def told(self) -> set[str]:
        """What Events tell of announcers."""
        events = self.one.json("get", "events")["items"]
        return {one["message"] for one in events if one["reason"] == "nodeAssigned"}

    def mac(self) -> str:
        """Whom the host sends to for the address."""
        argv = ["ip", "-netns", self.wire.switch, "-j", "neigh", "show", ADDRESS]
        (entry,) = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
        return str(entry.get("lladdr", ""))


def own_mac(machine: Machine) -> str:
    (link,) = json.loads(machine.here("ip", "-j", "link", "show", "eth1"))
    return str(link["address"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("balancers")
    with namespaces() as namespace:
        wire = Wire(namespace, directory)
        one, two = wire.machine(), wire.machine()
        subprocess.run(["ip", "-netns", wire.switch, "address", "add", f"{HOST}/24", "dev", "wire"], check=True)
        with store_on(one, directory):
            try:
                _begun(directory, one, two)
                yield World(wire, one, two)
            finally:
                take_down([two, one])


def _begun(directory: Path, one: Machine, two: Machine) -> None:
    (directory / "lab.yaml").write_text(LAB)
    store = ("--store", url(one), "--insecure")
    one.run("up", str(directory / "lab.yaml"), "--node", "node1", *store, "--iface", "eth1")
    two.run("node", "join", *store, "--name", "node2", "--iface", "eth1")


def test_an_address_is_the_elected_machines_and_goes_to_the_other_with_its_cable(world: World) -> None:
    """It is none of a machine's own, though the pool has those."""
    service = world.one.json("get", "service", "web")
    assert [one["ip"] for one in service["status"]["loadBalancer"]["ingress"]] == [ADDRESS]
    eventually(lambda: world.asked() == "web" and world.mac() == own_mac(world.two))
    for machine in (world.one, world.two):
        assert ADDRESS not in machine.here("ip", "address")
    world.wire.cut(world.two)
    eventually(lambda: world.asked() == "web" and world.mac() == own_mac(world.one))
    world.wire.mend(world.two)
    eventually(lambda: world.asked() == "web" and world.mac() == own_mac(world.two))
    eventually(lambda: world.told() >= {f'announcing from node "node{n}" with protocol "layer2"' for n in (1, 2)})
    assert world.one.diagnose("--predict-only").findings == ()


def test_what_machines_cannot_have_is_refused_and_nothing_changes(world: World, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB.replace("mode: l2", "mode: cloud"))
    world.one.run("apply", "-f", str(tmp_path / "lab.yaml"), code=2)
    assert world.asked() == "web"
