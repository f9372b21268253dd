"""Faults of what kube-proxy writes for a Service: its chains, their order, their chances, old connections."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from k8snetlab.api.core import Service
from k8snetlab.dataplane.families import network, pick
from k8snetlab.dataplane.holds import Hold
from k8snetlab.dataplane.names import service_chain
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.faults.fault import Class, Command, Damage, Fault, Said, Seen, Symptom
from k8snetlab.faults.scene import LacksError, Scene, named, tcp_port
from k8snetlab.faults.typed import chain, inserted, iptables, to_service

_SEP = re.compile(r"-j (KUBE-SEP-\w+)")


def _chain(service: Service) -> str:
    """Of its first TCP port."""
    port = tcp_port(service)
    name = f"{service.namespace}/{service.name}" + (f":{port.name}" if port.name else "")
    return service_chain(name, port.protocol)


def _rules(scene: Scene, name: str) -> tuple[str, ...]:
    found = scene.proxy.chains.get(ChainKey("nat", name))
    if found is None:
        raise LacksError(f"{scene.node.name} has no chain {name}", "another layout of rules, or another proxy")
    return tuple(found)


def _endpoints(scene: Scene, name: str) -> list[tuple[int, str]]:
    """The places of the jumps to endpoints' chains, from 1, and these chains."""
    found = ((number, _SEP.search(rule)) for number, rule in enumerate(_rules(scene, name), 1))
    return [(number, match[1]) for number, match in found if match]


def _emptied(scene: Scene) -> Damage:
    service = scene.service()
    name = _chain(service)
    _rules(scene, name)
    gone = iptables(scene, scene.netns, f"-t nat -F {name}")
    return Damage(f"nat {name}", to_service(scene, service), (gone,), holds=(chain(scene.netns, "nat", name),))


def _probability(scene: Scene) -> Damage:
    """The first of several gets nearly all."""
    service = scene.service(pods=2)
    name = _chain(service)
    number, target = _endpoints(scene, name)[0]
    rule = f"-m statistic --mode random --probability 0.99 -j {target}"
    wrong = iptables(scene, scene.netns, f"-t nat -R {name} {number} {rule}")
    seen = to_service(scene, service, "uneven")
    return Damage(f"nat {name} {number}", seen, (wrong,), holds=(chain(scene.netns, "nat", name),))


def _order(scene: Scene) -> Damage:
    """The rule without a chance stands first: nothing reaches the others."""
    service = scene.service(pods=2)
    name = _chain(service)
    places, netns = _endpoints(scene, name), scene.netns
    first, last = places[0][0], places[-1][0]
    rule = shlex.split(_rules(scene, name)[last - 1])
    tool = (f"iptables-{scene.variant}", "-w", "-t", "nat")
    does = (
        Command(netns, (*tool, "-D", name, str(last))),
        Command(netns, (*tool, "-I", name, str(first), *rule)),
    )
    return Damage(f"nat {name}", to_service(scene, service, "uneven"), does, holds=(chain(netns, "nat", name),))


def _endpoint(scene: Scene) -> Damage:
    service = scene.service()
    name = _endpoints(scene, _chain(service))[0][1]
    own = _rules(scene, name)
    number, found = next(
        (n, m) for n, rule in enumerate(own, 1) if (m := re.search(r"--to-destination ([\d.]+):(\d+)", rule))
    )
    nobody = f"{network(scene.subnet)[-6]}:{found[2]}"
    wrong = iptables(scene, scene.netns, f"-t nat -R {name} {number} -p tcp -j DNAT --to-destination {nobody}")
    what: Symptom = "fails" if len(scene.ready(service)) == 1 else "sometimes"
    seen = to_service(scene, service, what)
    return Damage(f"nat {name} {number}", seen, (wrong,), holds=(chain(scene.netns, "nat", name),))


def _unhooked(scene: Scene) -> Damage:
    hook = next(h for h in scene.proxy.hooks if (h.table, h.chain) == ("nat", "PREROUTING"))
    gone = Command(
        scene.netns, (f"iptables-{scene.variant}", "-w", "-t", "nat", "-D", "PREROUTING", *shlex.split(hook.rule))
    )
    holds = (Hold(scene.netns, "jump", "nat PREROUTING"),)
    return Damage("nat PREROUTING -> KUBE-SERVICES", to_service(scene, scene.service()), (gone,), holds=holds)


def _accepted(scene: Scene) -> Damage:
    services = next(part for part in scene.snapshot.lab.spec.serviceCIDR.split(",") if "." in part)
    do, undo = inserted(scene, scene.netns, "nat", "PREROUTING", f"-d {services} -j ACCEPT")
    return Damage("nat PREROUTING 1", to_service(scene, scene.service()), (do,), (undo,))


def _hijacked(scene: Scene) -> Damage:
    service = scene.service()
    rule = f"-d {service.clusterIPs[0]} -p tcp -j DNAT --to-destination {pick(scene.client.ips, 'ipv4')}:9"
    do, undo = inserted(scene, scene.netns, "nat", "PREROUTING", rule)
    return Damage("nat PREROUTING 1", to_service(scene, service), (do,), (undo,))


def _stale_udp(scene: Scene) -> Damage:
    """As a client that goes on sending from one port, while the endpoint it was given has gone."""
    service = scene.udp
    port = next(p for p in service.spec.ports if p.protocol == "UDP")
    client, address = pick(scene.client.ips, "ipv4"), service.clusterIPs[0]
    gone = str(network(scene.subnet)[-6])
    words = (
        f"-I -p udp -s {client} -d {address} --sport 5000 --dport {port.port} -r {gone} -q {client}"
        f" --reply-port-src {port.targetPort or port.port} --reply-port-dst 5000 -t 600 -u SEEN_REPLY"
    )
    find = f"-D -p udp -s {client} -d {address} --orig-port-dst {port.port} --orig-port-src 5000"
    do, undo = Command(scene.netns, ("conntrack", *words.split())), Command(scene.netns, ("conntrack", *find.split()))
    seen = Seen(named(scene.client), f"{named(service)}:{port.port}", "UDP", "late")
    return Damage(f"udp {address}:{port.port}", seen, (do,), (undo,))


def faults() -> Iterator[Fault]:
    group: Class = "services"
    yield Fault(
        name="service-chain-empty",
        title="the chain of a Service is empty",
        level=1,
        group=group,
        touches="a chain KUBE-SVC",
        symptom="a Service fails from this node",
        said=Said("chain", "empty"),
        make=_emptied,
    )
    yield Fault(
        name="service-probability",
        title="the first endpoint of a Service gets nearly all",
        level=2,
        group=group,
        touches="a chain KUBE-SVC",
        symptom="one pod of a Service has all the work",
        said=Said("rule", "wrong"),
        make=_probability,
    )
    yield Fault(
        name="service-order",
        title="the rules of a Service stand in the wrong order",
        level=3,
        group=group,
        touches="a chain KUBE-SVC",
        symptom="one pod of a Service has all the work",
        said=Said("rule", "order"),
        make=_order,
    )
    yield Fault(
        name="endpoint-wrong",
        title="an endpoint's chain leads to an address that nobody has",
        level=2,
        group=group,
        touches="a chain KUBE-SEP",
        symptom="a Service fails now and then",
        said=Said("rule", "wrong"),
        make=_endpoint,
    )
    yield Fault(
        name="services-unhooked",
        title="no packet from a pod is led to KUBE-SERVICES",
        level=2,
        group=group,
        touches="nat PREROUTING",
        symptom="no pod of this node reaches any Service",
        said=Said("hook", "missing"),
        make=_unhooked,
    )
    yield Fault(
        name="services-accepted",
        title="a rule ahead of KUBE-SERVICES accepts what is for a Service",
        level=2,
        group=group,
        touches="nat PREROUTING",
        symptom="no pod of this node reaches any Service",
        said=Said("rule", "foreign"),
        make=_accepted,
    )
    yield Fault(
        name="service-hijacked",
        title="a rule ahead of KUBE-SERVICES leads a Service's packets elsewhere",
        level=2,
        group=group,
        touches="nat PREROUTING",
        symptom="a Service fails from this node",
        said=Said("rule", "foreign"),
        make=_hijacked,
    )
    yield Fault(
        name="udp-stale",
        title="conntrack leads a client's datagrams to an endpoint that has gone",
        level=3,
        group=group,
        touches="conntrack",
        symptom="one client of a UDP Service gets no answers",
        said=Said("conntrack", "stale"),
        make=_stale_udp,
    )
