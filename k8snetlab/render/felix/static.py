"""What every packet of a node passes, whatever pods it has: cali-INPUT, cali-FORWARD and cali-OUTPUT.

There are no HostEndpoints: their chains are empty. A pod may reach its own node (DefaultEndpointToHostAction ACCEPT, as
calico.yaml has it). Source: Calico felix/rules/static.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from k8snetlab.dataplane import felix_names as names
from k8snetlab.dataplane.names import CALI
from k8snetlab.dataplane.rules import Family, Hook, Rules
from k8snetlab.render.felix import marks
from k8snetlab.render.felix.endpoint import VXLAN_PORT
from k8snetlab.render.felix.hashed import Line, hashed

ALL_HOSTS, ALL_VXLAN = "all-hosts-net", "all-vxlan-net"
"""Sets of the nodes' addresses, whose tunnels' packets are let in and out."""
NO_HOST_ENDPOINTS = (
    "cali-from-hep-forward",
    "cali-to-hep-forward",
    "cali-cidr-block",
    "cali-from-host-endpoint",
    "cali-to-host-endpoint",
)
_ICMPV6 = (130, 131, 132, 133, 135, 136)
"""What a router lives of: multicast listeners, router solicitation, neighbour solicitation and advertisement."""
_ACCEPTED = ("Policy explicitly accepted packet.",)


@lru_cache(maxsize=64)
def chains(family: Family, ipip: bool, vxlan: bool) -> tuple[tuple[str, Rules], ...]:
    """`ipip`, `vxlan`: whether a pool has such tunnels."""
    found = {
        "cali-INPUT": _input(family, ipip, vxlan),
        "cali-FORWARD": _forward(),
        "cali-OUTPUT": _output(family, ipip, vxlan),
        "cali-wl-to-host": _to_host(family),
        **{name: iter(()) for name in NO_HOST_ENDPOINTS},
    }
    return tuple((name, hashed(name, lines)) for name, lines in found.items())


def _input(family: Family, ipip: bool, vxlan: bool) -> Iterator[Line]:
    local = "-m addrtype --dst-type LOCAL"
    if ipip:
        ours = f"-p 4 -m set --match-set {names.set_name(ALL_HOSTS, family)} src {local}"
        yield Line(ours, marks.ALLOW, ("Allow IPIP packets from Calico hosts",))
        yield Line("-p 4", marks.DENY, ("Drop IPIP packets from non-Calico hosts",))
    if vxlan:
        port = f"-p 17 -m multiport --destination-ports {VXLAN_PORT}"
        ours = f"{port} -m set --match-set {names.set_name(ALL_VXLAN, family)} src {local}"
        said = _version(family)
        yield Line(ours, marks.ALLOW, (f"Allow {said} VXLAN packets from allowed hosts",))
        yield Line(f"{port} {local}", marks.DENY, (f"Drop {said} VXLAN packets from non-allowed hosts",))
    yield Line(f"--in-interface {CALI}+", "--goto cali-wl-to-host")
    accepted = marks.is_set(marks.ACCEPT)
    yield Line(accepted, marks.ALLOW)
    yield Line("", marks.clear(marks.EVERY))
    yield Line("", "--jump cali-from-host-endpoint")
    yield Line(accepted, marks.ALLOW, ("Host endpoint policy accepted packet.",))


def _forward() -> Iterator[Line]:
    yield Line("", marks.clear(marks.EVERY & ~marks.ACCEPT))
    yield Line(marks.is_clear(marks.ACCEPT), "--jump cali-from-hep-forward")
    yield Line(f"--in-interface {CALI}+", "--jump cali-from-wl-dispatch")
    yield Line(f"--out-interface {CALI}+", "--jump cali-to-wl-dispatch")
    yield Line("", "--jump cali-to-hep-forward")
    yield Line("", "--jump cali-cidr-block")


def _output(family: Family, ipip: bool, vxlan: bool) -> Iterator[Line]:
    accepted = marks.is_set(marks.ACCEPT)
    yield Line(accepted, marks.ALLOW)
    yield Line(f"--out-interface {CALI}+", marks.RETURN)
    local = "-m addrtype --src-type LOCAL"
    if ipip:
        theirs = f"-p 4 -m set --match-set {names.set_name(ALL_HOSTS, family)} dst {local}"
        yield Line(theirs, marks.ALLOW, ("Allow IPIP packets to other Calico hosts",))
    if vxlan:
        port = f"-p 17 -m multiport --destination-ports {VXLAN_PORT}"
        theirs = f"{port} {local} -m set --match-set {names.set_name(ALL_VXLAN, family)} dst"
        yield Line(theirs, marks.ALLOW, (f"Allow {_version(family)} VXLAN packets to other allowed hosts",))
    yield Line("", marks.clear(marks.EVERY))
    yield Line("-m conntrack ! --ctstate DNAT", "--jump cali-to-host-endpoint")
    yield Line(accepted, marks.ALLOW, ("Host endpoint policy accepted packet.",))


def _to_host(family: Family) -> Iterator[Line]:
    if family == "ipv6":
        yield from (Line(f"-p 58 -m icmp6 --icmpv6-type {kind}", marks.ALLOW) for kind in _ICMPV6)
    yield Line("", "--jump cali-from-wl-dispatch")
    yield Line("", marks.ALLOW, ("Configured DefaultEndpointToHostAction",))


def _version(family: Family) -> str:
    return "IPv4" if family == "ipv4" else "IPv6"


def _hooks() -> tuple[Hook, ...]:
    """First in each chain (ChainInsertMode); and last in FORWARD, where what policies let pass is accepted."""
    inserted = tuple(
        Hook("filter", chain, hashed(chain, [Line("", f"--jump cali-{chain}")])[0])
        for chain in ("INPUT", "FORWARD", "OUTPUT")
    )
    last = [Line(marks.is_set(marks.ACCEPT), marks.ALLOW, _ACCEPTED), Line("", marks.put(marks.ACCEPT))]
    return inserted + tuple(Hook("filter", "FORWARD", rule, prepend=False) for rule in hashed("FORWARD*appends*", last))


HOOKS = _hooks()
LAST = tuple(hook for hook in HOOKS if not hook.prepend)
"""Those that no chain of Felix' own is named in: they go with a command of their own."""
