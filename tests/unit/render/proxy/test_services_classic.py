"""The layout of 2019, as the reference clusters of that time show it."""

from __future__ import annotations

from typing import Any

from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.render.proxy import ProxyRules, render_payload
from k8snetlab.render.proxy.frame import LAST
from k8snetlab.testing.services import (
    NODE1,
    OUTSIDE,
    POD1,
    POD2,
    VIP,
    cluster,
    endpoint,
    fate,
    rows,
    send,
    service,
    slice_of,
    web,
)

LB = "198.51.100.9"
NODE_PORT: dict[str, Any] = {"ports": [{"name": "http", "port": 80, "nodePort": 30080}], "type": "NodePort"}
EP1, EP2 = f"{POD1}:8080", f"{POD2}:8080"


def classic(*objects: Object) -> Snapshot:
    return cluster(*objects, layout="classic")


def test_the_service_of_the_first_reference_cluster() -> None:
    port = {"name": "data-product", "port": 50051}
    ips = ("172.30.76.3", "172.30.76.5", "172.30.9.4")
    snapshot = classic(
        service("data-product", [port], clusterIPs=["10.254.116.224"]),
        slice_of("data-product", *(endpoint(ip) for ip in ips), ports=[port]),
    )
    about, to = (
        '-m comment --comment "default/data-product:data-product cluster IP"',
        "-m tcp -p tcp -d 10.254.116.224/32 --dport 50051",
    )
    assert rows(snapshot, "nat", "KUBE-SERVICES")[:2] == (
        f"{about} {to} ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ",
        f"{about} {to} -j KUBE-SVC-45TXGSBX3LGQQRTB",
    )
    comment = "-m comment --comment default/data-product:data-product"
    assert rows(snapshot, "nat", "KUBE-SVC-45TXGSBX3LGQQRTB")[:2] == (
        f"{comment} -m statistic --mode random --probability 0.33333 -j KUBE-SEP-DGXT5Z3WOYVLBGRM",
        f"{comment} -m statistic --mode random --probability 0.50000 -j KUBE-SEP-P6GCAAVN4MLBXK7I",
    )
    assert rows(snapshot, "nat", "KUBE-SEP-DGXT5Z3WOYVLBGRM") == (
        f"{comment} -s 172.30.76.3/32 -j KUBE-MARK-MASQ",
        f"{comment} -m tcp -p tcp -j DNAT --to-destination 172.30.76.3:50051",
    )


def test_the_service_of_the_second_reference_cluster() -> None:
    port = {"port": 8080, "nodePort": 32681}
    snapshot = classic(
        service("kubia", [port], type="NodePort", clusterIPs=["192.168.199.234"]),
        slice_of("kubia", *(endpoint(f"192.168.131.{n}") for n in range(21, 27)), ports=[{"port": 8080}]),
    )
    balancing = rows(snapshot, "nat", "KUBE-SVC-L5EAUEZ74VZL5GSC")
    comment = "-m comment --comment default/kubia:"
    assert balancing[0] == f"{comment} -m statistic --mode random --probability 0.16667 -j KUBE-SEP-DHEI6HLVRKMGWFA5"
    assert [rule.split()[9] for rule in balancing[:-1]] == ["0.16667", "0.20000", "0.25000", "0.33333", "0.50000"]
    assert rows(snapshot, "nat", "KUBE-NODEPORTS") == (
        "-m comment --comment default/kubia: -m tcp -p tcp --dport 32681 -j KUBE-MARK-MASQ",
        "-m comment --comment default/kubia: -m tcp -p tcp --dport 32681 -j KUBE-SVC-L5EAUEZ74VZL5GSC",
    )


def test_a_classic_cluster_without_services_has_this_frame() -> None:
    text = render_payload(ProxyRules.build(classic(), "node1", "ipv4").ruleset)
    assert text.splitlines() == [
        "*filter",
        ":KUBE-SERVICES - [0:0]",
        ":KUBE-EXTERNAL-SERVICES - [0:0]",
        ":KUBE-FORWARD - [0:0]",
        ":KUBE-FIREWALL - [0:0]",
        "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules"'
        " -m mark --mark 0x00004000/0x00004000 -j ACCEPT",
        '-A KUBE-FORWARD -s 10.244.0.0/16 -m comment --comment "kubernetes forwarding conntrack pod source rule"'
        " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack pod destination rule" -d 10.244.0.0/16'
        " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        '-A KUBE-FIREWALL -m comment --comment "kubernetes firewall for dropping marked packets"'
        " -m mark --mark 0x00008000/0x00008000 -j DROP",
        "COMMIT",
        "*nat",
        ":KUBE-SERVICES - [0:0]",
        ":KUBE-NODEPORTS - [0:0]",
        ":KUBE-POSTROUTING - [0:0]",
        ":KUBE-MARK-MASQ - [0:0]",
        ":KUBE-MARK-DROP - [0:0]",
        f"-A KUBE-SERVICES {LAST} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT"'
        " -m mark --mark 0x00004000/0x00004000 -j MASQUERADE",
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x00004000/0x00004000",
        "-A KUBE-MARK-DROP -j MARK --set-xmark 0x00008000/0x00008000",
        "COMMIT",
    ]


def test_packets_go_where_they_go_today() -> None:
    snapshot = classic(*web(**NODE_PORT, externalIPs=["198.51.100.1"]))
    assert fate(send(snapshot, "10.244.1.7", VIP)) == {EP1: "sent", EP2: "sent"}
    assert fate(send(snapshot, POD1, VIP)) == {EP1: "sent, masqueraded", EP2: "sent"}
    for dst, port in ((VIP, 80), (NODE1, 30080), ("198.51.100.1", 80)):
        assert fate(send(snapshot, OUTSIDE, dst, port)) == {EP1: "sent, masqueraded", EP2: "sent, masqueraded"}
    assert fate(send(snapshot, "10.244.1.7", "198.51.100.1", bridged=True)) == {"": "sent, masqueraded"}
    assert fate(send(classic(service(**NODE_PORT)), OUTSIDE, NODE1, 30080)) == {"": "rejected"}


def test_classic_policy_local_keeps_outside_traffic_on_the_node() -> None:
    local: dict[str, Any] = {"type": "LoadBalancer", "ingress": [LB], "externalTrafficPolicy": "Local"}
    snapshot = classic(*web(**local))
    assert fate(send(snapshot, OUTSIDE, LB)) == {EP1: "sent"}
    assert fate(send(snapshot, "10.244.1.7", LB)) == {EP1: "sent", EP2: "sent"}
    assert (
        "Balancing rule 0 for default/web:http"
        in rows(snapshot, "nat", names.service_chain("default/web:http", "tcp", "KUBE-XLB-"))[3]
    )
    elsewhere = classic(*web(endpoint(POD2, "node2"), **local))
    marked = send(elsewhere, OUTSIDE, LB)
    assert fate(marked) == {"": "sent"} and marked[0].packet.mark == 0x8000


def test_classic_source_ranges_drop_all_other_sources() -> None:
    spec: dict[str, Any] = {"type": "LoadBalancer", "ingress": [LB], "loadBalancerSourceRanges": ["203.0.113.0/24"]}
    snapshot = classic(*web(**spec))
    assert fate(send(snapshot, OUTSIDE, LB)).keys() == {EP1, EP2}
    refused = send(snapshot, "203.0.114.1", LB)
    assert fate(refused) == {"": "sent, masqueraded"} and refused[0].packet.mark & 0x8000
    assert fate(send(snapshot, NODE1, LB)) == {"": "dropped"}


def test_terminating_endpoints_get_nothing() -> None:
    draining = endpoint(POD1, "node1", ready=False, serving=True, terminating=True)
    assert fate(send(classic(*web(draining)), "10.244.1.7", VIP)) == {"": "rejected"}
