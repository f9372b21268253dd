"""portmap's rules, as its own tests have them, and what is made of them."""

from __future__ import annotations

import pytest

from k8snetlab.api.core import (
    Container,
    ContainerPort,
    Node,
    NodeSpec,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
)
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey, Family
from k8snetlab.iptables.matching import Host, Packet
from k8snetlab.iptables.syntax import canonical, parse
from k8snetlab.render import hostports
from k8snetlab.trace.owners import Owners
from k8snetlab.trace.tracer import trace

NODE = Node(metadata=ObjectMeta(name="node1"), spec=NodeSpec(podCIDRs=("10.0.0.0/24", "2001:db8::/64")))
PORTS = (
    ContainerPort(hostPort=8080, containerPort=80),
    ContainerPort(hostPort=8081, containerPort=80),
    ContainerPort(hostPort=8080, containerPort=81, protocol="UDP"),
    ContainerPort(hostPort=8083, containerPort=83, hostIP="192.168.0.2"),
    ContainerPort(hostPort=8084, containerPort=84, hostIP="0.0.0.0"),
    ContainerPort(hostPort=8085, containerPort=85, hostIP="2001:db8:a::1"),
    ContainerPort(hostPort=8086, containerPort=86, hostIP="::"),
)


def pod(ports: tuple[ContainerPort, ...] = PORTS, **spec: object) -> Pod:
    return Pod(
        metadata=ObjectMeta(name="web", uid="u"),
        spec=PodSpec(containers=(Container(name="c", ports=ports),), nodeName="node1", **spec),  # type: ignore[arg-type]
        status=PodStatus(podIPs=(PodIP(ip="10.0.0.2"), PodIP(ip="2001:db8::2"))),
    )


def own(family: Family, one: Pod) -> tuple[str, ...]:
    return hostports.render(NODE, [one], family).chains[ChainKey("nat", hostports.chain_of(one))]


def test_a_chain_is_named_as_portmap_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The value is that of portmap_iptables_test.go."""
    monkeypatch.setattr(hostports, "NETWORK", "test")
    identity = (
        "icee6giejonei6sohng6ahngee7laquohquee9shiGo7fohferakah3Feiyoolu2pei7ciPhoh7shaoX6vai3vuf0ahfaeng8yohb9ceu0daez5"
        "hashee8ooYai5wa3y"
    )
    monkeypatch.setattr(Pod, "sandbox_id", identity)
    assert hostports.chain_of(pod()) == "CNI-DN-67e92b96e692a494b6b85"


def test_translations_are_portmaps() -> None:
    ports = [(p, 80 if p < 8082 else p - 8000, "") for p in (8080, 8081)]
    expected = []
    for port, to, host in [*ports, (8083, 83, " -d 192.168.0.2"), (8084, 84, "")]:
        expected += [
            f"-p tcp --dport {port}{host} -s 10.0.0.2/24 -j CNI-HOSTPORT-SETMARK",
            f"-p tcp --dport {port}{host} -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK",
            f"-p tcp --dport {port}{host} -j DNAT --to-destination 10.0.0.2:{to}",
        ]
    rules = own("ipv4", pod())
    assert [rule for rule in rules if "udp" not in rule] == expected
    assert rules[6:9] == (
        "-p udp --dport 8080 -s 10.0.0.2/24 -j CNI-HOSTPORT-SETMARK",
        "-p udp --dport 8080 -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK",
        "-p udp --dport 8080 -j DNAT --to-destination 10.0.0.2:81",
    )
    six = own("ipv6", pod())
    assert six[:2] == (
        "-p tcp --dport 8080 -s 2001:db8::2/64 -j CNI-HOSTPORT-SETMARK",
        "-p tcp --dport 8080 -j DNAT --to-destination [2001:db8::2]:80",
    )
    assert six[-4:] == (
        "-p tcp --dport 8085 -d 2001:db8:a::1 -s 2001:db8::2/64 -j CNI-HOSTPORT-SETMARK",
        "-p tcp --dport 8085 -d 2001:db8:a::1 -j DNAT --to-destination [2001:db8::2]:85",
        "-p tcp --dport 8086 -s 2001:db8::2/64 -j CNI-HOSTPORT-SETMARK",
        "-p tcp --dport 8086 -j DNAT --to-destination [2001:db8::2]:86",
    )


def test_what_leads_to_a_pod_lists_its_ports_by_protocol_fifteen_a_rule() -> None:
    one = pod()
    comment = f'-m comment --comment "dnat name: \\"cbr0\\" id: \\"{one.sandbox_id}\\""'
    assert hostports.render(NODE, [one], "ipv4").chains[hostports.DNAT] == (
        f"{comment} -m multiport -p tcp --destination-ports 8080,8081,8083,8084,8085,8086 -j {hostports.chain_of(one)}",
        f"{comment} -m multiport -p udp --destination-ports 8080 -j {hostports.chain_of(one)}",
    )
    many = pod(tuple(ContainerPort(hostPort=9000 + n, containerPort=80) for n in range(31)))
    entries = hostports.render(NODE, [many], "ipv4").chains[hostports.DNAT]
    assert [entry.count(",") for entry in entries] == [14, 14, 0]


@pytest.mark.parametrize("one", [pod(()), pod(hostNetwork=True), pod((ContainerPort(containerPort=80),))])
def test_without_a_host_port_nothing_stands_and_what_is_left_is_stale(one: Pod) -> None:
    rules = hostports.render(NODE, [one], "ipv4")
    assert (rules.chains, rules.hooks) == ({}, ())
    assert rules.owns("CNI-DN-67e92b96e692a494b6b85") and rules.owns("CNI-HOSTPORT-DNAT")
    assert not rules.owns("CNI-FORWARD")


def test_a_sidecars_port_counts() -> None:
    side = Container(name="s", restartPolicy="Always", ports=(ContainerPort(hostPort=1, containerPort=2),))
    assert [p.hostPort for p in hostports.ports_of(pod((), initContainers=(side,)))] == [1]


def test_iptables_save_writes_the_same_rule_in_other_words() -> None:
    one = pod()
    saved = (
        f'-p udp -m comment --comment "dnat name: \\"cbr0\\" id: \\"{one.sandbox_id}\\"" -m multiport --dports 8080'
        f" -j {hostports.chain_of(one)}"
    )
    assert canonical(saved) == canonical(hostports.render(NODE, [one], "ipv4").chains[hostports.DNAT][-1])


@pytest.mark.parametrize(
    ("source", "port", "marked"), [("203.0.113.1", 8080, False), ("10.0.0.9", 8080, True), ("127.0.0.1", 8081, True)]
)
def test_a_packet_goes_to_the_pod_and_is_masqueraded_where_the_answer_would_go_astray(
    source: str, port: int, marked: bool
) -> None:
    rules = hostports.render(NODE, [pod()], "ipv4")
    chains = {**rules.chains}
    for hook in rules.hooks:
        chains[ChainKey(hook.table, hook.chain)] = (hook.rule,)
    local = source == "127.0.0.1"
    packet = Packet(source, "192.168.0.1", dport=port, in_interface="" if local else "eth0")
    outcomes = trace(chains, packet, Host(("192.168.0.1",)))
    (outcome,) = outcomes
    assert outcome.endpoint == "10.0.0.2:80"
    assert outcome.masqueraded == marked


def test_the_owner_of_a_rule_is_the_pod() -> None:
    one = pod()
    owners = Owners(Snapshot.of([one, NODE]))
    comment = parse(hostports.render(NODE, [one], "ipv4").chains[hostports.DNAT][0]).comment
    assert owners.of_rule(["PREROUTING", "CNI-HOSTPORT-DNAT", hostports.chain_of(one)], [comment]) == "Pod default/web"
    assert owners.of_rule(["POSTROUTING", "CNI-HOSTPORT-MASQ"], []) == "portmap"


def test_stale_udp_is_what_leads_to_another_pod() -> None:
    assert hostports.serving_udp([pod()], "ipv6") == {("", 8080): frozenset({"[2001:db8::2]:81"})}
    assert hostports.serving_udp([pod(hostNetwork=True)], "ipv4") == {}
