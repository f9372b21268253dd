"""The text of kube-proxy's rules, feature by feature."""

from __future__ import annotations

from typing import Any

import pytest

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.rules import ChainKey, Hook, restore_payload
from k8snetlab.errors import InputError
from k8snetlab.iptables.syntax import parse
from k8snetlab.render.proxy import ProxyRules, render_payload
from k8snetlab.testing.services import (
    NODE1,
    POD1,
    POD1_V6,
    POD2,
    POD2_V6,
    VIP,
    VIP6,
    chains,
    cluster,
    endpoint,
    proxy,
    rows,
    service,
    slice_of,
    web,
)

SVC, SVL, EXT, FW = (names.service_chain("default/web:http", "tcp", f"KUBE-{p}-") for p in ("SVC", "SVL", "EXT", "FW"))
TO = f"-m tcp -p tcp -d {VIP} --dport 80"
LAST = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'


def sep(ip: str, port: int = 8080, name: str = "default/web:http", protocol: str = "tcp") -> str:
    return names.endpoint_chain(name, protocol, f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}")


def own(snapshot: Snapshot, chain: str, **where: Any) -> tuple[str, ...]:
    return rows(snapshot, "nat", chain, **where)


def service_chains(snapshot: Snapshot, **where: Any) -> set[str]:
    prefixes = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-SEP-", "KUBE-FW-")
    return {key.chain for key in chains(snapshot, **where) if key.chain.startswith(prefixes)}


# --- names ----------------------------------------------------------------------------------------------------------


def test_names_of_the_reference_clusters() -> None:
    assert names.service_chain("default/data-product:data-product", "TCP") == "KUBE-SVC-45TXGSBX3LGQQRTB"
    assert (
        names.endpoint_chain("default/data-product:data-product", "tcp", "172.30.76.3:50051")
        == "KUBE-SEP-DGXT5Z3WOYVLBGRM"
    )
    assert names.service_chain("default/kubia", "tcp") == "KUBE-SVC-XCCRWSFD2BRL7CRI"


def test_an_unnamed_port_has_no_colon() -> None:
    snapshot = cluster(service(ports=[{"port": 80}]), slice_of("web", endpoint(POD1), ports=[{"port": 8080}]))
    assert f'-m comment --comment "default/web cluster IP" {TO}' in rows(snapshot, "nat", "KUBE-SERVICES")[0]


# --- protocols, ports, families -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_rules_match_the_protocol_of_the_port(protocol: str) -> None:
    port = {"name": "x", "port": 53, "protocol": protocol}
    snapshot = cluster(service(ports=[port]), slice_of("web", endpoint(POD1), ports=[port]))
    word, chain = protocol.lower(), names.endpoint_chain("default/web:x", protocol, f"{POD1}:53")
    assert own(snapshot, chain) == (
        f"-m comment --comment default/web:x -s {POD1} -j KUBE-MARK-MASQ",
        f"-m comment --comment default/web:x -m {word} -p {word} -j DNAT --to-destination {POD1}:53",
    )


def test_ports_are_matched_by_name_and_protocol() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns2", "port": 53}]
    held = [
        {"name": "http", "port": 8080},
        {"name": "dns", "port": 5353, "protocol": "UDP"},
        {"name": "dns2", "port": 5353, "protocol": "UDP"},
    ]
    snapshot = cluster(service(ports=ports), slice_of("web", endpoint(POD1), ports=held))
    dispatch, refused = rows(snapshot, "nat", "KUBE-SERVICES"), rows(snapshot, "filter", "KUBE-SERVICES")
    assert [r.split("-j ")[1][:9] for r in dispatch] == ["KUBE-SVC-", "KUBE-SVC-", "KUBE-NODE"]
    assert refused == (
        f'-m comment --comment "default/web:dns2 has no endpoints" -m tcp -p tcp -d {VIP} --dport 53 -j REJECT',
    )


def test_dual_stack_is_served_by_family() -> None:
    snapshot = cluster(
        service(clusterIPs=[VIP, VIP6], ipFamilies=["IPv4", "IPv6"], externalIPs=["198.51.100.1", "2001:db8:1::1"]),
        slice_of("web", endpoint(POD1, "node1"), name="four"),
        slice_of("web", endpoint(POD1_V6, "node1"), endpoint(POD2_V6, "node2"), name="six", addressType="IPv6"),
    )
    four, six = chains(snapshot), chains(snapshot, family="ipv6")
    assert len(four[ChainKey("nat", SVC)]) == 2 and len(six[ChainKey("nat", SVC)]) == 3
    assert six[ChainKey("nat", SVC)][0].endswith("! -s fd00:10:244::/56 -j KUBE-MARK-MASQ")
    assert six[ChainKey("nat", sep(POD1_V6))][1].endswith(f"-j DNAT --to-destination [{POD1_V6}]:8080")
    assert six[ChainKey("nat", "KUBE-SERVICES")] == (
        f'-m comment --comment "default/web:http cluster IP" -m tcp -p tcp -d {VIP6} --dport 80 -j {SVC}',
        f'-m comment --comment "default/web:http external IP" -m tcp -p tcp -d 2001:db8:1::1 --dport 80 -j {EXT}',
        f"{LAST} -m addrtype --dst-type LOCAL ! -d ::1/128 -j KUBE-NODEPORTS",
    )
    assert six[ChainKey("filter", "KUBE-FIREWALL")] == ()
    assert ":KUBE-FIREWALL" not in render_payload(ProxyRules.build(snapshot, "node1", "ipv6").ruleset)


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIPs": ["None"]},
        {"clusterIPs": []},
        {"clusterIPs": [VIP6]},
        {"type": "ExternalName", "externalName": "db.example", "clusterIPs": []},
    ],
    ids=["headless", "not allocated", "other family", "ExternalName"],
)
def test_services_without_rules(spec: dict[str, Any]) -> None:
    assert chains(cluster(*web(**spec))) == chains(cluster())


# --- endpoints ------------------------------------------------------------------------------------------------------


def test_endpoints_are_sorted_as_text_and_counted_once() -> None:
    snapshot = cluster(
        service(),
        slice_of("web", endpoint("10.244.1.9"), endpoint("10.244.1.10"), name="b"),
        slice_of("web", endpoint("10.244.1.100"), endpoint("10.244.1.9"), name="a"),
    )
    targets = [rule.split("-> ")[1].split('"')[0] for rule in own(snapshot, SVC)[1:]]
    assert targets == ["10.244.1.100:8080", "10.244.1.10:8080", "10.244.1.9:8080"]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ({"node": "node1"}, {"node": "node2"}, "node2"),
        ({"node": "node2"}, {"node": "node1"}, "node1"),
        ({"node": "node1"}, {"node": "node2", "terminating": True}, "node1"),
        ({"node": "node1", "terminating": True}, {"node": "node2"}, "node2"),
    ],
    ids=["later", "later is local", "later terminates", "earlier terminates"],
)
@pytest.mark.parametrize("slices", [1, 2])
def test_of_an_address_that_stands_twice_the_later_holds_that_does_not_terminate(
    first: dict[str, Any], second: dict[str, Any], kept: str, slices: int
) -> None:
    one, two = endpoint(POD1, **first), endpoint(POD1, **second)
    pieces = [slice_of("web", one, two)] if slices == 1 else [slice_of("web", one), slice_of("web", two, name="z")]
    snapshot = cluster(service(internalTrafficPolicy="Local"), *pieces)
    local = ChainKey("nat", SVL) in chains(snapshot, "node1")
    assert local == (kept == "node1")


def test_probabilities_rise_so_that_all_are_equal() -> None:
    endpoints = [endpoint(f"10.244.1.{i}") for i in range(1, 5)]
    chances = [rule.split("--probability ")[1].split()[0] for rule in own(cluster(*web(*endpoints)), SVC)[1:-1]]
    assert chances == ["0.2500000000", "0.3333333333", "0.5000000000"]


def test_slices_that_do_not_count() -> None:
    labels = {"kubernetes.io/service-name": "web"}
    snapshot = cluster(
        service(),
        slice_of("web", endpoint(POD1), ports=[{"name": "http"}], name="no-port"),
        slice_of("web", endpoint("fd00::1"), name="six", addressType="IPv6"),
        slice_of("web", endpoint("a.example"), name="fqdn", addressType="FQDN"),
        slice_of("other", endpoint(POD1), name="other"),
        slice_of(
            "web",
            endpoint(POD1),
            metadata={"name": "h", "namespace": "default", "labels": labels | {"service.kubernetes.io/headless": ""}},
        ),
    )
    assert "has no endpoints" in rows(snapshot, "filter", "KUBE-SERVICES")[0]


DRAINING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}


@pytest.mark.parametrize(
    ("endpoints", "used"),
    [
        ([endpoint(POD1, ready=True), endpoint(POD2, ready=False)], [POD1]),
        ([endpoint(POD1, **DRAINING), endpoint(POD2, ready=True)], [POD2]),
        ([endpoint(POD1, **DRAINING), endpoint(POD2, **GONE)], [POD1]),
        ([endpoint(POD1, ready=False, serving=True), endpoint(POD2, ready=False)], []),
        ([endpoint(POD1), endpoint(POD2)], [POD1, POD2]),
    ],
    ids=["ready only", "ready before terminating", "terminating that serve", "not ready", "unknown is ready"],
)  # fmt: skip
def test_the_conditions_of_endpoints_decide_which_are_used(endpoints: list[dict[str, Any]], used: list[str]) -> None:
    held = service_chains(cluster(*web(*endpoints)))
    assert {c for c in held if c.startswith("KUBE-SEP-")} == {sep(ip) for ip in used}
    assert bool(held) == bool(used)


@pytest.mark.parametrize(
    ("endpoints", "used"),
    [
        ([endpoint(POD1, zones="a"), endpoint(POD2, zones="b")], [POD1]),
        ([endpoint(POD1, zones="a b"), endpoint(POD2, zones="b")], [POD1]),
        ([endpoint(POD1, zones="c"), endpoint(POD2, zones="b")], [POD1, POD2]),
        ([endpoint(POD1, zones="a"), endpoint(POD2)], [POD1, POD2]),
        ([endpoint(POD1, zones="a"), endpoint(POD2, ready=False)], [POD1]),
        ([endpoint(POD1, zones="a", nodes="node2"), endpoint(POD2, zones="a", nodes="node1")], [POD2]),
        ([endpoint(POD1, zones="a", nodes="node2"), endpoint(POD2, zones="b", nodes="node3")], [POD1]),
    ],
    ids=["zone", "several zones", "none here", "one unhinted", "not ready unhinted", "node first", "node then zone"],
)  # fmt: skip
def test_topology_hints_of_all_endpoints_choose_those_of_the_zone(
    endpoints: list[dict[str, Any]], used: list[str]
) -> None:
    held = service_chains(cluster(*web(*endpoints)))
    assert {c for c in held if c.startswith("KUBE-SEP-")} == {sep(ip) for ip in used}


def test_large_clusters_have_no_endpoint_comments() -> None:
    many = [endpoint(f"10.244.{i // 250}.{i % 250 + 1}") for i in range(1000)]
    small, large = cluster(*web(*many)), cluster(*web(*many, endpoint("10.244.9.1", ready=False)))
    assert own(small, sep("10.244.1.1"))[0] == "-m comment --comment default/web:http -s 10.244.1.1 -j KUBE-MARK-MASQ"
    assert own(large, sep("10.244.1.1"))[0] == "-s 10.244.1.1 -j KUBE-MARK-MASQ"
    assert own(large, SVC)[0].startswith('-m comment --comment "default/web:http cluster IP"')
    assert own(large, SVC)[1].startswith("-m statistic --mode random --probability 0.0010000000 -j KUBE-SEP-")


# --- policies -------------------------------------------------------------------------------------------------------


def test_internal_policy_local() -> None:
    spec = {"internalTrafficPolicy": "Local"}
    snapshot = cluster(*web(**spec))
    assert rows(snapshot, "nat", "KUBE-SERVICES")[0].endswith(f"-j {SVL}")
    assert service_chains(snapshot) == {SVL, sep(POD1)}
    assert own(snapshot, SVL) == (
        f'-m comment --comment "default/web:http cluster IP" {TO} ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ',
        f'-m comment --comment "default/web:http -> {POD1}:8080" -j {sep(POD1)}',
    )
    elsewhere = cluster(*web(endpoint(POD2, "node2"), **spec))
    assert rows(elsewhere, "filter", "KUBE-SERVICES") == (
        f'-m comment --comment "default/web:http has no local endpoints" {TO} -j DROP',
    )
    assert service_chains(elsewhere) == set()


def test_external_policy_local() -> None:
    spec = {
        "type": "NodePort",
        "externalTrafficPolicy": "Local",
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
    }
    about = '-m comment --comment "{} traffic for default/web:http external destinations"'
    short_cut = (
        f"{about.format('pod')} -s 10.244.0.0/16 -j {SVC}",
        f"{about.format('masquerade LOCAL')} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ",
        f"{about.format('route LOCAL')} -m addrtype --src-type LOCAL -j {SVC}",
    )
    here = cluster(*web(**spec))
    assert own(here, EXT) == (*short_cut, f"-j {SVL}")
    assert service_chains(here) == {SVC, SVL, EXT, sep(POD1), sep(POD2)}
    elsewhere = cluster(*web(endpoint(POD2, "node2"), **spec))
    assert own(elsewhere, EXT) == short_cut
    assert service_chains(elsewhere) == {SVC, EXT, sep(POD2)}
    assert rows(elsewhere, "filter", "KUBE-EXTERNAL-SERVICES") == (
        '-m comment --comment "default/web:http has no local endpoints" -m addrtype --dst-type LOCAL'
        " -m tcp -p tcp --dport 30080 -j DROP",
    )


def test_local_policy_uses_terminating_endpoints_of_this_node_while_cluster_uses_ready_ones() -> None:
    ends = [endpoint(POD1, "node1", ready=False, serving=True, terminating=True), endpoint(POD2, "node2")]
    spec = {
        "type": "NodePort",
        "externalTrafficPolicy": "Local",
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
    }
    snapshot = cluster(*web(*ends, **spec))
    assert [r.split()[-1] for r in own(snapshot, SVC)[1:]] == [sep(POD2)]
    assert [r.split()[-1] for r in own(snapshot, SVL)] == [sep(POD1)]


def test_health_check_port_of_a_local_load_balancer() -> None:
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000}
    accept = '-m comment --comment "default/web:http health check node port" -m tcp -p tcp --dport 31000 -j ACCEPT'
    assert rows(cluster(*web(**spec)), "filter", "KUBE-NODEPORTS") == (accept,)
    assert rows(cluster(*web(endpoint(POD2, "node2"), **spec)), "filter", "KUBE-NODEPORTS") == (accept,)
    assert rows(cluster(*web(**spec | {"externalTrafficPolicy": "Cluster"})), "filter", "KUBE-NODEPORTS") == ()


# --- load balancers -------------------------------------------------------------------------------------------------


def test_load_balancer_ips_and_proxy_mode() -> None:
    ingress = ["198.51.100.9", {"ip": "198.51.100.10", "ipMode": "Proxy"}, {"hostname": "lb.example"}, "2001:db8::9"]
    snapshot = cluster(*web(type="LoadBalancer", ingress=ingress))
    assert rows(snapshot, "nat", "KUBE-SERVICES")[1:-1] == (
        f'-m comment --comment "default/web:http loadbalancer IP" -m tcp -p tcp -d 198.51.100.9 --dport 80 -j {EXT}',
    )


def test_source_ranges() -> None:
    ranges = [" 203.0.113.0/24 ", "192.168.0.9/24", "2001:db8::/32"]
    snapshot = cluster(*web(type="LoadBalancer", ingress=["198.51.100.9"], loadBalancerSourceRanges=ranges))
    assert rows(snapshot, "nat", "KUBE-SERVICES")[1].endswith(f"-d 198.51.100.9 --dport 80 -j {FW}")
    about = '-m comment --comment "default/web:http loadbalancer IP"'
    assert own(snapshot, FW) == (
        f"{about} -s 203.0.113.0/24 -j {EXT}",
        f"{about} -s 192.168.0.0/24 -j {EXT}",
        f"{about} -s 198.51.100.9 -j {EXT}",
        '-m comment --comment "other traffic to default/web:http will be dropped by KUBE-PROXY-FIREWALL"',
    )
    assert rows(snapshot, "filter", "KUBE-PROXY-FIREWALL") == (
        f'-m comment --comment "default/web:http traffic not accepted by {FW}" -m tcp -p tcp'
        " -d 198.51.100.9 --dport 80 -j DROP",
    )


@pytest.mark.parametrize("ranges", [["0.0.0.0/0"], ["203.0.113.0/24", "0.0.0.0/0"], ["0.0.0.0/0", "::/0"]])
def test_a_source_range_of_everybody_is_none(ranges: list[str]) -> None:
    spec = {"type": "LoadBalancer", "ingress": ["198.51.100.9"]}
    assert chains(cluster(*web(**spec, loadBalancerSourceRanges=ranges))) == chains(cluster(*web(**spec)))


def test_external_ips_are_served_as_the_gate_says() -> None:
    objects = web(externalIPs=["198.51.100.1"])
    assert any("198.51.100.1" in rule for rule in rows(cluster(*objects), "nat", "KUBE-SERVICES"))
    off = cluster(*objects, proxy(featureGates={"AllowServiceExternalIPs": False}))
    assert chains(off) == chains(cluster(*web()))
    assert chains(cluster(*objects, proxy(featureGates={"AllowServiceExternalIPs": True, "Other": False}))) == chains(
        cluster(*objects)
    )


def test_source_ranges_without_this_node_or_of_the_other_family() -> None:
    spec = {"type": "LoadBalancer", "ingress": ["198.51.100.9"]}
    away = cluster(*web(**spec, loadBalancerSourceRanges=["203.0.113.0/24"]))
    assert len(own(away, FW)) == 2
    six = cluster(*web(**spec, loadBalancerSourceRanges=["2001:db8::/32"]))
    assert FW not in service_chains(six) and rows(six, "filter", "KUBE-PROXY-FIREWALL") == ()


# --- the proxy's configuration --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({}, " ! -s 10.244.0.0/16"),
        ({"clusterCIDR": "fd00::/48, 10.1.2.3/8"}, " ! -s 10.0.0.0/8"),
        ({"detectLocalMode": "NodeCIDR"}, " ! -s 10.244.1.0/24"),
        ({"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "cni0"}}, " ! -i cni0"),
        ({"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "veth"}}, " ! -i veth+"),
        ({"iptables": {"masqueradeAll": True}}, ""),
        ({"clusterCIDR": "fd00::/48"}, None),
    ],
    ids=["lab", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix", "masqueradeAll", "other family"],
)
def test_detect_local_mode_decides_which_traffic_is_local(config: dict[str, Any], match: str | None) -> None:
    snapshot = cluster(*web(externalIPs=["198.51.100.1"], externalTrafficPolicy="Local"), proxy(**config))
    expected = f'-m comment --comment "default/web:http cluster IP" {TO}{match} -j KUBE-MARK-MASQ'
    assert (own(snapshot, SVC)[0] == expected) == (match is not None)
    pods = [rule for rule in own(snapshot, EXT) if "pod traffic" in rule]
    if match:
        assert pods[0].endswith(f"{match.removeprefix(' !')} -j {SVC}")
    assert bool(pods) == (match is not None)


def test_a_written_configuration_without_clustercidr_and_without_lab_detects_nothing() -> None:
    snapshot = Snapshot.of([*web(), proxy(detectLocalMode="ClusterCIDR")])
    assert "KUBE-MARK-MASQ" not in "".join(own(snapshot, SVC))


def test_masquerade_bit_is_the_mark_that_rules_set_and_clear() -> None:
    held = chains(cluster(proxy(iptables={"masqueradeBit": 4})))
    assert held[ChainKey("nat", "KUBE-MARK-MASQ")] == ("-j MARK --or-mark 0x00000010",)
    assert held[ChainKey("nat", "KUBE-POSTROUTING")][:2] == (
        "-m mark ! --mark 0x00000010/0x00000010 -j RETURN",
        "-j MARK --xor-mark 0x00000010",
    )
    assert "--mark 0x00000010/0x00000010 -j ACCEPT" in held[ChainKey("filter", "KUBE-FORWARD")][1]


def test_tcp_be_liberal_leaves_invalid_packets() -> None:
    assert len(rows(cluster(), "filter", "KUBE-FORWARD")) == 3
    liberal = rows(cluster(proxy(conntrack={"tcpBeLiberal": True})), "filter", "KUBE-FORWARD")
    assert len(liberal) == 2 and "INVALID" not in liberal[0]


@pytest.mark.parametrize(
    ("config", "destinations", "martians"),
    [
        ({}, ["-m addrtype --dst-type LOCAL"], 1),
        ({"iptables": {"localhostNodePorts": False}}, ["-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8"], 0),
        ({"nodePortAddresses": ["192.168.0.0/24"]}, [f"-d {NODE1}"], 0),
        ({"nodePortAddresses": ["192.168.0.0/24", "127.0.0.0/8"]}, [f"-d {NODE1}", "-d 127.0.0.1"], 1),
        ({"nodePortAddresses": ["127.0.0.0/8"], "iptables": {"localhostNodePorts": False}}, [], 0),
        ({"nodePortAddresses": ["192.168.0.0/24", "0.0.0.0/0"]}, ["-m addrtype --dst-type LOCAL"], 1),
        ({"nodePortAddresses": ["2001:db8::/32"]}, ["-m addrtype --dst-type LOCAL"], 1),
        ({"nodePortAddresses": ["10.244.0.0/16"]}, ["-d 10.244.1.1", "-d 10.244.1.0"], 0),
        ({"nodePortAddresses": ["primary"]}, [f"-d {NODE1}"], 0),
    ],
    ids=["all", "no localhost", "nodes", "both", "localhost off", "zero", "other family", "pods", "primary"],
)  # fmt: skip
def test_node_port_addresses(config: dict[str, Any], destinations: list[str], martians: int) -> None:
    snapshot = cluster(proxy(**config))
    assert rows(snapshot, "nat", "KUBE-SERVICES") == tuple(f"{LAST} {d} -j KUBE-NODEPORTS" for d in destinations)
    assert len(rows(snapshot, "filter", "KUBE-FIREWALL")) == martians


def test_session_affinity_without_a_timeout_lasts_three_hours() -> None:
    assert "--rcheck --seconds 10800 --reap" in own(cluster(*web(sessionAffinity="ClientIP")), SVC)[1]


# --- the frame ------------------------------------------------------------------------------------------------------


def test_jumps_from_built_in_chains_are_kube_proxys_in_its_order() -> None:
    ruleset = ProxyRules.build(cluster(), "node1", "ipv4").ruleset
    external = '-m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES'
    assert ruleset.hooks[:3] == (
        Hook("filter", "INPUT", f"-m conntrack --ctstate NEW {external}"),
        Hook("filter", "FORWARD", f"-m conntrack --ctstate NEW {external}"),
        Hook("filter", "INPUT", '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS'),
    )
    jumps = [f"{h.table} {h.chain} {h.rule.split()[-1]}" for h in ruleset.hooks]
    assert sorted(jumps) == [
        "filter FORWARD KUBE-EXTERNAL-SERVICES",
        "filter FORWARD KUBE-FORWARD",
        "filter FORWARD KUBE-PROXY-FIREWALL",
        "filter FORWARD KUBE-SERVICES",
        "filter INPUT KUBE-EXTERNAL-SERVICES",
        "filter INPUT KUBE-FIREWALL",
        "filter INPUT KUBE-NODEPORTS",
        "filter INPUT KUBE-PROXY-FIREWALL",
        "filter OUTPUT KUBE-FIREWALL",
        "filter OUTPUT KUBE-PROXY-FIREWALL",
        "filter OUTPUT KUBE-SERVICES",
        "nat OUTPUT KUBE-SERVICES",
        "nat POSTROUTING KUBE-POSTROUTING",
        "nat PREROUTING KUBE-SERVICES",
    ]
    assert all(ChainKey(h.table, h.rule.split()[-1]) in ruleset.chains for h in ruleset.hooks)
    assert all(h.prepend for h in ruleset.hooks)


def test_canaries_are_chains_of_every_table_but_not_of_the_payload() -> None:
    ruleset = ProxyRules.build(cluster(), "node1", "ipv4").ruleset
    assert {t for t, c in ruleset.chains if c == "KUBE-PROXY-CANARY"} == {"mangle", "nat", "filter"}
    assert "CANARY" not in render_payload(ruleset)


def test_what_is_written_first_is_what_others_jump_to() -> None:
    spec = {
        "type": "LoadBalancer",
        "ingress": ["198.51.100.9"],
        "loadBalancerSourceRanges": ["1.2.3.0/24"],
        "externalTrafficPolicy": "Local",
    }
    everything = ProxyRules.build(cluster(*web(**spec)), "node1", "ipv4").full_sync()
    known: set[ChainKey] = set()
    for key, rules in everything.write.items():
        known.add(key)
        for rule in rules:
            target = rule.split("-j ")[-1].split()[0] if "-j " in rule else ""
            assert not target.startswith("KUBE-") or ChainKey(key.table, target) in known, (key, rule)
    assert len(everything.hooks) == 14


# --- hostile names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ['a" -j ACCEPT', "a'b", "a b", "a\\", 'x\\" y'])
def test_no_name_leaves_its_word(name: str) -> None:
    port = {"name": name, "port": 80}
    snapshot = cluster(service(ports=[port]), slice_of("web", endpoint(POD1), ports=[port | {"port": 8080}]))
    rule = parse(rows(snapshot, "nat", "KUBE-SERVICES")[0])
    assert rule.comment == f"default/web:{name} cluster IP"
    assert rule.target is not None and rule.target.name.startswith("KUBE-SVC-")


def test_an_endpoint_that_is_no_address_gets_no_rule() -> None:
    hostile = endpoint("10.244.1.1 -j ACCEPT")
    assert chains(cluster(*web(hostile, endpoint(POD1)))) == chains(cluster(*web(endpoint(POD1))))


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"clusterCIDR": "10.244.0.0/33"}, "10.244.0.0/33"),
        ({"nodePortAddresses": ["eth0"]}, "eth0"),
        ({"bindAddress": "here"}, "here"),
        ({"detectLocalMode": "BridgeInterface"}, "bridgeInterface is empty"),
        ({"detectLocalMode": "InterfaceNamePrefix"}, "interfaceNamePrefix is empty"),
    ],
)
def test_a_configuration_without_sense_is_refused(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=f"KubeProxyConfiguration.*{problem}"):
        chains(cluster(proxy(**config)))


def test_a_line_break_in_a_name_is_refused() -> None:
    port = {"name": "a\n-A INPUT -j ACCEPT", "port": 80}
    with pytest.raises(InputError, match="cannot stand in an iptables rule"):
        restore_payload(chains(cluster(service(ports=[port]))))
