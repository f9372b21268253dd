"""The rules of one Service on one node: its own chains, and its rows in the chains that all Services share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network

import msgspec

from k8snetlab.api.core import Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.dataplane.names import (
    KUBE_EXT,
    KUBE_EXTERNAL_SERVICES,
    KUBE_FW,
    KUBE_MARK_MASQ,
    KUBE_NODEPORTS,
    KUBE_PROXY_FIREWALL,
    KUBE_SERVICES,
    KUBE_SVC,
    KUBE_SVL,
)
from k8snetlab.dataplane.rules import ChainKey, Rules, quote
from k8snetlab.render.proxy.endpoints import Choice, Endpoint, choose, endpoints_of, texts_of
from k8snetlab.render.proxy.ports import Port, ports_of
from k8snetlab.render.proxy.settings import LOCALHOST_ACCEPTED, Settings

DISPATCH = ChainKey("nat", KUBE_SERVICES)
NODE_PORTS = ChainKey("nat", KUBE_NODEPORTS)
REFUSE_CLUSTER = ChainKey("filter", KUBE_SERVICES)
REFUSE_EXTERNAL = ChainKey("filter", KUBE_EXTERNAL_SERVICES)
HEALTH_CHECKS = ChainKey("filter", KUBE_NODEPORTS)
FIREWALL = ChainKey("filter", KUBE_PROXY_FIREWALL)
SHARED_CHAINS = (NODE_PORTS, DISPATCH, REFUSE_CLUSTER, REFUSE_EXTERNAL, HEALTH_CHECKS, FIREWALL)
"""In the order in which they can be written: KUBE-SERVICES jumps to KUBE-NODEPORTS."""

MASQUERADE = f"-j {KUBE_MARK_MASQ}"


Slices = tuple[EndpointSlice, ...]


class ServiceRules(msgspec.Struct, frozen=True, weakref=True, eq=False):
    """The rules that `service` with its `slices` comes to.

    `chains` stand in the order in which they can be written: a rule jumps only to chains before its own.

    `rows` are what this Service adds to each of `SHARED_CHAINS`. `endpoints` counts all its endpoints, usable or not.
    `everywhere` tells that these rules are the same on every node that is configured alike.
    """

    service: Service
    slices: Slices
    chains: Mapping[ChainKey, Rules]
    rows: Mapping[ChainKey, Rules]
    endpoints: int
    everywhere: bool


class Draft:
    """Rules collected so far, chain by chain."""

    def __init__(self) -> None:
        self.chains: dict[ChainKey, Rules] = {}
        self.rows: dict[ChainKey, list[str]] = {}

    def row(self, chain: ChainKey, rule: str) -> None:
        self.rows.setdefault(chain, []).append(rule)

    def chain(self, name: str, rules: Iterable[str]) -> None:
        self.chains[ChainKey("nat", name)] = tuple(rules)


def render_service(service: Service, slices: Slices, settings: Settings, brief: bool) -> ServiceRules:
    """The rules of `service` with the endpoints in `slices`.

    `brief` leaves out the comments of endpoints, as kube-proxy does in large clusters.
    """
    draft = Draft()
    count = 0
    everywhere = True
    for port in ports_of(service, settings.family, external_ips=settings.external_ips):
        endpoints = endpoints_of(port, slices, settings)
        count += len(endpoints)
        _PortRules(port, choose(port, endpoints, settings), settings, brief, draft).render()
        everywhere = everywhere and not _depends_on_node(port, endpoints)
    rows = {chain: tuple(rules) for chain, rules in draft.rows.items()}
    return ServiceRules(service, slices, draft.chains, rows, count, everywhere)


def number(service: Service, slices: Slices, settings: Settings) -> int:
    """How many endpoints a Service has, usable or not."""
    ports = ports_of(service, settings.family, external_ips=settings.external_ips)
    return sum(len(texts_of(port, slices, settings)) for port in ports)


def _depends_on_node(port: Port, endpoints: tuple[Endpoint, ...]) -> bool:
    hinted = any(e.zone_hints or e.node_hints for e in endpoints)
    return port.uses_local or bool(port.source_ranges) or hinted


class _PortRules:
    """The rules of one Service port. Source: kube-proxy pkg/proxy/iptables, syncProxyRules."""

    def __init__(self, port: Port, choice: Choice, settings: Settings, brief: bool, draft: Draft) -> None:
        self.port, self.choice, self.settings, self.brief, self.draft = port, choice, settings, brief, draft
        self.cluster_chain = port.chain(KUBE_SVC)
        self.local_chain = port.chain(KUBE_SVL) if port.uses_local else ""
        self.external_chain = port.chain(KUBE_EXT) if port.external else ""
        self.firewall_chain = port.chain(KUBE_FW) if self.firewalled else ""
        self.proto = f"-m {port.protocol} -p {port.protocol}"
        self.internal = choice.any and (not port.internal_local or bool(choice.local))
        self.outside = choice.any and (not port.external_local or bool(choice.local))
        self.endpoint_chains = port.endpoint_chains(e.text for e in choice.reachable)

    @property
    def firewalled(self) -> bool:
        return self.choice.any and bool(self.port.load_balancer_ips and self.port.source_ranges)

    def render(self) -> None:
        self._cluster_ip()
        self._external_ips()
        self._load_balancer_ips()
        self._node_port()
        self._health_check()
        if self.choice.any:
            self._endpoint_chains()
            self._balancing_chains()
            if self.port.external:
                self._external_chain()
            if self.firewalled:
                self._firewall_chain()

    def _comment(self, text: str) -> str:
        return about(f"{self.port.name} {text}" if text else self.port.name)

    def _to(self, address: str) -> str:
        return f"{self.proto} -d {address} --dport {self.port.port}"

    @property
    def _refusal(self) -> tuple[str, str]:
        """Comment and target for traffic that no endpoint can take."""
        if self.choice.any:
            return self._comment("has no local endpoints"), "-j DROP"
        return self._comment("has no endpoints"), "-j REJECT"

    # --- rows of the shared chains ----------------------------------------------------------------------------------

    def _cluster_ip(self) -> None:
        to = self._to(self.port.cluster_ip)
        if self.internal:
            target = self.local_chain if self.port.internal_local else self.cluster_chain
            self.draft.row(DISPATCH, f"{self._comment('cluster IP')} {to} -j {target}")
        else:
            comment, target = self._refusal
            self.draft.row(REFUSE_CLUSTER, f"{comment} {to} {target}")

    def _external_ips(self) -> None:
        for address in self.port.external_ips:
            if self.choice.any:
                rule = f"{self._comment('external IP')} {self._to(address)} -j {self.external_chain}"
                self.draft.row(DISPATCH, rule)
            self._refuse_external(address)

    def _load_balancer_ips(self) -> None:
        for address in self.port.load_balancer_ips:
            if self.choice.any:
                target = self.firewall_chain or self.external_chain
                self.draft.row(DISPATCH, f"{self._comment('loadbalancer IP')} {self._to(address)} -j {target}")
            if self.firewalled:
                comment = self._comment(f"traffic not accepted by {self.firewall_chain}")
                self.draft.row(FIREWALL, f"{comment} {self._to(address)} -j DROP")
            self._refuse_external(address)

    def _refuse_external(self, address: str) -> None:
        if not self.outside:
            comment, target = self._refusal
            self.draft.row(REFUSE_EXTERNAL, f"{comment} {self._to(address)} {target}")

    def _node_port(self) -> None:
        number = self.port.node_port
        if not number:
            return
        if self.choice.any:
            if self.settings.counters and self.settings.localhost_node_ports:
                counter = f"-m nfacct --nfacct-name {LOCALHOST_ACCEPTED}"
                match = f"{self.proto} -d 127.0.0.0/8 --dport {number} {counter}"
                self.draft.row(NODE_PORTS, f"{self._comment('')} {match} -j {self.external_chain}")
            rule = f"{self._comment('')} {self.proto} --dport {number} -j {self.external_chain}"
            self.draft.row(NODE_PORTS, rule)
        if not self.outside:
            comment, target = self._refusal
            match = f"-m addrtype --dst-type LOCAL {self.proto} --dport {number}"
            self.draft.row(REFUSE_EXTERNAL, f"{comment} {match} {target}")

    def _health_check(self) -> None:
        number = self.port.health_check_node_port
        if number:
            comment = self._comment("health check node port")
            self.draft.row(HEALTH_CHECKS, f"{comment} -m tcp -p tcp --dport {number} -j ACCEPT")

    # --- chains of its own ------------------------------------------------------------------------------------------

    def _endpoint_chains(self) -> None:
        comment = "" if self.brief else f"{self._comment('')} "
        for endpoint in self.choice.reachable:
            chain = self.endpoint_chains[endpoint.text]
            recent = f"-m recent --name {chain} --set " if self.port.affinity else ""
            self.draft.chains[ChainKey("nat", chain)] = (
                f"{comment}-s {endpoint.ip} {MASQUERADE}",
                f"{comment}{recent}{self.proto} -j DNAT --to-destination {endpoint.text}",
            )

    def _balancing_chains(self) -> None:
        """KUBE-SVC for Cluster policy, KUBE-SVL for Local; the one that the cluster IP leads to masquerades first."""
        masquerade: tuple[str, ...] = ()
        if self.internal and (self.settings.masquerade_all or self.settings.from_pod):
            not_pod = "" if self.settings.masquerade_all else f" ! {self.settings.from_pod}"
            rule = f"{self._comment('cluster IP')} {self._to(self.port.cluster_ip)}{not_pod} {MASQUERADE}"
            masquerade = (rule,)
        if self.choice.cluster:
            first = () if self.port.internal_local else masquerade
            self.draft.chain(self.cluster_chain, (*first, *self._balance(self.choice.cluster)))
        if self.choice.local:
            first = masquerade if self.port.internal_local else ()
            self.draft.chain(self.local_chain, (*first, *self._balance(self.choice.local)))

    def _balance(self, endpoints: tuple[Endpoint, ...]) -> Iterable[str]:
        chains = [self.endpoint_chains[e.text] for e in endpoints]
        comments = [""] * len(chains) if self.brief else [f"{self._comment(f'-> {e.text}')} " for e in endpoints]
        if self.port.affinity:
            for comment, chain in zip(comments, chains, strict=True):
                yield f"{comment}-m recent --name {chain} --rcheck --seconds {self.port.affinity} --reap -j {chain}"
        for remaining, comment, chain in zip(range(len(chains), 0, -1), comments, chains, strict=True):
            yield f"{comment}{_one_in(remaining)}-j {chain}"

    def _external_chain(self) -> None:
        """KUBE-EXT: Cluster policy masquerades all; with Local, pods and the node itself still reach any endpoint."""
        name, cluster = self.port.name, self.cluster_chain
        if not self.port.external_local:
            rules = [f"{about(f'masquerade traffic for {name} external destinations')} {MASQUERADE}"]
        else:
            local = "-m addrtype --src-type LOCAL"
            rules = [
                f"{about(f'masquerade LOCAL traffic for {name} external destinations')} {local} {MASQUERADE}",
                f"{about(f'route LOCAL traffic for {name} external destinations')} {local} -j {cluster}",
            ]
            if self.settings.from_pod:
                pods = about(f"pod traffic for {name} external destinations")
                rules.insert(0, f"{pods} {self.settings.from_pod} -j {cluster}")
        if self.outside:
            rules.append(f"-j {self.local_chain if self.port.external_local else cluster}")
        self.draft.chain(self.external_chain, rules)

    def _firewall_chain(self) -> None:
        """KUBE-FW: allowed sources go on, the rest falls through to KUBE-PROXY-FIREWALL; the last rule only says so."""
        comment, target = self._comment("loadbalancer IP"), f"-j {self.external_chain}"
        sources = [*self.port.source_ranges]
        if any(_contains(cidr, self.settings.node_ip) for cidr in sources):
            sources += self.port.load_balancer_ips
        rest = about(f"other traffic to {self.port.name} will be dropped by KUBE-PROXY-FIREWALL")
        self.draft.chain(self.firewall_chain, (*(f"{comment} -s {source} {target}" for source in sources), rest))


def about(text: str) -> str:
    """`text` as a rule's comment."""
    return f"-m comment --comment {quote(text)}"


def _contains(cidr: str, address: str) -> bool:
    return ip_address(address) in ip_network(cidr)


@lru_cache(maxsize=4096)
def _one_in(n: int) -> str:
    """The match that lets one packet of n through, with kube-proxy's ten digits; none for the last."""
    return f"-m statistic --mode random --probability {1 / n:.10f} " if n > 1 else ""
