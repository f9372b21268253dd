"""Addresses outside of a cluster that Services and their endpoints may name, and names of their ports.

Source: Kubernetes pkg/apis/core/validation (ValidateEndpointIP).
"""

from __future__ import annotations

import functools
from ipaddress import ip_network

from k8snetlab.api import addressing
from k8snetlab.api.addressing import Address
from k8snetlab.api.meta import Object
from k8snetlab.api.problems import (
    Report,
    dns_label,
    qualified_name,
)
from k8snetlab.api.words import Path, shorten

_LINK_LOCAL_MULTICAST = (ip_network("224.0.0.0/24"), ip_network("ff02::/16"))
"""ff02::/16 is what is looked at, whatever the sentence says (Go's IsLinkLocalMulticast)."""
_SPECIAL = frozenset((0, 127, 169, 224))
"""What an IPv4 address begins with that is looked at more closely."""


def outside_address(report: Report, obj: Object, path: Path, text: str) -> Address | None:
    """An address that packets can be sent on to. Source: ValidateNonSpecialIP, whose words these are."""
    address, problem = _outside(text)
    if problem:
        report.error(obj, path, problem)
    return address


def is_plain(text: str, version: int | None) -> bool:
    """Whether it is known with one look to be such an address: so are most of IPv4."""
    return version == 4 and (octets := addressing.ipv4(text)) is not None and octets[0] not in _SPECIAL


@functools.lru_cache(maxsize=65536)
def _outside(text: str) -> tuple[Address | None, str]:
    """The address, if it is one, and what is wrong with it. Endpoints have a thousand, the same again and again."""
    try:
        address = addressing.api_address(text)
    except ValueError as error:
        return None, str(error)
    message = ""
    if address.version == 4 and int(address) >> 24 not in _SPECIAL:
        return address, ""
    if address.is_unspecified:
        message = "may not be unspecified (0.0.0.0 or ::)"
    elif address.is_loopback:
        message = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    elif address.is_link_local:
        message = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    elif any(address in network for network in _LINK_LOCAL_MULTICAST if network.version == address.version):
        message = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    return address, f'Invalid value: "{text}": {message}' if message else ""


def any_address(report: Report, obj: Object, path: Path, text: str) -> Address | None:
    try:
        return addressing.api_address(text)
    except ValueError as error:
        report.error(obj, path, str(error))
        return None


def app_protocol(report: Report, obj: Object, path: Path, name: str | None) -> None:
    if name is not None and (problem := qualified_name(name)):
        report.error(obj, path, problem)


def name_in_list(report: Report, obj: Object, path: Path, name: str, names: set[str], *, needed: bool) -> None:
    """A port's name, which comes to the `names` of the ports before it."""
    if not name and needed:
        report.error(obj, path, "is missing; where there are several ports each needs a name")
    if name and (problem := dns_label(name)):
        report.error(obj, path, problem)
    if name in names:
        report.error(obj, path, f'"{shorten(name)}" names another port already')
    if name:
        names.add(name)
