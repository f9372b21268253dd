"""By which of this machine's interfaces the other machines of a lab reach it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface
from urllib.parse import urlsplit

from k8snetlab.api.addressing import parse_networks, split
from k8snetlab.api.lab import Lab
from k8snetlab.dataplane.families import FAMILIES, family_of, pick
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.dataplane.netns import Netns
from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.kernel.read import read as read_namespace
from k8snetlab.state.machine import Machine

NAT = frozenset({"10.0.2.15", "fd00::5054:ff:fe12:3456"})
"""What the NAT network of VirtualBox and QEMU gives to every machine alike, and no other machine can reach."""
_PODS = ("cni", "flannel", "veth", "docker", "br-", "virbr", "cali", "tunl", "vxlan", "kube-ipvs", "nodelocaldns")
"""How devices begin that lead to pods, containers and guests, and to no other machine."""


def choose(node: str, lab: Lab, wanted: str = "", endpoints: Iterable[str] = ()) -> Machine:
    """This machine as node `node` of `lab`, by the interface that is meant.

    That is `wanted` (a device or one of its addresses), else the one with the address that the lab file gives the node,
    else the one towards the store (`endpoints`, URLs). Raises NotFoundError or InputError, naming the interfaces there
    are, for one that is not there, that other machines cannot reach, or when nothing tells which it is.
    """
    state = read_namespace(HOST_NETNS)
    found = _addresses(state)
    interface = _interface(node, lab, wanted, endpoints, found)
    addresses = found[interface]
    families = [family for family in FAMILIES if pick(lab.spec.podCIDR, family)]
    chosen = {family: _first(addresses, family) for family in families}
    lacking = [family for family, address in chosen.items() if not address]
    if lacking:
        raise InputError(
            f"{interface} has no {' and no '.join(_WORD[family] for family in lacking)} address, "
            f"but the lab's podCIDR is {lab.spec.podCIDR}",
            _hint(found, f"`ip address add ADDRESS dev {interface}`, or another interface"),
        )
    for address in chosen.values():
        if str(ip_interface(address).ip) in NAT:
            raise InputError(
                f"{interface} has the address {ip_interface(address).ip}, which the NAT network of VirtualBox or QEMU "
                "gives to every machine: no other node can reach this one by it",
                _hint({name: held for name, held in found.items() if name != interface}, "--iface INTERFACE"),
            )
    mtu = next((link.mtu for link in state.links if link.name == interface), 0)
    if mtu and mtu < lab.spec.underlay.mtu:
        raise InputError(
            f"{interface} has an MTU of {mtu}, the lab's spec.underlay.mtu is {lab.spec.underlay.mtu}",
            f"set spec.underlay.mtu: {mtu} in the lab file, or `ip link set {interface} mtu {lab.spec.underlay.mtu}`",
        )
    return Machine(
        node,
        interface,
        tuple(str(ip_interface(address).ip) for address in chosen.values()),
        socket.gethostname(),
        ",".join(str(ip_interface(address).network) for address in chosen.values()),
    )


_WORD = {"ipv4": "IPv4", "ipv6": "IPv6"}


def refuse_overlap(lab: Lab, machine: Machine) -> None:
    """Raises InputError when the lab's own networks lie over one that this machine stands in."""
    state = read_namespace(HOST_NETNS)
    for field in ("podCIDR", "serviceCIDR"):
        for whole in parse_networks(getattr(lab.spec, field)):
            for held in state.addresses:
                net = ip_interface(held.address).network
                if net.version == whole.version and net.overlaps(whole):
                    raise InputError(
                        f"the lab's {field} {whole} overlaps {held.address} on {held.dev} of this machine",
                        f"give the lab another spec.{field}, or {machine.node} another interface",
                    )


def _interface(node: str, lab: Lab, wanted: str, endpoints: Iterable[str], found: Mapping[str, tuple[str, ...]]) -> str:
    if wanted:
        return _wanted(wanted, found)
    entries = lab.spec.nodes if isinstance(lab.spec.nodes, tuple) else ()
    given = [address for entry in entries if entry.name == node for address in split(entry.address)]
    for address in given:
        if owner := _owner(address, found):
            return owner
    if given:
        raise NotFoundError(
            f"no interface of this machine has {', '.join(given)}, the address of {node} in the lab file",
            _hint(found, "correct the lab file, the --node, or choose by --iface"),
        )
    usable = _usable(found)
    towards = [owner for url in endpoints if (owner := _owner(_source(url), found))]
    for owner in towards:
        if owner in usable:
            return owner
    if len(usable) == 1:
        return next(iter(usable))
    if not found:
        raise NotFoundError(
            "this machine has no interface with an address that other machines could reach", "`ip address` shows them"
        )
    raise InputError(
        "which of this machine's interfaces do the other nodes reach it by?"
        if usable
        else f"every address of this machine ({', '.join(_host(a) for held in found.values() for a in held)}) is one "
        "that the NAT network of VirtualBox or QEMU gives to all machines",
        _hint(usable, "--iface INTERFACE") if usable else "give it a second interface, in Vagrant a private_network",
    )


def _wanted(wanted: str, found: Mapping[str, tuple[str, ...]]) -> str:
    if wanted in found:
        return wanted
    if owner := _owner(wanted, found):
        return owner
    raise NotFoundError(
        f"this machine has no interface {wanted!r} with an address", _hint(_usable(found), "--iface INTERFACE")
    )


def _addresses(state: Netns) -> dict[str, tuple[str, ...]]:
    """The addresses (with prefix length) by which other machines could reach this one, by device."""
    up = {link.name for link in state.links if link.up and link.name != "lo" and not link.name.startswith(_PODS)}
    found: dict[str, list[str]] = {}
    for held in state.addresses:
        if held.dev in up and not ip_interface(held.address).is_link_local:
            found.setdefault(held.dev, []).append(held.address)
    return {name: tuple(addresses) for name, addresses in found.items()}


def _usable(found: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: held for name, held in found.items() if not any(_host(a) in NAT for a in held)}


def _owner(address: str, found: Mapping[str, tuple[str, ...]]) -> str:
    try:
        wanted = str(ip_address(address))
    except ValueError:
        return ""
    return next((name for name, held in found.items() if any(_host(a) == wanted for a in held)), "")


def _source(url: str) -> str:
    """The address of this machine that a packet to the store leaves with; no packet is sent."""
    with contextlib.suppress(OSError, ValueError):
        host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
        for family, kind, *_, address in socket.getaddrinfo(host, 2379, type=socket.SOCK_DGRAM):
            with contextlib.suppress(OSError), socket.socket(family, kind) as sock:
                sock.connect(address)
                return str(sock.getsockname()[0])
    return ""


def _first(addresses: Iterable[str], family: str) -> str:
    return next((address for address in addresses if family_of(address) == family), "")


def _host(address: str) -> str:
    return str(ip_interface(address).ip)


def _hint(found: Mapping[str, tuple[str, ...]], otherwise: str) -> str:
    candidates = [f"{name} ({', '.join(addresses)})" for name, addresses in found.items()]
    return f"{otherwise}: {', '.join(candidates)}" if candidates else otherwise
