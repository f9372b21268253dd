"""Faults as values: declared, made for one lab, chosen by a seed, written down."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import msgspec
import pytest

from k8snetlab.api.core import Node
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.diagnose.finding import TIERS
from k8snetlab.errors import NotFoundError, UnsupportedError
from k8snetlab.faults import limits
from k8snetlab.faults.catalogue import FAULTS, IMPOSSIBLE, chosen, damage, fault
from k8snetlab.faults.drill import is_object, may_be_hidden
from k8snetlab.faults.fault import Damage
from k8snetlab.faults.injected import Injected, held
from k8snetlab.faults.scene import LacksError
from k8snetlab.testing.fake_cluster import LAB, FakeCluster

MANIFESTS = Path(__file__).parents[2] / "kernel" / "faults" / "faulty.yaml"


OF_OSPF = ("ospf-dropped", "ospf-mute", "ospf-area-wrong", "ospf-hello-wrong", "link-mtu-small")
LINKS = (
    "underlay: {cidr: 192.168.0.0/16, routers: [leaf], links: ["
    "{name: one, cidr: 192.168.1.0/24, routers: [leaf], nodes: [node1]}, "
    "{name: two, cidr: 192.168.2.0/24, routers: [leaf, router], nodes: [node2]}]}"
)
POOL = "192.168.0.200-192.168.0.209"
KUBE_DNS = """
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Pod
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data: {Corefile: ".:53 {\\n forward . 203.0.113.10\\n}"}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  ingressClassName: nginx
  rules:
  - host: shop.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: nginx}
spec: {controllerName: gateway.nginx.org/nginx-gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door}
spec: {gatewayClassName: nginx, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: kube-system}
spec: {clusterIP: 10.96.0.77, selector: {k8s-app: kube-dns}, ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: far, namespace: kube-system}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: far}
spec:
  parentRefs: [{name: door}]
  hostnames: [far.example]
  rules: [{backendRefs: [{name: far, namespace: kube-system, port: 80}]}]
"""


def cluster(spec: str) -> Snapshot:
    text = MANIFESTS.read_text().replace("  dns: {enabled: false}\n", f"  {spec}\n" if spec else "")
    return FakeCluster(text + "---" + KUBE_DNS).run().snapshot


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Says how many connections there may be, whatever this machine's kernel does."""
    file = tmp_path / "nf_conntrack_max"
    file.write_text("262144\n")
    monkeypatch.setattr(limits, "ROOM", file)
    return file


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return cluster("")


@pytest.fixture(scope="module")
def asking() -> Snapshot:
    return cluster("network: {resolve: on-miss}")


def balancing(mode: str, app: str) -> Snapshot:
    """A lab with load balancers, one of which leads to the pods of `app` with externalTrafficPolicy Local."""
    balancer = f"  loadBalancer: {{mode: {mode}, pool: [{'198.51.100.0/28' if mode == 'bgp' else POOL}]}}\n"
    text = MANIFESTS.read_text().replace("  nodes: 2\n", f"  nodes: 2\n{balancer}")
    spec = f"type: LoadBalancer, externalTrafficPolicy: Local, selector: {{app: {app}}}, ports: [{{port: 80}}]"
    service = f"{{apiVersion: v1, kind: Service, metadata: {{name: outer}}, spec: {{{spec}}}}}"
    return FakeCluster(f"{text}---\n{service}\n").run().snapshot


OF_PLANES = {name for name, one in FAULTS.items() if one.group == "plane"}
BALANCED = {
    **dict.fromkeys(("source-ranges-narrow", "vip-not-in-pool", "vip-answered-twice"), ("l2", "far")),
    "health-check-dropped": ("cloud", "near"),
    "vip-session-dropped": ("bgp", "near"),
}
"""The lab that a fault of load balancers needs."""


@pytest.fixture(scope="module")
def by_ospf() -> Snapshot:
    return cluster("network: {backend: ospf}")


@pytest.fixture(scope="module")
def by_bgp() -> Snapshot:
    return cluster("network: {backend: bgp}")


@pytest.fixture(scope="module")
def by_calico() -> Snapshot:
    return cluster("network: {backend: calico}")


CALICOS = ("proxy-arp-off", "pod-route-missing", "bgp-as-wrong", "block-owned-twice", "leaked-route")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_declared_in_full(name: str) -> None:
    one = FAULTS[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and one.name == name
    assert one.level in (1, 2, 3) and one.said.kind in TIERS
    assert one.title and one.symptom and one.touches and len(one.title) < 80


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in OF_PLANES])
def test_a_fault_damages_the_labs_own_namespaces_and_can_be_written_down(
    name: str, snapshot: Snapshot, asking: Snapshot, by_ospf: Snapshot, by_bgp: Snapshot, by_calico: Snapshot
) -> None:
    held_by = {"miss-agent-dead": asking, **dict.fromkeys(OF_OSPF, by_ospf)}
    if name == "link-down":
        held_by[name] = cluster(LINKS)
    held_by |= dict.fromkeys(("bgp-dropped", "learned-route-shadowed"), by_bgp)
    held_by |= dict.fromkeys(CALICOS, by_calico)
    if name.startswith(("gateway-", "reference-grant-")):
        held_by[name] = cluster("gateway: {controller: nginx}")
    held_by |= {one: balancing(*BALANCED[one]) for one in (name,) if one in BALANCED}
    node, made = damage(FAULTS[name], held_by.get(name, snapshot), "node1", "nft")
    assert node == "node1"
    assert made.does or made.edits or made.holds
    for command in (*made.does, *made.undo):
        assert command.netns.startswith("lab."), "the machine's own namespace is nobody's to damage"
        assert str(command).startswith(("ip ", "bridge ", "tc ", "k8snetlab vtysh node1 -c"))
        assert not any(";" in word for word in command.argv) or command.argv[0] in ("nft", "sh")
        assert command.argv[0] != "sh" or "lab" not in command.argv[2], "a script has no names of the lab in it"
    assert all(hold.netns.startswith("lab.") or hold.kind in ("lease", "controller", "clock") for hold in made.holds)
    written = msgspec.json.encode((Injected(name, node, 1.0, made),))
    [read] = msgspec.json.decode(written, type=tuple[Injected, ...])
    assert held((read,)) == frozenset(made.holds)


@pytest.mark.parametrize(
    ("name", "object_", "halted"),
    [
        ("apiserver-hangs", "apiserver-2", {"apiserver-2"}),
        ("etcd-without-quorum", "etcd", {"etcd-1", "etcd-3"}),
        ("scheduler-hangs", "kube-scheduler", {"kube-scheduler-1", "kube-scheduler-2", "kube-scheduler-3"}),
    ],
)
def test_a_fault_of_a_control_plane_halts_processes_and_needs_one(
    snapshot: Snapshot, name: str, object_: str, halted: set[str]
) -> None:
    own = cluster("controlPlane: {replicas: 3, etcd: 3}")
    node, made = damage(FAULTS[name], own, "control-plane2", "nft")
    assert (node, made.object, made.does, made.edits) == ("control-plane2", object_, (), ())
    assert {(one.netns, one.kind, one.object) for one in made.holds} == {("", "process", one) for one in halted}
    assert damage(FAULTS[name], own, "", "nft")[0].startswith("control-plane")
    with pytest.raises(LacksError, match="on node1"):
        damage(FAULTS[name], own, "node1", "nft")
    with pytest.raises(LacksError, match="no control plane of its own"):
        damage(FAULTS[name], snapshot, "node1", "nft")
    with pytest.raises(LacksError, match="its controllers are processes of their own"):
        damage(FAULTS["controller-stuck"], own, "node1", "nft")


def test_on_a_machine_nothing_is_damaged_but_what_goes_with_the_lab(snapshot: Snapshot) -> None:
    lab, replace = snapshot.lab, msgspec.structs.replace
    changes: list[Change] = [(Lab, lab.key, replace(lab, spec=replace(lab.spec, machines=True)))]
    for key, node in snapshot.all(Node).items():
        annotations = {**node.metadata.annotations, "k8snetlab/machine": node.name, "k8snetlab/interface": "eth0"}
        changes.append((Node, key, replace(node, metadata=replace(node.metadata, annotations=annotations))))
    machines = snapshot.changed(changes, snapshot.revision)
    made: dict[str, Damage] = {}
    for name, one in FAULTS.items():
        with contextlib.suppress(LacksError):
            made[name] = damage(one, machines, "node1", "nft")[1]
    assert {"tunnel-down", "fdb-missing", "route-missing", "agent-stuck", "service-order", "hairpin"} <= made.keys()
    assert len(made) >= 30
    others = {"uplink-down", "ip-forward", "nat-flushed", "forward-drop", "conntrack-full", "vxlan-dropped-in"}
    assert not made.keys() & (others | {"selector", "lease-lost", "vni", "underlay-mtu"})
    assert str(made["tunnel-down"].does[0]) == "ip link set flannel.1 down"
    for one in made.values():
        assert not one.edits
        for command in (*one.does, *one.undo):
            assert command.netns == HOST_NETNS or command.netns.startswith("lab."), command


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_a_lab_cannot_have_is_refused_with_the_reason(name: str) -> None:
    assert name not in FAULTS
    with pytest.raises(UnsupportedError, match=f"{name} cannot be injected: .* machine") as refused:
        fault(name)
    assert refused.value.hint


def test_there_are_enough_of_each_level() -> None:
    levels = [one.level for one in FAULTS.values()]
    assert len(levels) > 60 and min(levels.count(level) for level in (1, 2, 3)) >= 15


def test_a_seed_is_one_fault_and_other_seeds_are_others(snapshot: Snapshot) -> None:
    same = [chosen(snapshot, "nft", "monday", 2)[0].name for _ in range(3)]
    assert len(set(same)) == 1 and FAULTS[same[0]].level == 2
    assert len({chosen(snapshot, "nft", str(seed))[0].name for seed in range(40)}) > 20


def test_where_something_is_lacking_it_is_said() -> None:
    lonely = FakeCluster(LAB % 1).run().snapshot
    with pytest.raises(LacksError, match="fdb-missing is not possible here: this lab has no second node"):
        damage(FAULTS["fdb-missing"], lonely, "", "nft")
    with pytest.raises(LacksError, match="the routes of this lab are made by vxlan"):
        damage(FAULTS["bgp-dropped"], lonely, "", "nft")
    with pytest.raises(NotFoundError) as wrong:
        fault("route-mising")
    assert wrong.value.hint == "did you mean route-missing?"


def test_a_table_that_is_too_large_is_not_filled(room: Path, snapshot: Snapshot) -> None:
    made = damage(FAULTS["conntrack-full"], snapshot, "node1", "nft")[1]
    assert [one.argv for one in made.undo] == [("conntrack", "-F")], "-D reads all of a table first"
    room.write_text("1048576\n")
    with pytest.raises(LacksError, match="room for 1,048,576 connections, too many to be filled") as refused:
        damage(FAULTS["conntrack-full"], snapshot, "node1", "nft")
    assert "nf_conntrack_max=262144" in refused.value.hint


@pytest.mark.parametrize("value", ["nginx", "web", "x", "1"])
def test_a_selector_is_another_one_whatever_it_was(value: str) -> None:
    text = MANIFESTS.read_text().replace("app: near", f"app: '{value}'")
    snapshot = FakeCluster(text).run().snapshot
    for seed in range(3):
        [edit] = damage(FAULTS["selector"], snapshot, "node1", "nft", seed)[1].edits
        assert edit.before["spec"]["selector"] != edit.after["spec"]["selector"]


@pytest.mark.parametrize("name", FAULTS)
def test_the_damaged_object_is_an_answer(name: str, snapshot: Snapshot) -> None:
    if may_be_hidden(FAULTS[name]):
        with contextlib.suppress(LacksError):
            node, made = damage(FAULTS[name], snapshot, "node1", "nft")
            assert is_object(made.object, Injected(name, node, 0.0, made))


def test_what_a_pod_has_of_its_resolv_conf_is_damaged() -> None:
    def made(text: str, name: str) -> str:
        snapshot = FakeCluster(text + "---" + KUBE_DNS).run().snapshot
        return " ".join(damage(FAULTS[name], snapshot, "node1", "nft")[1].does[0].argv)

    text = MANIFESTS.read_text()
    local = text.replace("dns: {enabled: false}", "dns: {nodeLocal: true}")
    assert "nameserver 169.254.20.10/" in made(local, "nameserver")
    own = text.replace("dns: {enabled: false}", "").replace(
        "spec: {nodeName: node1,", "spec: {nodeName: node1, dnsConfig: {options: [{name: ndots, value: '2'}]},"
    )
    with pytest.raises(LacksError, match="does not say ndots:5"):
        made(own, "ndots")


def test_what_is_so_already_is_no_fault() -> None:
    far = "ports: [{port: 80, targetPort: http, nodePort: 30081}]"
    text = MANIFESTS.read_text().replace(far, f"{far}\n  internalTrafficPolicy: Local")
    snapshot = FakeCluster(text).run().snapshot
    with pytest.raises(LacksError, match="Service default/far is so already"):
        damage(FAULTS["internal-local"], snapshot, "node1", "nft")
    with pytest.raises(LacksError, match="no VXLAN"):
        damage(FAULTS["pod-mtu"], cluster("network: {backend: host-gw}"), "node1", "nft")
