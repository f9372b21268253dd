"""A lab's cluster DNS, `spec.dns` of a Lab."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from k8snetlab.api.meta import Value, always

PORT, METRICS = 53, 9153
"""Where a DNS pod answers names, and where it tells what it has counted."""
LOCAL = "169.254.20.10"
"""Where a node's own cache answers, the address that NodeLocal DNSCache's page proposes."""


class Dns(Value):
    """`address` is the cluster IP of the Service kube-dns, by default the tenth of the service network.

    `pods` is whether names of pods' addresses are answered (disabled, insecure, verified), `ttl` what answers say, in
    seconds. Names outside are asked of `upstream`, those in a stub domain of its own servers (each an address, or
    address:port). Without an `upstream` the lab's host outside answers them; with an empty one they are refused.
    `hosts` are names of the lab's own, by address. `nodeLocal`: every node has a cache at 169.254.20.10, which its pods
    ask (NodeLocal DNSCache).
    """

    enabled: bool = always(True)
    replicas: Annotated[int, Meta(ge=0, le=100)] = always(1)
    address: str = ""
    domain: str = always("cluster.local")
    pods: Literal["disabled", "insecure", "verified"] = always("insecure")
    ttl: Annotated[int, Meta(ge=0, le=3600)] = always(5)
    upstream: tuple[str, ...] | None = None
    stubDomains: Mapping[str, tuple[str, ...]] = {}
    hosts: Mapping[str, tuple[str, ...]] = {}
    nodeLocal: bool = False

    @property
    def served(self) -> bool:
        """Whether the lab has DNS pods."""
        return self.enabled and self.replicas > 0


def server(text: str) -> tuple[str, int]:
    """A name server's address and port, of ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. Raises ValueError."""
    address, port = text, ""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(_WRONG)
        port = rest[1:]
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    found = str(ipaddress.ip_address(address))
    number = int(port) if port.isascii() and port.isdecimal() else 0 if port else PORT
    if "%" in found or not 0 < number < 65536:
        raise ValueError(_WRONG)
    return found, number


_WRONG = "no address, or no port"
