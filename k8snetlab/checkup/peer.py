"""Whether VXLAN passes between this machine and another one, and what is in its way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import msgspec

from k8snetlab.dataplane.families import family_of
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.dataplane.rules import ChainKey, Family
from k8snetlab.dataplane.view import View
from k8snetlab.errors import InputError, K8sNetLabError
from k8snetlab.iptables.matching import Host, Packet, TraceError
from k8snetlab.iptables.syntax import TARGETS, RuleSyntaxError, Target, parse
from k8snetlab.kernel import iptables
from k8snetlab.kernel.iptables import Variant
from k8snetlab.kernel.probe import Replies, probe
from k8snetlab.kernel.survey import survey
from k8snetlab.trace.tracer import Outcome, trace

State = Literal["open", "arrives", "blocked", "unreachable", "silent", "not shown"]
LOCK = Path("/run/xtables.lock")
_JUMP = re.compile(r"-[jg] (\S+)")
_NOTHING = "-m comment --comment unknown"


class PeerWay(msgspec.Struct, frozen=True):
    """One direction between this machine and a peer."""

    state: State
    """open: proven by an answer of VXLAN's own or of the same command over there; arrives: the peer's kernel got it,
    and nobody listens yet; blocked: a firewall refuses it; unreachable: no packet gets there; silent: nothing at all
    comes back, of anything; not shown: nothing is in the way here, and nothing more can be told from here."""
    why: str
    """A sentence."""
    hint: str = ""
    """What to do, or ""."""
    rule: str = ""
    """The iptables rule of this machine that is in the way, as iptables-save prints it, or ""."""

    @property
    def ok(self) -> bool:
        return self.state in ("open", "arrives", "not shown")


class PeerReport(msgspec.Struct, frozen=True):
    """Whether VXLAN passes between this machine and a peer."""

    peer: str
    """The peer's IP address."""
    source: str
    """This machine's address on the way there, "" where there is no way."""
    port: int
    """The UDP port."""
    vni: int
    """The VXLAN network."""
    there: PeerWay
    """From this machine to the peer."""
    back: PeerWay
    """The other way."""
    ok: bool
    """Whether nothing is in the way in either direction."""


def examine(peer: str, port: int = 8472, vni: int = 1, wait: float = 5.0) -> PeerReport:
    """Tries it for at most `wait` seconds. Raises InputError for what is no address of another machine."""
    try:
        address = str(ip_address(peer))
    except ValueError:
        raise InputError(
            f"--peer {peer}: not an IP address", "give the other machine's address, as 192.168.56.12"
        ) from None
    views = list(_views(family_of(address)))
    if any(view.owns(address) for _, view in views):
        raise InputError(f"--peer {peer} is an address of this machine", "give the other machine's")
    replies = probe(address, port, vni, wait)
    in_the_way = ("", "")
    if replies.source:
        out = Packet(replies.source, address, "udp", port, port)
        back = Packet(address, replies.source, "udp", port, port, in_interface=_device(views, address))
        in_the_way = (_rule_in_the_way(views, out), _rule_in_the_way(views, back))
    ways = judge_there(replies, address, port, vni, in_the_way[0]), judge_back(replies, address, port, in_the_way[1])
    return PeerReport(address, replies.source, port, vni, *ways, ok=all(way.ok for way in ways))


def judge_there(replies: Replies, peer: str, port: int, vni: int, rule: str = "") -> PeerWay:
    """What the answers mean. `rule` is one of this machine's that drops what goes to the peer's port, or ""."""
    reply, meanwhile = replies.port, f"run `k8snetlab doctor --peer {replies.source}` on {peer} at the same time"
    if reply.answer == "denied":
        return _blocked_here(
            rule, f"this machine does not let UDP {port} out to {peer}", f"OUTPUT -p udp --dport {port}"
        )
    if replies.acknowledged:
        return PeerWay("open", f"UDP {port} arrives at {peer}: its own doctor says so")
    if replies.tunnel:
        return PeerWay("open", f"VXLAN {vni} on {peer} answers on UDP {port}")
    if reply.answer == "prohibited":
        whose = f"{peer}'s firewall" if reply.by == peer else f"a firewall on the way, at {reply.by},"
        return PeerWay(
            "blocked", f"{whose} refuses UDP {port} (ICMP: administratively prohibited)", _allow(reply.by, port)
        )
    if replies.torn.answer == "closed":
        why = f"{replies.torn.by} refuses UDP {port} by a rule (REJECT): it answered what no kernel's UDP would"
        return PeerWay("blocked", why, _allow(replies.torn.by, port))
    if reply.answer == "closed":
        return PeerWay(
            "arrives", f"UDP {port} arrives at {peer}, where nothing listens yet", meanwhile + " to see both ways"
        )
    if reply.answer == "unreachable":
        who = "it does not answer on this link" if reply.by in ("", replies.source) else f"says {reply.by}"
        if not replies.source:
            who = "this machine has no route to it"
        return PeerWay(
            "unreachable", f"{peer} cannot be reached: {who}", "is it switched on, and is its address right?"
        )
    if replies.ping or replies.other.answer:
        others = "a ping" if replies.ping else "other UDP ports"
        why = f"{peer} answers {others}, but not on UDP {port}: a firewall there or on the way drops it"
        return PeerWay(
            "blocked",
            why,
            f"{_allow(peer, port)}; a tunnel with a VNI other than {vni} would be as silent; to be sure, {meanwhile}",
        )
    return PeerWay(
        "silent",
        f"nothing comes back from {peer}, neither on UDP {port} nor to a ping",
        f"it is off, or a firewall drops everything; {meanwhile}",
    )


def judge_back(replies: Replies, peer: str, port: int, rule: str = "") -> PeerWay:
    """The way from the peer. `rule` is one of this machine's that drops what comes from there to the port, or ""."""
    if replies.probed:
        return PeerWay("open", f"UDP {port} from {peer} arrives here")
    if rule:
        return _blocked_here(
            rule, f"this machine does not let UDP {port} in from {peer}", f"INPUT -p udp --dport {port}"
        )
    here = f"run `k8snetlab doctor --peer {replies.source or 'THIS-MACHINE'}` on {peer}"
    return PeerWay("not shown", "no iptables rule here is in the way", here)


def _blocked_here(rule: str, why: str, match: str) -> PeerWay:
    if not rule:
        return PeerWay("blocked", f"{why}, by a rule that is not iptables' or not understood", "see `nft list ruleset`")
    return PeerWay("blocked", f"{why}: {rule}", f"delete that rule, or before it: iptables -I {match} -j ACCEPT", rule)


def _allow(machine: str, port: int) -> str:
    return f"on {machine}: iptables -I INPUT -p udp --dport {port} -j ACCEPT (or what its firewall has for that)"


# --- this machine's rules -------------------------------------------------------------------------------------------


def _views(family: Family) -> Iterator[tuple[Variant, View]]:
    """This machine with its rules of either variant, as far as there are any."""
    variants: tuple[Variant, ...] = ("nft", "legacy")
    read = partial(iptables.counted, lockfile=LOCK)
    for variant in variants:
        try:
            yield variant, survey(HOST_NETNS, family, variant, read, place="this machine", kind="node")
        except K8sNetLabError:
            continue


def _device(views: list[tuple[Variant, View]], address: str) -> str:
    return next((route.dev for _, view in views for route, _ in [view.route(address)] if route), "")


def _rule_in_the_way(views: list[tuple[Variant, View]], packet: Packet) -> str:
    """The rule or policy that keeps the packet from its way for certain, as iptables-save writes it; else ""."""
    for _, view in views:
        chains = {key: tuple(_understood(rule, key, view) for rule in rules) for key, rules in view.chains.items()}
        host = Host(view.own, lambda dst, view=view: _device([("nft", view)], dst))  # type: ignore[misc]
        try:
            outcomes = trace(chains, packet, host, view.policies)
        except TraceError:
            continue
        if outcomes and all(outcome.verdict in ("dropped", "rejected") for outcome in outcomes):
            return _decisive(outcomes[0], view)
    return ""


def _understood(rule: str, key: ChainKey, view: View) -> str:
    """The rule. One with a match that cannot be decided here counts either way; one with an unknown target, such as
    logging, does nothing."""
    try:
        target = parse(rule).target
    except RuleSyntaxError:
        jump = _JUMP.search(rule)
        rule = f"-m statistic --mode random --probability 0.5 {jump[0]}" if jump else _NOTHING
        target = Target(jump[1]) if jump else None
    if target and target.name not in TARGETS and ChainKey(key.table, target.name) not in view.chains:
        return _NOTHING
    return rule


def _decisive(outcome: Outcome, view: View) -> str:
    step = outcome.steps[-1] if outcome.steps else None
    if step and (target := parse(step.rule).target) and target.name in ("DROP", "REJECT"):
        return f"-A {step.chain} {step.rule} (table {step.table})"
    hooks = ("PREROUTING", "INPUT") if outcome.packet.in_interface else ("OUTPUT", "POSTROUTING")
    dropping = (key for key, policy in view.policies.items() if policy == "DROP" and key.chain in hooks)
    return next((f"-P {key.chain} DROP (table {key.table})" for key in dropping), "")
