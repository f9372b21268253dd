"""What OSPF's daemons were told, beside what the lab has told them: why two neighbours do not meet, or learn nothing.

Source: FRR 8.4's `show running-config` (ospfd/ospf_vty.c), BIRD 2.0's `show ospf interface`; RFC 2328, section 10.5, on
which hellos are believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address

import msgspec

from k8snetlab.dataplane.names import node_netns
from k8snetlab.dataplane.view import View
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.unmanaged import unmanaged_rules
from k8snetlab.iptables.matching import Host, Packet, TraceError, chance
from k8snetlab.iptables.syntax import RuleSyntaxError, parse
from k8snetlab.trace.way import Decision

HELLO, DEAD = 10.0, 40.0
"""Seconds, where nothing is said."""
FASTEST = 1.0
"""Seconds after which a neighbour is given up that says hello several times a second."""
_TIMER = re.compile(r"ip ospf (hello|dead)-interval (\d+)$")
_FAST = re.compile(r"ip ospf dead-interval minimal hello-multiplier (\d+)$")
ALL_ROUTERS = "224.0.0.5"
NAME = "ospf"
"""OSPF's protocol, as rules are read."""
EXCHANGING = ("ExStart", "Exchange")
"""The states in which neighbours tell each other what they know, if the packets are not too long for one of them."""


class Device(msgspec.Struct, frozen=True):
    """How OSPF is spoken on a device: the `area`, "" where it is not spoken; `hello` and `dead` in seconds. `secret` is
    what it signs with, None where that is not known."""

    area: str
    hello: float = HELLO
    dead: float = DEAD
    passive: bool = False
    secret: str | None = ""


class Told(msgspec.Struct, frozen=True):
    """One daemon's: its devices towards neighbours, and of which networks it tells."""

    devices: Mapping[str, Device]
    networks: frozenset[str] = frozenset()


def frr(text: str, links: Mapping[str, str]) -> Told:
    """Of a configuration of ospfd's, a file or what runs; `links` are the networks of the devices towards neighbours.
    A network is spoken for by a line that says just that one."""
    own: dict[str, list[str]] = {}
    general: list[str] = []
    section = general
    for line in text.splitlines():
        if line.startswith("interface "):
            section = own.setdefault(line.split()[1], [])
        elif line.startswith("router ospf"):
            section = general
        elif line.startswith(" "):
            section.append(line.strip())
    areas = {words[1]: _area(words[3]) for line in general if len(words := line.split()) == 4 and words[0] == "network"}
    passive = {line.split()[1] for line in general if line.startswith("passive-interface ")}
    devices = {d: _device(own.get(d, ()), areas.get(network, ""), d in passive) for d, network in links.items()}
    return Told(devices, frozenset(areas))


def _device(lines: Iterable[str], area: str, passive: bool) -> Device:
    timers: dict[str, float] = {}
    secret, signs = "", False
    for line in lines:
        if found := _TIMER.match(line):
            timers[found[1]] = float(found[2])
        elif found := _FAST.match(line):
            timers = {"hello": FASTEST / int(found[1]), "dead": FASTEST}
        elif line.startswith("ip ospf message-digest-key "):
            secret = line.split()[-1]
        elif line.startswith("ip ospf area "):
            area = _area(line.split()[3])
        signs = signs or line.startswith("ip ospf authentication")
        passive = passive or line == "ip ospf passive"
    hello = timers.get("hello", HELLO)
    return Device(area, hello, timers.get("dead", 4 * hello), passive, secret if signs else "")


def _area(text: str) -> str:
    return str(IPv4Address(int(text))) if text.isdigit() else text


def bird(text: str) -> Told:
    """Of `show ospf interface`."""
    devices: dict[str, Device] = {}
    for block in re.split(r"^Interface ", text, flags=re.MULTILINE)[1:]:
        said = dict(re.findall(r"^\s+([A-Z][\w ]+): (\S+)", block, re.MULTILINE))
        stub = "(stub)" in block
        devices[block.split()[0]] = Device(
            said.get("Area", ""), float(said.get("Hello timer", HELLO)), float(said.get("Dead timer", DEAD)), stub, None
        )
    return Told(devices)


def findings(lab: str, name: str, subnet: str, told: Told, wanted: Told) -> Iterator[Finding]:
    """What of a node, or a router, is not as the lab has it. `subnet` is that of its pods, or ""."""
    for device, want in wanted.devices.items():
        have = told.devices.get(device, Device(""))
        if found := _differing(device, have, want):
            yield _finding(lab, name, device, found)
    if subnet in wanted.networks and subnet not in told.networks:
        words = f"OSPF does not tell of {subnet}, its own pods"
        yield _finding(lab, name, subnet, ("unannounced", words, "no other has a route to its pods"))


def _differing(device: str, have: Device, want: Device) -> tuple[str, str, str] | None:
    """The fault in a word, in words, and what follows; the first of those that keep neighbours apart."""
    unbelieved = f"neighbours by {device} believe none of its hellos, and it believes none of theirs"
    if not have.area:
        return "unspoken", f"OSPF is not spoken on {device}", f"by {device} it hears of no route, and tells of none"
    if have.area != want.area:
        return "area", f"{device} is in OSPF's area {have.area}, not in {want.area}", unbelieved
    if (have.hello, have.dead) != (want.hello, want.dead):
        words = f"OSPF on {device} says hello every {have.hello:g} s, and gives neighbours up after {have.dead:g} s"
        return "hello", f"{words}, not {want.hello:g} and {want.dead:g} s", unbelieved
    if have.passive and not want.passive:
        silent = f"by {device} it says no hello and hears none: it learns no route there, and tells of none"
        return "passive", f"OSPF is passive on {device}", silent
    if have.secret is not None and have.secret != want.secret:
        signs = "signs with another password than the lab's" if have.secret and want.secret else ""
        signs = signs or ("does not sign what it says" if want.secret else "signs what it says, as nobody else does")
        return "password", f"by OSPF on {device} it {signs}", unbelieved
    return None


def _finding(lab: str, name: str, named: str, said: tuple[str, str, str]) -> Finding:
    fault, words, consequence = said
    return Finding(
        kind="route",
        fault=fault,
        node=name,
        object=named,
        message=f"{name}: {words}",
        consequence=consequence,
        show=f"k8snetlab vtysh {name} -c 'show running-config'",
        mend=f"k8snetlab process kill ospfd --node {name}",
        netns=node_netns(lab, name),
    )


def dropped(view: View, device: str, source: str) -> Decision | None:
    """The first rule of nobody's that drops OSPF's hellos on their way in by the device, or out."""
    coming = Packet(source, ALL_ROUTERS, "", in_interface=device)
    going = Packet("", ALL_ROUTERS, "", out_interface=device)
    for key, number, rule in unmanaged_rules(view):
        packet = going if key.chain in ("OUTPUT", "POSTROUTING") else coming
        if key.chain == "FORWARD" or not _meets(rule, packet, view.addresses.get(device, ())):
            continue
        return Decision(what="rule", text=rule, entry=f"-A {key.chain} {view.chains[key][number - 1]}")
    return None


def _meets(rule: str, packet: Packet, own: tuple[str, ...]) -> bool:
    try:
        read = parse(rule)
        if read.target is None or read.target.name not in ("DROP", "REJECT"):
            return False
        source = packet.src or next(iter(own)).partition("/")[0]
        packet = msgspec.structs.replace(packet, src=source, protocol=NAME)
        return chance(read.matches, packet, Host(own, route=lambda _: packet.out_interface), translated=False) == 1
    except (RuleSyntaxError, TraceError, StopIteration):
        return False


def laid(
    found: list[Finding], lost: list[Finding], causes: list[Finding], subnets: Mapping[str, str], router: str
) -> list[Finding]:
    """All, with the routes that are `lost` laid to the causes of it: those of a node, and to its pods, to what is the
    matter with that node; what is left to the first router's. `router` is the namespace where goes what nodes have no
    route for."""
    rest = lost
    for cause in causes:
        ours = [one for one in rest if cause.node in (one.node, subnets.get(one.object, cause.node))]
        rest = [one for one in rest if one not in ours]
        texts = tuple(one.message for one in ours) + tuple(text for one in ours for text in one.explains)
        beyond = cause.beyond or (router, "")
        named = msgspec.structs.replace(cause, explains=(*cause.explains, *texts), beyond=beyond)
        found = [*(one for one in found if one.identity != cause.identity), named]
    return [*found, *rest]
