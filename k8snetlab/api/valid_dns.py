"""What can be wrong with names: with `spec.dns` of a Lab, and with dnsConfig and hostAliases of a pod.

Source of the latter: Kubernetes pkg/apis/core/validation (validatePodDNSConfig, ValidateHostAliases).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

from k8snetlab.api.addressing import IPNetwork
from k8snetlab.api.core import PodDNSConfig, PodSpec
from k8snetlab.api.dns import PORT, server
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.problems import Report, dns_subdomain
from k8snetlab.api.words import Path, shorten
from k8snetlab.dataplane.families import is_address

SERVERS = 15
"""So many servers one zone is asked of, as CoreDNS' forward has it."""
NAMESERVERS, SEARCHES, CHARACTERS = 3, 32, 2048
_WORD = re.compile(r"[!-~]+")


def dns(report: Report, lab: Lab, services: Iterable[IPNetwork]) -> None:
    """`services` are the networks of `spec.serviceCIDR`."""
    spec, path = lab.spec.dns, ("spec", "dns")
    _name(report, lab, (*path, "domain"), spec.domain)
    if spec.address:
        _address(report, lab, (*path, "address"), spec.address, services)
    _servers(report, lab, (*path, "upstream"), spec.upstream or ())
    if spec.nodeLocal:
        _node_local(report, lab, (*path, "nodeLocal"))
    for zone, servers in spec.stubDomains.items():
        _name(report, lab, (*path, "stubDomains", zone), zone)
        if not servers:
            report.error(lab, (*path, "stubDomains", zone), "names no server to be asked")
        if zone == spec.domain or zone in spec.hosts:
            whose = "the cluster's domain" if zone == spec.domain else "a name of spec.dns.hosts"
            report.error(lab, (*path, "stubDomains", zone), f"is {whose} as well: only one can answer")
        _servers(report, lab, (*path, "stubDomains", zone), servers)
    for name, addresses in spec.hosts.items():
        _name(report, lab, (*path, "hosts", name), name)
        for address in addresses:
            if not is_address(address):
                report.error(
                    lab, (*path, "hosts", name), f"{shorten(address)!r} is no address; write it like 192.0.2.7"
                )


def _node_local(report: Report, lab: Lab, path: Path) -> None:
    if not lab.spec.dns.enabled:
        report.error(lab, path, "is a cache before cluster DNS, and spec.dns.enabled is false")
    elif lab.spec.machines:
        report.error(lab, path, "would put rules without a chain of their own on real machines; leave it out")
    elif lab.spec.podCIDR and ":" in lab.spec.podCIDR.split(",")[0]:
        report.error(lab, path, "answers at 169.254.20.10, and spec.podCIDR is IPv6 first; leave it out")
    elif any(_is_elsewhere(text) for text in lab.spec.dns.upstream or ()):
        report.error(lab, path, "asks by its node's resolv.conf, which names no port, and spec.dns.upstream does")


def _is_elsewhere(text: str) -> bool:
    """Whether it is a name server at another port than 53."""
    try:
        return server(text)[1] != PORT
    except ValueError:
        return False


def _name(report: Report, lab: Lab, path: Path, name: str) -> None:
    if problem := dns_subdomain(name):
        report.error(lab, path, problem)


def _address(report: Report, lab: Lab, path: Path, text: str, services: Iterable[IPNetwork]) -> None:
    networks = list(services)
    if not is_address(text):
        report.error(lab, path, f"{shorten(text)!r} is no address; write it like 10.96.0.10")
    elif networks and not any(ip_address(text) in network for network in networks):
        report.error(lab, path, f"{text} is not in spec.serviceCIDR {shorten(lab.spec.serviceCIDR)}")


def _servers(report: Report, lab: Lab, path: Path, servers: tuple[str, ...]) -> None:
    if len(servers) > SERVERS:
        report.error(lab, path, f"names {len(servers)} servers; {SERVERS} are the most")
    for text in servers:
        try:
            server(text)
        except ValueError:
            report.error(lab, path, f"{shorten(text)!r} is no name server; write it like 192.0.2.53 or 192.0.2.53:5353")


def pod(report: Report, obj: Object, path: Path, spec: PodSpec) -> None:
    """`path` leads to the pod's spec."""
    config, where = spec.dnsConfig, (*path, "dnsConfig")
    if spec.dnsPolicy == "None" and not (config and config.nameservers):
        report.error(
            obj,
            (*where, "nameservers") if config else where,
            "Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
        )
    if config is not None:
        _config(report, obj, where, config)
    for number, alias in enumerate(spec.hostAliases):
        one: Path = (*path, "hostAliases", number)
        if not is_address(alias.ip):
            report.error(obj, (*one, "ip"), f'Invalid value: "{shorten(alias.ip)}": must be a valid IP address')
        for index, name in enumerate(alias.hostnames):
            if problem := dns_subdomain(name):
                report.error(obj, (*one, "hostnames", index), problem)


def _config(report: Report, obj: Object, where: Path, config: PodDNSConfig) -> None:
    if len(config.nameservers) > NAMESERVERS:
        message = f"Invalid value: must not have more than {NAMESERVERS} nameservers"
        report.error(obj, (*where, "nameservers"), message)
    for number, text in enumerate(config.nameservers):
        if not is_address(text):
            message = f'Invalid value: "{shorten(text)}": must be a valid IP address'
            report.error(obj, (*where, "nameservers", number), message)
    _searches(report, obj, (*where, "searches"), config.searches)
    for number, option in enumerate(config.options):
        path: Path = (*where, "options", number)
        if not option.name:
            report.error(obj, path, "Required value: must not be empty")
        elif not _WORD.fullmatch(f"{option.name}{option.value or ''}"):
            report.error(obj, path, "an option of resolv.conf is one word of printable characters")


def _searches(report: Report, obj: Object, where: Path, searches: tuple[str, ...]) -> None:
    if len(searches) > SEARCHES:
        report.error(obj, where, f"Invalid value: must not have more than {SEARCHES} search paths")
    if len(" ".join(searches)) > CHARACTERS:
        most = f"{CHARACTERS} characters (including spaces)"
        report.error(obj, where, f"Invalid value: must not have more than {most} in the search list")
    for number, text in enumerate(searches):
        if text != "." and (problem := dns_subdomain(text.removesuffix(".").replace("_", "x"))):
            report.error(obj, (*where, number), problem)
