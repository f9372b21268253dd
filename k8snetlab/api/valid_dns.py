"""What can be wrong with `spec.dns` of a Lab."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from k8snetlab.api.addressing import IPNetwork
from k8snetlab.api.dns import server
from k8snetlab.api.lab import Lab
from k8snetlab.api.problems import Report, dns_subdomain
from k8snetlab.api.words import Path, shorten

SERVERS = 15
"""So many servers one zone is asked of, as CoreDNS' forward has it."""


def dns(report: Report, lab: Lab, services: Iterable[IPNetwork]) -> None:
    """`services` are the networks of `spec.serviceCIDR`."""
    spec, path = lab.spec.dns, ("spec", "dns")
    _name(report, lab, (*path, "domain"), spec.domain)
    if spec.address:
        _address(report, lab, (*path, "address"), spec.address, services)
    _servers(report, lab, (*path, "upstream"), spec.upstream)
    for zone, servers in spec.stubDomains.items():
        _name(report, lab, (*path, "stubDomains", zone), zone)
        if not servers:
            report.error(lab, (*path, "stubDomains", zone), "names no server to be asked")
        _servers(report, lab, (*path, "stubDomains", zone), servers)
    for name, addresses in spec.hosts.items():
        _name(report, lab, (*path, "hosts", name), name)
        for address in addresses:
            if not _is_address(address):
                report.error(
                    lab, (*path, "hosts", name), f"{shorten(address)!r} is no address; write it like 192.0.2.7"
                )


def _name(report: Report, lab: Lab, path: Path, name: str) -> None:
    if problem := dns_subdomain(name):
        report.error(lab, path, problem)


def _address(report: Report, lab: Lab, path: Path, text: str, services: Iterable[IPNetwork]) -> None:
    networks = list(services)
    if not _is_address(text):
        report.error(lab, path, f"{shorten(text)!r} is no address; write it like 10.96.0.10")
    elif networks and not any(ip_address(text) in network for network in networks):
        report.error(lab, path, f"{text} is not in spec.serviceCIDR {lab.spec.serviceCIDR}")


def _servers(report: Report, lab: Lab, path: Path, servers: tuple[str, ...]) -> None:
    if len(servers) > SERVERS:
        report.error(lab, path, f"names {len(servers)} servers; {SERVERS} are the most")
    for text in servers:
        try:
            server(text)
        except ValueError:
            report.error(lab, path, f"{shorten(text)!r} is no name server; write it like 192.0.2.53 or 192.0.2.53:5353")


def _is_address(text: str) -> bool:
    try:
        return "%" not in str(ip_address(text))
    except ValueError:
        return False
