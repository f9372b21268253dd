"""The layout of 2019 (kube-proxy and kubelet 1.16), which books of that time print.

Traffic is marked for masquerade in KUBE-SERVICES and KUBE-NODEPORTS, before the jump; load balancers always have a
KUBE-FW chain, which ends in kubelet's KUBE-MARK-DROP; Local policy has a KUBE-XLB chain; probabilities have five
digits; an unnamed port is "namespace/service:". There are no topology hints, no internal policy, and terminating
endpoints get nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network

from k8snetlab.api.core import Service
from k8snetlab.dataplane.families import host
from k8snetlab.dataplane.names import DROP_MARK, KUBE_FIREWALL, KUBE_FW, KUBE_MARK_DROP, KUBE_SVC, KUBE_XLB
from k8snetlab.dataplane.rules import ChainKey, Hook, Rules
from k8snetlab.render.proxy.endpoints import Endpoint, endpoints_of
from k8snetlab.render.proxy.frame import FORWARD, LAST, MARK_MASQ, MARTIANS, POSTROUTING, jump
from k8snetlab.render.proxy.ports import Port, ports_of
from k8snetlab.render.proxy.service import (
    DISPATCH,
    MASQUERADE,
    NODE_PORTS,
    REFUSE_CLUSTER,
    REFUSE_EXTERNAL,
    Draft,
    ServiceRules,
    Slices,
    about,
)
from k8snetlab.render.proxy.settings import Settings

SHARED_CHAINS = (NODE_PORTS, DISPATCH, REFUSE_CLUSTER, REFUSE_EXTERNAL)
MARK_DROP = ChainKey("nat", KUBE_MARK_DROP)
LOOPBACK_NET = {"ipv4": "127.0.0.0/8", "ipv6": "::1/128"}
DROP = f"0x{DROP_MARK:08x}/0x{DROP_MARK:08x}"


def render_service(service: Service, slices: Slices, settings: Settings, brief: bool) -> ServiceRules:
    draft = Draft()
    count = 0
    everywhere = True
    for port in ports_of(service, settings.family, classic=True, external_ips=settings.external_ips):
        endpoints = endpoints_of(port, slices, settings)
        count += len(endpoints)
        _ClassicPort(port, tuple(e for e in endpoints if e.ready), settings, brief, draft).render()
        everywhere = everywhere and not (port.external_local or port.source_ranges)
    rows = {chain: tuple(rules) for chain, rules in draft.rows.items()}
    return ServiceRules(service, slices, draft.chains, rows, count, everywhere)


class _ClassicPort:
    """The rules of one Service port."""

    def __init__(
        self, port: Port, endpoints: tuple[Endpoint, ...], settings: Settings, brief: bool, draft: Draft
    ) -> None:
        self.port, self.endpoints, self.settings, self.brief, self.draft = port, endpoints, settings, brief, draft
        self.cluster_chain = port.chain(KUBE_SVC)
        self.outside_chain = port.chain(KUBE_XLB) if port.external_local else self.cluster_chain
        self.proto = f"-m {port.protocol} -p {port.protocol}"
        self.endpoint_chains = port.endpoint_chains(e.text for e in endpoints)

    def render(self) -> None:
        self._cluster_ip()
        for address in self.port.external_ips:
            self._external_ip(address)
        for address in self.port.load_balancer_ips:
            self._load_balancer_ip(address)
        if self.port.node_port:
            self._node_port()
        if self.endpoints:
            self._endpoint_chains()
            self.draft.chain(self.cluster_chain, self._balance(self.endpoints))
            if self.port.external_local:
                self._local_chain()
            if self.port.load_balancer_ips:
                self._firewall_chain()

    def _to(self, address: str) -> str:
        return f"{self.proto} -d {host(address)} --dport {self.port.port}"

    def _refuse(self, chain: ChainKey, match: str) -> None:
        self.draft.row(chain, f"{about(f'{self.port.name} has no endpoints')} {match} -j REJECT")

    def _cluster_ip(self) -> None:
        to = self._to(self.port.cluster_ip)
        if not self.endpoints:
            self._refuse(REFUSE_CLUSTER, to)
            return
        match = f"{about(f'{self.port.name} cluster IP')} {to}"
        if self.settings.masquerade_all:
            self.draft.row(DISPATCH, f"{match} {MASQUERADE}")
        elif self.settings.from_pod:
            self.draft.row(DISPATCH, f"{match} ! {self.settings.from_pod} {MASQUERADE}")
        self.draft.row(DISPATCH, f"{match} -j {self.cluster_chain}")

    def _external_ip(self, address: str) -> None:
        """Taken from other machines (not by a bridge port, not from this node), or where the address is this node's."""
        if not self.endpoints:
            self._refuse(REFUSE_EXTERNAL, self._to(address))
            return
        match = f"{about(f'{self.port.name} external IP')} {self._to(address)}"
        from_machines = "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL"
        self.draft.row(DISPATCH, f"{match} {MASQUERADE}")
        self.draft.row(DISPATCH, f"{match} {from_machines} -j {self.cluster_chain}")
        self.draft.row(DISPATCH, f"{match} -m addrtype --dst-type LOCAL -j {self.cluster_chain}")

    def _load_balancer_ip(self, address: str) -> None:
        if not self.endpoints:
            self._refuse(REFUSE_CLUSTER, self._to(address))
            return
        match = f"{about(f'{self.port.name} loadbalancer IP')} {self._to(address)}"
        self.draft.row(DISPATCH, f"{match} -j {self.port.chain(KUBE_FW)}")

    def _node_port(self) -> None:
        match = f"{self.proto} --dport {self.port.node_port}"
        if not self.endpoints:
            self._refuse(REFUSE_EXTERNAL, f"-m addrtype --dst-type LOCAL {match}")
            return
        source = f" -s {LOOPBACK_NET[self.settings.family]}" if self.port.external_local else ""
        self.draft.row(NODE_PORTS, f"{about(self.port.name)} {match}{source} {MASQUERADE}")
        self.draft.row(NODE_PORTS, f"{about(self.port.name)} {match} -j {self.outside_chain}")

    def _endpoint_chains(self) -> None:
        comment = "" if self.brief else f"{about(self.port.name)} "
        for endpoint in self.endpoints:
            chain = self.endpoint_chains[endpoint.text]
            recent = f"-m recent --name {chain} --set " if self.port.affinity else ""
            self.draft.chains[ChainKey("nat", chain)] = (
                f"{comment}-s {host(endpoint.ip)} {MASQUERADE}",
                f"{comment}{recent}{self.proto} -j DNAT --to-destination {endpoint.text}",
            )

    def _balance(self, endpoints: tuple[Endpoint, ...], numbered: bool = False) -> Iterable[str]:
        comment = "" if self.brief else f"{about(self.port.name)} "
        chains = [self.endpoint_chains[e.text] for e in endpoints]
        if self.port.affinity:
            for chain in chains:
                yield f"{comment}-m recent --name {chain} --rcheck --seconds {self.port.affinity} --reap -j {chain}"
        for number, chain in enumerate(chains):
            if numbered:
                comment = f"{about(f'Balancing rule {number} for {self.port.name}')} "
            yield f"{comment}{_one_in(len(chains) - number)}-j {chain}"

    def _local_chain(self) -> None:
        """KUBE-XLB: pods and the node itself reach any endpoint; others this node's, or are dropped."""
        name, local = self.port.name, "-m addrtype --src-type LOCAL"
        rules = [
            f"{about(f'masquerade LOCAL traffic for {name} LB IP')} {local} {MASQUERADE}",
            f"{about(f'route LOCAL traffic for {name} LB IP to service chain')} {local} -j {self.cluster_chain}",
        ]
        if self.settings.from_pod:
            text = "Redirect pods trying to reach external loadbalancer VIP to clusterIP"
            rules.insert(0, f"{about(text)} {self.settings.from_pod} -j {self.cluster_chain}")
        here = tuple(e for e in self.endpoints if e.node == self.settings.node)
        if here:
            rules += self._balance(here, numbered=True)
        else:
            rules.append(f"{about(f'{name} has no local endpoints')} -j {MARK_DROP.chain}")
        self.draft.chain(self.outside_chain, rules)

    def _firewall_chain(self) -> None:
        comment = about(f"{self.port.name} loadbalancer IP")
        sources = [f" -s {cidr}" for cidr in self.port.source_ranges]
        if any(ip_address(self.settings.node_ip) in ip_network(cidr) for cidr in self.port.source_ranges):
            sources += [f" -s {host(address)}" for address in self.port.load_balancer_ips]
        self.draft.chain(
            self.port.chain(KUBE_FW),
            (
                *(() if self.port.external_local else (f"{comment} {MASQUERADE}",)),
                *(f"{comment}{source} -j {self.outside_chain}" for source in sources or [""]),
                f"{comment} -j {MARK_DROP.chain}",
            ),
        )


def fixed_chains(settings: Settings) -> dict[ChainKey, Rules]:
    """kube-proxy's chains that hold no Service, and kubelet's two for dropping."""
    mark = f"{settings.mark}/{settings.mark}"
    state = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    pods: tuple[str, ...] = ()
    if settings.from_pod.startswith("-s "):
        cidr = settings.from_pod.removeprefix("-s ")
        pods = (
            f"-s {cidr} {about('kubernetes forwarding conntrack pod source rule')} {state}",
            f"{about('kubernetes forwarding conntrack pod destination rule')} -d {cidr} {state}",
        )
    return {
        MARK_MASQ: (f"-j MARK --set-xmark {mark}",),
        MARK_DROP: (f"-j MARK --set-xmark {DROP}",),
        POSTROUTING: (f"{about('kubernetes service traffic requiring SNAT')} -m mark --mark {mark} -j MASQUERADE",),
        FORWARD: (
            "-m conntrack --ctstate INVALID -j DROP",
            f"{about('kubernetes forwarding rules')} -m mark --mark {mark} -j ACCEPT",
            *pods,
        ),
        MARTIANS: (f"{about('kubernetes firewall for dropping marked packets')} -m mark --mark {DROP} -j DROP",),
    }


def last_rows(settings: Settings) -> dict[ChainKey, Rules]:
    addresses = settings.node_port_addresses
    destinations = ["-m addrtype --dst-type LOCAL"] if addresses is None else [f"-d {host(a)}" for a in addresses]
    return {DISPATCH: tuple(f"{LAST} {destination} -j {NODE_PORTS.chain}" for destination in destinations)}


HOOKS = (
    jump("INPUT", REFUSE_EXTERNAL, "kubernetes externally-visible service portals", new=True),
    jump("FORWARD", REFUSE_CLUSTER, "kubernetes service portals", new=True),
    jump("OUTPUT", REFUSE_CLUSTER, "kubernetes service portals", new=True),
    jump("INPUT", REFUSE_CLUSTER, "kubernetes service portals", new=True),
    jump("FORWARD", FORWARD, "kubernetes forwarding rules"),
    jump("OUTPUT", DISPATCH, "kubernetes service portals"),
    jump("PREROUTING", DISPATCH, "kubernetes service portals"),
    jump("POSTROUTING", POSTROUTING, "kubernetes postrouting rules"),
    Hook("filter", "OUTPUT", f"-j {KUBE_FIREWALL}"),
    Hook("filter", "INPUT", f"-j {KUBE_FIREWALL}"),
)


@lru_cache(maxsize=4096)
def _one_in(n: int) -> str:
    return f"-m statistic --mode random --probability {1 / n:.5f} " if n > 1 else ""
