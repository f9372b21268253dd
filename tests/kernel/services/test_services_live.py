"""Every kind of Service in a running lab: real packets go where the tracer says, with both variants of iptables."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from live import IMPATIENCE, TRIES, Fate, Live, Responder, Target
from repository import MANIFESTS

from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.kernel import netns
from k8snetlab.kernel.shot import crc32c
from k8snetlab.testing import Lab
from k8snetlab.trace.tracer import trace

MANIFEST = (MANIFESTS / "services.yaml").read_text()
CONFIGURATION = """
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
"""
NODES = {"node1": "192.168.0.21", "node2": "192.168.0.22"}
PODS = ("client1", "client2", "web1", "web2")


class Services:
    """The lab of all Services, put up in one configuration after another."""

    def __init__(self, directory: Path, variant: str) -> None:
        self.lab, self.variant, self._file = Lab(directory), variant, directory / "lab.yaml"
        self._text = ""
        self._live: Live | None = None

    def up(self, layout: str = "current", configuration: str = "") -> Live:
        text = MANIFEST.replace("VARIANT", self.variant).replace("LAYOUT", layout)
        text += CONFIGURATION + configuration if configuration else ""
        if self._live is None or text != self._text:
            self._file.write_text(text)
            self.lab.run("up", str(self._file))
            self._text = text
            if self._live is None:
                self._live = Live(self.lab)
            self._live.refresh()
        return self._live


@pytest.fixture(scope="module", params=["nft", "legacy"])
def services(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    services = Services(tmp_path_factory.mktemp("services"), request.param)
    services.up()
    with Responder(services.lab.netns("outside"), 3306):
        yield services
    services.lab.run("down")


def tcp(name: str, address: str, port: int = 80) -> Target:
    return Target(name, address, port)


def udp(name: str, address: str, port: int) -> Target:
    return Target(name, address, port, "udp")


def on_nodes(name: str, port: int, protocol: str = "tcp") -> list[Target]:
    return [Target(f"{name}@{node}", address, port, protocol) for node, address in NODES.items()]


CLUSTER_IPS = [
    tcp("cluster", "10.96.0.11"),
    tcp("nodeport", "10.96.0.12"),
    tcp("nodeport:admin", "10.96.0.12", 90),
    tcp("balancer", "10.96.0.14"),
    tcp("guarded", "10.96.0.15"),
    tcp("open", "10.96.0.16"),
    tcp("outer", "10.96.0.17"),
    tcp("local", "10.96.0.18"),
    tcp("inner", "10.96.0.19"),
    tcp("empty", "10.96.0.21"),
    udp("empty", "10.96.0.21", 80),
    tcp("mysql", "10.96.0.24", 3306),
    udp("dns", "10.96.0.25", 53),
    tcp("ending", "10.96.0.26"),
    tcp("fading", "10.96.0.27"),
    tcp("near", "10.96.0.28"),
    tcp("hosted", "10.96.0.29"),
    tcp("no such port", "10.96.0.11", 81),
]
NODE_PORTS = [
    *on_nodes("nodeport", 30012),
    *on_nodes("nodeport:admin", 30013),
    *on_nodes("balancer", 30014),
    *on_nodes("guarded", 30015),
    *on_nodes("local", 30018),
    *on_nodes("empty", 30021),
    *on_nodes("empty", 30021, "udp"),
    *on_nodes("dns", 30025, "udp"),
    *on_nodes("hosted", 30029),
    *on_nodes("nobody's", 30099),
]
EXTERNAL = [
    tcp("balancer", "198.51.100.14"),
    tcp("balancer, ipMode Proxy", "198.51.100.114"),
    tcp("guarded", "198.51.100.15"),
    tcp("open", "198.51.100.16"),
    tcp("outer", "198.51.100.17"),
    tcp("local", "198.51.100.18"),
    tcp("local, external IP", "198.51.100.118"),
    tcp("empty", "198.51.100.21"),
    tcp("empty, external IP", "198.51.100.121"),
]
LOCALHOST = [tcp("nodeport@localhost", "127.0.0.1", 30012), tcp("local@localhost", "127.0.0.1", 30018)]


def cases(places: Iterable[str], targets: Iterable[Target]) -> list[tuple[str, Target]]:
    targets = list(targets)
    return [(place, target) for place in places for target in targets]


@pytest.mark.parametrize("layout", ["current", "classic"])
def test_packets_go_where_the_tracer_says(services: Services, layout: str) -> None:
    live = services.up(layout)
    inside = cases((*PODS, *NODES), CLUSTER_IPS + NODE_PORTS + EXTERNAL)
    live.check(inside + cases(["outside"], NODE_PORTS + EXTERNAL) + cases(NODES, LOCALHOST))


@pytest.mark.parametrize(
    "configuration",
    [
        "iptables: {masqueradeAll: true, masqueradeBit: 20}",
        "iptables: {localhostNodePorts: false}\nconntrack: {tcpBeLiberal: true}",
        "detectLocalMode: NodeCIDR\nnodePortAddresses: [primary]",
        "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}",
        "detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: cni}",
        "nodePortAddresses: [10.244.0.0/16]",
        "nodePortAddresses: [127.0.0.0/8, 192.168.0.21/32]",
    ],
    ids=lambda text: text.replace("\n", ", "),
)
def test_every_configuration_of_kube_proxy(services: Services, configuration: str) -> None:
    live = services.up(configuration=configuration)
    targets = [tcp("cluster", "10.96.0.11"), tcp("local", "10.96.0.18"), *on_nodes("nodeport", 30012)]
    targets += [tcp("nodeport@cni0", "10.244.1.1", 30012), tcp("local", "198.51.100.18"), *on_nodes("local", 30018)]
    live.check(
        cases((*PODS, *NODES), targets) + cases(["outside"], on_nodes("nodeport", 30012)) + cases(NODES, LOCALHOST)
    )


@pytest.mark.parametrize("layout", ["current", "classic"])
def test_a_client_sticks_to_its_endpoint(services: Services, layout: str) -> None:
    """With session affinity; before the first packet every endpoint is possible, after it only the one that had it."""
    live = services.up(layout)
    inside = cases(("client1", "web2", "node1"), [tcp("sticky", "10.96.0.20")])
    for place, target in inside + cases(["outside"], on_nodes("sticky", 30020)):
        possible = live.predict(place, target)
        first = live.ask(place, target)
        assert first in possible
        assert live.predict(place, target) == {first}
        assert {live.ask(place, target) for _ in range(6)} == {first}


def test_whom_the_endpoint_sees(services: Services) -> None:
    """The tracer and the kernel agree elsewhere; here both are held to what the Kubernetes documentation promises."""
    live = services.up()

    def seen(place: str, target: Target) -> set[Fate]:
        return {live.ask(place, target) for _ in range(TRIES)}

    def lost(place: str, target: Target) -> bool:
        return live.ask(place, target, IMPATIENCE) == Fate("lost")

    assert {fate.client for fate in seen("client2", tcp("cluster", "10.96.0.11"))} == {"10.244.2.2"}
    local = seen("outside", tcp("local", "192.168.0.22", 30018))
    assert {(fate.client, fate.endpoint) for fate in local} == {
        ("203.0.113.10", "10.244.2.3"),
        ("203.0.113.10", "10.244.2.4"),
    }
    assert lost("outside", tcp("local", "192.168.0.21", 30018))
    assert "203.0.113.10" not in {fate.client for fate in seen("outside", tcp("nodeport", "192.168.0.22", 30012))}
    assert lost("client1", tcp("inner", "10.96.0.19"))
    assert {fate.endpoint for fate in seen("client2", tcp("inner", "10.96.0.19"))} == {"10.244.2.3", "10.244.2.4"}
    assert seen("client1", tcp("empty", "10.96.0.21")) == {Fate("refused")}
    assert lost("outside", tcp("guarded", "198.51.100.15"))
    assert {fate.endpoint for fate in seen("client1", tcp("near", "10.96.0.28"))} == {"10.244.1.3"}
    assert {fate.endpoint for fate in seen("client2", tcp("near", "10.96.0.28"))} == {"10.244.2.3"}
    assert {fate.endpoint for fate in seen("client2", tcp("ending", "10.96.0.26"))} == {"10.244.1.3"}
    assert {fate.endpoint for fate in seen("client2", tcp("fading", "10.96.0.27"))} == {"10.244.1.3"}
    assert seen("client2", tcp("mysql", "10.96.0.24", 3306)) == {Fate("answered", "203.0.113.10", "192.168.0.22")}


def test_headless_services_and_external_names_have_no_rules(services: Services) -> None:
    live = services.up()
    for view in live.nodes.values():
        rules = [rule for chains in view.rules.values() for found in chains.values() for rule in found]
        assert any("default/cluster" in rule for rule in rules)
        assert not [rule for rule in rules if "default/headless" in rule or "default/alias" in rule]


def test_nothing_drifts(services: Services) -> None:
    """What the kernel shows of our rules is recognised as ours, whatever form it gives them."""
    for layout in ("current", "classic"):
        services.up(layout)
        assert [node["agent"]["drift"] for node in services.lab.json("status")["nodes"]] == [[], []]


@pytest.mark.parametrize("place", ["client1", "node1", "outside"])
def test_sctp_reaches_an_endpoint(services: Services, place: str) -> None:
    """An INIT chunk by hand: it is translated also where the kernel itself has no SCTP sockets."""
    live = services.up()
    to = ("192.168.0.21", 30030) if place == "outside" else ("10.96.0.30", 2905)
    source = live.source(place, tcp("signal", *to))
    view = live.nodes["node1"]
    interface = {"client1": "cni0", "node1": "", "outside": "eth0"}[place]
    packet = Packet(source, to[0], "sctp", to[1], in_interface=interface, bridged=place == "client1")
    expected = {outcome.packet.dst for outcome in trace(view.rules["ipv4"], packet, Host(view.addresses))}
    assert expected == {"10.244.1.3", "10.244.2.3", "10.244.2.4"}
    pods = {"10.244.1.3": "web1", "10.244.2.3": "web2", "10.244.2.4": "web3"}
    listeners = {ip: _raw(live.places[pod].netns) for ip, pod in pods.items()}
    with _raw(live.places[place].netns) as sender:
        seen: set[str] = set()
        for port in range(40001, 40061):
            sender.sendto(_init_chunk(port, to[1]), (to[0], 0))
            seen |= _receivers(listeners)
            if seen == expected:
                break
    for listener in listeners.values():
        listener.close()
    assert seen == expected


def _raw(namespace: str) -> socket.socket:
    with netns.inside(namespace):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
    sock.setblocking(False)
    return sock


def _receivers(listeners: dict[str, socket.socket]) -> set[str]:
    """The endpoints that a packet for the target port has come to."""
    ready = select.select(listeners.values(), [], [], 0.5)[0]
    ports = {ip: struct.unpack_from("!H", sock.recv(2048), 22)[0] for ip, sock in listeners.items() if sock in ready}
    return {ip for ip, port in ports.items() if port == 2906}


def _init_chunk(source_port: int, port: int) -> bytes:
    """An SCTP packet that begins an association (RFC 9260, 3.3.2)."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source_port, port, 0)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk
