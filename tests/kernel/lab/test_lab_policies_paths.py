"""Policies by real packets where addresses change on the way: both families, NodePorts, load balancers, nodes through
VXLAN; and what becomes of connections that are there when a policy changes."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from policypackets import PATIENCE, opening_of_sctp, passes, policy

from k8snetlab.api.core import Namespace, Node, Pod
from k8snetlab.api.lab import Lab as LabObject
from k8snetlab.api.load import load
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.kernel import netns
from k8snetlab.policies.verdict import allowed
from k8snetlab.policies.world import world
from k8snetlab.testing.lab import Lab

NODE1, NODE2, TUNNEL1, TUNNEL2 = "192.168.0.21", "192.168.0.22", "10.244.1.0", "10.244.2.0"
CLIENT, CLIENT6, VIP = "203.0.113.10", "fd00:2::10", "198.51.100.21"
WIDE = {"near": "198.51.100.22", "far": "198.51.100.23"}
"""Of load balancers that lead to these pods by all nodes; packets come in by node1."""
HEAD = """apiVersion: k8snetlab/v1alpha1
kind: Lab
metadata: {{name: {name}}}
spec:
  dns: {{enabled: false}}
  nodes: 2
  podCIDR: 10.244.0.0/16,fd00:10:244::/48
  serviceCIDR: 10.96.0.0/16,fd00:10:96::/112
  underlay: {{cidr: "192.168.0.0/24,fd00:1::/64", outside: "203.0.113.10/24,fd00:2::10/64"}}
  networkPolicy: {{cutEstablished: {cut}}}
"""
PORTS = "ports: [{containerPort: 80}, {containerPort: 81}, {containerPort: 80, protocol: UDP}]"
OBJECTS = "\n".join(
    [
        "---\n{apiVersion: v1, kind: Namespace, metadata: {name: x}}",
        *(
            f"---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: x, labels: {{pod: {name}}}}}, "
            f"spec: {{nodeName: {node}, {more} containers: [{{name: c, {PORTS}}}]}}}}"
            for name, node, more in (
                ("near", "node1", ""),
                ("mate", "node1", ""),
                ("far", "node2", ""),
            )
        ),
        "---\n{apiVersion: v1, kind: Pod, metadata: {name: host, namespace: x}, "
        "spec: {nodeName: node2, hostNetwork: true, containers: [{name: c}]}}",
        """---
apiVersion: v1
kind: Service
metadata: {name: near, namespace: x}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {pod: near}
  ports: [{port: 80, nodePort: 30081}]
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: x}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 31082
  selector: {pod: far}
  ports: [{port: 80, nodePort: 30082}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.21}]}}
""",
        *(
            f"---\n{{apiVersion: v1, kind: Service, metadata: {{name: {pod}-wide, namespace: x}}, "
            f"spec: {{type: LoadBalancer, selector: {{pod: {pod}}}, ports: [{{port: 80}}]}}, "
            f"status: {{loadBalancer: {{ingress: [{{ip: {vip}}}]}}}}}}"
            for pod, vip in WIDE.items()
        ),
    ]
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("paths"))
    file = tmp_path_factory.mktemp("manifests") / "lab.yaml"
    file.write_text(HEAD.format(name=lab.name, cut="false") + OBJECTS)
    lab.run("up", "--yes", str(file))
    for node in ("node1", "node2"):
        lab.shell(node, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
    yield lab
    lab.run("down")


@contextmanager
def applied(lab: Lab, *specs: str, name: str = "p") -> Iterator[str]:
    text = "---\n".join(policy(one, name=f"{name}{number}") for number, one in enumerate(specs))
    lab.apply(text)
    try:
        yield text
    finally:
        lab.run("delete", "-f", "-", stdin=text)


def address(lab: Lab, pod: str, family: int = 4) -> str:
    ips = [one["ip"] for one in lab.get("pod", pod, "x")["status"]["podIPs"]]
    return str(next(ip for ip in ips if (":" in ip) == (family == 6)))


def only_from(cidr: str, pod: str = "near") -> str:
    return f'{{podSelector: {{matchLabels: {{pod: {pod}}}}}, ingress: [{{from: [{{ipBlock: {{cidr: "{cidr}"}}}}]}}]}}'


@pytest.mark.parametrize(
    ("spec", "source", "port", "protocol", "expected"),
    [
        ("{podSelector: {}}", "mate", 80, "TCP", False),
        ("{podSelector: {}}", "far", 80, "UDP", False),
        ("{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {pod: mate}}}]}]}", "mate", 80, "TCP", True),
        ("{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {pod: mate}}}]}]}", "far", 80, "TCP", False),
        ("{podSelector: {}, ingress: [{ports: [{port: 81}]}]}", "far", 81, "TCP", True),
        ("{podSelector: {}, ingress: [{ports: [{port: 81}]}]}", "far", 80, "TCP", False),
        ('{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "fd00:10:244:2::/64"}}]}]}', "far", 80, "UDP", True),
        ('{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "fd00:10:244:2::/64"}}]}]}', "mate", 80, "UDP", False),
        (
            '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "::/0", except: ["fd00:10:244:2::/64"]}}]}]}',
            "far",
            80,
            "TCP",
            False,
        ),
        ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}", "mate", 80, "TCP", False),
        (
            "{tier: Admin, priority: 1, subject: {namespaces: {}},"
            " ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
            "mate",
            80,
            "UDP",
            False,
        ),
        (
            "{tier: Baseline, priority: 1, subject: {namespaces: {}},"
            ' egress: [{action: Deny, to: [{networks: ["::/0"]}]}]}',
            "far",
            80,
            "TCP",
            False,
        ),
    ],
)
def test_ipv6_packets_pass_as_policies_say(
    lab: Lab, spec: str, source: str, port: int, protocol: str, expected: bool
) -> None:
    with applied(lab, spec):
        assert passes(lab.netns("x", source), address(lab, "near", 6), protocol, port) == expected


@pytest.mark.parametrize(
    ("block", "answered"),
    [
        (f"{CLIENT}/32", {"its own node": True, "the other node": False}),
        (f"{TUNNEL2}/32", {"its own node": False, "the other node": True}),
        (f"{NODE2}/32", {"its own node": False, "the other node": False}),
    ],
)
def test_by_a_node_port_a_pod_sees_the_client_on_its_own_node_and_else_the_tunnel(
    lab: Lab, block: str, answered: dict[str, bool]
) -> None:
    """What is masqueraded is masqueraded after policies have looked at it, and on the node that does it."""
    with applied(lab, only_from(block)):
        seen = {
            "its own node": passes(lab.netns("outside"), NODE1, "TCP", 30081),
            "the other node": passes(lab.netns("outside"), NODE2, "TCP", 30081),
        }
    assert seen == answered


def test_by_a_node_port_of_ipv6_a_pod_sees_the_client_on_its_own_node(lab: Lab) -> None:
    with applied(lab, only_from(f"{CLIENT6}/128")):
        assert passes(lab.netns("outside"), "fd00:1::21", "TCP", 30081)
        assert not passes(lab.netns("outside"), "fd00:1::22", "TCP", 30081)


@pytest.mark.parametrize(("block", "answered"), [(f"{CLIENT}/32", True), ("203.0.113.99/32", False)])
def test_with_the_traffic_policy_local_a_pod_sees_who_asks_a_load_balancer(
    lab: Lab, block: str, answered: bool
) -> None:
    with applied(lab, only_from(block, "far")):
        assert passes(lab.netns("outside"), VIP, "TCP", 80) == answered
        assert passes(lab.netns("outside"), NODE2, "TCP", 30082) == answered


@pytest.mark.parametrize(("block", "answered"), [(CLIENT, {"near"}), (TUNNEL1, {"far"}), (NODE1, set())])
def test_with_the_traffic_policy_cluster_a_pod_sees_who_asks_on_the_node_they_come_in_by_and_else_the_tunnel(
    lab: Lab, block: str, answered: set[str]
) -> None:
    with applied(lab, only_from(f"{block}/32", "near"), only_from(f"{block}/32", "far")):
        assert {pod for pod, vip in WIDE.items() if passes(lab.netns("outside"), vip, "TCP", 80)} == answered


@pytest.mark.parametrize("types", ["Ingress", "Egress", "Ingress, Egress"])
def test_what_a_pod_says_to_itself_passes_and_by_its_own_service_as_why_says(lab: Lab, types: str) -> None:
    """By the Service it goes through its node and comes back: there either direction is enough."""
    service = str(lab.get("service", "near", "x")["spec"]["clusterIP"])
    own, near = address(lab, "near"), lab.netns("x", "near")
    with applied(lab, f"{{podSelector: {{}}, policyTypes: [{types}]}}"):
        assert passes(near, own, "TCP", 80) and passes(near, own, "UDP", 80)
        assert passes(near, service, "TCP", 80) == (", " not in types)
        for asked in (own, service):
            said = lab.json("policy", "why", "x/near", f"{asked}:80", code=None)["allowed"]
            assert said == passes(near, asked, "TCP", 80), asked


@pytest.mark.parametrize(
    ("block", "source", "expected"),
    [
        ("203.0.113.99/32", "node1", True),  # a pod's own node, whatever is said
        (f"{NODE2}/32", "node2", False),  # through VXLAN nodes have flannel.1's address
        (f"{TUNNEL2}/32", "node2", True),
        (f"{NODE2}/32", "x/host", False),  # and so have pods in their network
        (f"{TUNNEL2}/32", "x/host", True),
    ],
)
def test_a_node_comes_through_the_tunnel_with_the_tunnels_address(
    lab: Lab, block: str, source: str, expected: bool
) -> None:
    """And that is what the prediction says."""
    place = lab.netns("node2") if source == "x/host" else lab.netns(source)
    with applied(lab, only_from(block)) as text:
        assert passes(place, address(lab, "near"), "TCP", 80) == expected
        objects = [
            msgspec.convert(one, type_, strict=False)
            for kind, type_ in (("labs", LabObject), ("nodes", Node), ("namespaces", Namespace), ("pods", Pod))
            for one in lab.list(kind)
        ]
        known = world(Snapshot.of([*load([("f.yaml", text)], whole=False).objects, *objects]))
        verdict = allowed(known.resolved, known.end(source), known.pod("x/near"), ("TCP", 80))
        assert verdict.allowed == expected, verdict


def test_what_a_clusters_policy_denies_is_not_what_a_pod_says_to_itself_by_its_service(lab: Lab) -> None:
    """It goes by the node, and comes back."""
    denied = (
        "{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}],"
        " egress: [{action: Deny, to: [{namespaces: {}}]}]}"
    )
    own = str(lab.get("service", "near", "x")["spec"]["clusterIP"])
    with applied(lab, denied):
        assert passes(lab.netns("x", "near"), own, "TCP", 80)
        assert not passes(lab.netns("x", "mate"), own, "TCP", 80)


def init_arrives(lab: Lab, source: str, target: str, port: int, patience: float) -> bool:
    """Whether an SCTP packet that opens an association comes to a pod. It is made by hand, as who hears it: few kernels
    have SCTP's sockets, and all have what filters it."""
    packet = opening_of_sctp(40000 + port % 1000, port)
    ends = []
    for pod in (source, target):
        with netns.inside(lab.netns("x", pod)):
            ends.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP))
    sending, hearing = ends
    with sending, hearing:
        hearing.settimeout(patience)
        sending.sendto(packet, (address(lab, target), 0))
        try:
            return hearing.recv(1000)[20:] == packet
        except TimeoutError:
            return False


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{podSelector: {}, ingress: [{ports: [{port: 9999, protocol: SCTP}]}]}", {9999: True, 9998: False}),
        ("{podSelector: {}, ingress: [{ports: [{port: 9999}, {port: 9999, protocol: UDP}]}]}", {9999: False}),
        ("{podSelector: {}, ingress: [{ports: [{protocol: SCTP}]}]}", {9998: True}),
        (
            "{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}],"
            " protocols: [{sctp: {destinationPort: {number: 9999}}}]}]}",
            {9999: False, 9998: True},
        ),
    ],
)
@pytest.mark.parametrize("source", ["mate", "far"])
def test_sctp_passes_as_policies_say(lab: Lab, source: str, spec: str, expected: dict[int, bool]) -> None:
    with applied(lab, spec):
        seen = {port: init_arrives(lab, source, "near", port, 15 if may else 1) for port, may in expected.items()}
    assert seen == expected


class Talk:
    """A connection between two pods that stays open; each line that is said is said again by the other end."""

    def __init__(self, lab: Lab, source: str, target: str, kind: int, family: int = 4) -> None:
        net = socket.AF_INET6 if family == 6 else socket.AF_INET
        with netns.inside(lab.netns("x", target)):
            self.listener = socket.socket(net, kind)
        self.listener.bind(("", 9000))
        self.listener.settimeout(PATIENCE)
        with netns.inside(lab.netns("x", source)):
            self.client = socket.socket(net, kind)
        self.client.settimeout(PATIENCE)
        if kind == socket.SOCK_STREAM:
            self.listener.listen()
        self.client.connect((address(lab, target, family), 9000))
        self.server = self.listener
        if kind == socket.SOCK_STREAM:
            self.server, _ = self.listener.accept()
            self.server.settimeout(PATIENCE)

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self.client, self.server, self.listener):
            one.close()

    def goes(self) -> bool:
        try:
            self.client.send(b"hello\n")
            ready, _, _ = select.select([self.server, self.client], [], [], PATIENCE)
            if self.server not in ready:
                return self.client.recv(100) == b""  # raises what it was refused with
            said, peer = self.server.recvfrom(100)
            if self.server is self.listener:
                self.server.sendto(said, peer)
            else:
                self.server.send(said)
            return self.client.recv(100) == b"hello\n"
        except (TimeoutError, ConnectionError):
            return False


KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
ONLY = "{podSelector: {matchLabels: {pod: near}}, ingress: [{from: [{podSelector: {matchLabels: {pod: %s}}}]}]}"


@pytest.mark.parametrize("protocol", KINDS)
def test_a_connection_goes_on_when_a_policy_allows_it_no_more(lab: Lab, protocol: str) -> None:
    with Talk(lab, "far", "near", KINDS[protocol]) as talk:
        assert talk.goes()
        with applied(lab, "{podSelector: {}}"):
            assert talk.goes(), "as with kube-router"
            assert not passes(lab.netns("x", "far"), address(lab, "near"), "TCP", 80)


@pytest.fixture(scope="module")
def cutting(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab once it cuts connections."""
    lab.apply(HEAD.format(name=lab.name, cut="true"))
    return lab


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", KINDS)
@pytest.mark.parametrize("source", ["far", "mate"])
def test_a_connection_is_cut_when_that_is_asked_for(cutting: Lab, source: str, protocol: str, family: int) -> None:
    lab = cutting
    other = "mate" if source == "far" else "far"
    with (
        Talk(lab, source, "near", KINDS[protocol], family) as talk,
        applied(lab, "{podSelector: {matchLabels: {pod: near}}, ingress: [{}]}", name="all"),
    ):
        assert talk.goes(), "it is allowed"
        with applied(lab, ONLY % other):
            assert talk.goes(), "one of two policies allows it"
            lab.run("delete", "networkpolicy", "-n", "x", "all0")
            assert not talk.goes()
            if protocol == "TCP":
                with pytest.raises(ConnectionResetError):
                    talk.server.send(b"more\n")
                    talk.server.recv(100)
            lab.apply(policy("{podSelector: {matchLabels: {pod: near}}, ingress: [{}]}", name="all0"))
