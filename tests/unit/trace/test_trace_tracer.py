"""The tracer follows chains as the kernel does, and says so when it cannot."""

from __future__ import annotations

import msgspec
import pytest

from k8snetlab.dataplane.families import end, parted
from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.iptables.matching import Host, Packet, TraceError
from k8snetlab.iptables.syntax import RuleSyntaxError
from k8snetlab.render import masquerade
from k8snetlab.testing.services import assemble
from k8snetlab.trace.tracer import Outcome, trace

HOST = Host(("192.168.0.21",))
THROUGH = Packet("10.244.1.5", "10.244.2.5", dport=80, in_interface="cni0")


def chains(**named: Rules) -> dict[ChainKey, Rules]:
    """`filter_FORWARD=(…)` names table and chain."""
    return {ChainKey(*name.split("_", 1)): rules for name, rules in named.items()}


def only(outcomes: tuple[Outcome, ...]) -> Outcome:
    (outcome,) = outcomes
    return outcome


def test_without_rules_packets_pass() -> None:
    assert only(trace({}, THROUGH, HOST)).verdict == "sent"
    assert only(trace({}, Packet("10.0.0.1", "192.168.0.21", in_interface="eth0"), HOST)).verdict == "delivered"
    assert only(trace({}, Packet("192.168.0.21", "127.0.0.1"), HOST)).verdict == "delivered"


def test_a_policy_decides_what_no_rule_does() -> None:
    policies = {ChainKey("filter", "FORWARD"): "DROP"}
    assert only(trace({}, THROUGH, HOST, policies)).verdict == "dropped"
    accepting = chains(filter_FORWARD=("-s 10.244.0.0/16 -j ACCEPT",))
    assert only(trace(accepting, THROUGH, HOST, policies)).verdict == "sent"
    assert only(trace(chains(filter_FORWARD=("-j RETURN", "-j ACCEPT")), THROUGH, HOST, policies)).verdict == "dropped"


def test_jumps_return_and_gotos_do_not() -> None:
    inner = {ChainKey("filter", "A"): ("-p udp -j DROP", "-j RETURN", "-j DROP")}
    jump = chains(filter_FORWARD=("-j A", "-j REJECT")) | inner
    assert only(trace(jump, THROUGH, HOST)).verdict == "rejected"
    goto = chains(filter_FORWARD=("-g A", "-j REJECT")) | inner
    assert only(trace(goto, THROUGH, HOST)).verdict == "sent"


def test_what_is_not_tracked_meets_no_rule_of_nat_and_goes_on() -> None:
    rules = chains(
        raw_PREROUTING=("-d 169.254.20.10/32 -p udp -m udp --dport 53 -j NOTRACK", "-j MARK --set-mark 0x1"),
        nat_PREROUTING=("-j DNAT --to-destination 10.244.2.5:53",),
        filter_INPUT=("-m conntrack --ctstate NEW -j DROP", "-m mark --mark 0x1 -j ACCEPT", "-j REJECT"),
    )
    here = Host(("169.254.20.10",))
    query = Packet("10.244.1.5", "169.254.20.10", dport=53, protocol="udp", in_interface="cni0")
    asked = only(trace(rules, query, here))
    assert (asked.verdict, asked.packet.dst, asked.packet.state) == ("delivered", "169.254.20.10", "UNTRACKED")
    assert only(trace(rules, msgspec.structs.replace(query, dport=80), here)).packet.dst == "10.244.2.5"


def test_branches_add_up_to_one() -> None:
    rules = tuple(f"-m statistic --mode random --probability {p} -j DROP" for p in ("0.25", "0.5", "0.1")) + (
        "-j REJECT",
    )
    outcomes = trace(chains(filter_FORWARD=rules), THROUGH, HOST)
    assert sum(o.probability for o in outcomes) == pytest.approx(1)
    assert {o.verdict for o in outcomes} == {"dropped", "rejected"}
    assert [o.probability for o in outcomes] == sorted((o.probability for o in outcomes), reverse=True)


def test_tables_come_in_the_kernels_order_and_marks_stay() -> None:
    rules = chains(
        raw_PREROUTING=("-j MARK --set-mark 0x1",),
        mangle_PREROUTING=("-m mark --mark 0x1 -j MARK --or-mark 0x2",),
        nat_PREROUTING=("-m mark --mark 0x3 -j MARK --xor-mark 0x1",),
        mangle_FORWARD=("-m mark --mark 0x2 -j MARK --or-mark 0x10",),
        filter_FORWARD=("-m mark ! --mark 0x12 -j DROP",),
        mangle_POSTROUTING=("-j MARK --and-mark 0x10",),
        nat_POSTROUTING=("-m mark --mark 0x10 -j MASQUERADE",),
    )
    outcome = only(trace(rules, THROUGH, HOST))
    assert outcome.verdict == "sent" and outcome.masqueraded and outcome.packet.mark == 0x10
    assert outcome.packet.src == "192.168.0.21"
    assert [step.table for step in outcome.steps] == ["raw", "mangle", "nat", "mangle", "mangle", "nat"]


def test_nat_is_asked_for_new_connections_only() -> None:
    rules = chains(nat_PREROUTING=("-p tcp -j DNAT --to-destination 10.244.3.1:8080",))
    assert only(trace(rules, THROUGH, HOST)).endpoint == "10.244.3.1:8080"
    established = Packet("10.244.1.5", "10.244.2.5", dport=80, in_interface="cni0", state="ESTABLISHED")
    assert only(trace(rules, established, HOST)).endpoint == ""


def test_a_translated_packet_is_routed_by_its_new_destination() -> None:
    rules = chains(
        nat_PREROUTING=("-p tcp -m tcp --dport 80 -j DNAT --to-destination 192.168.0.21:22",),
        filter_INPUT=("-m conntrack --ctstate DNAT -j DROP",),
    )
    assert only(trace(rules, THROUGH, HOST)).verdict == "dropped"
    redirect = chains(nat_PREROUTING=("-p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080",))
    assert only(trace(redirect, THROUGH, HOST)).packet.dst == "192.168.0.21"
    assert only(trace(redirect, THROUGH, HOST)).verdict == "delivered"


@pytest.mark.parametrize(
    ("rule", "packet", "arrives"),
    [
        ("DNAT --to-destination 10.9.0.1", THROUGH, ("10.9.0.1", 80)),
        ("DNAT --to-destination :8080", THROUGH, ("10.244.2.5", 8080)),
        ("DNAT --to-destination fd00::9", Packet("fd00::1", "fd00::2", dport=80, in_interface="eth0"), ("fd00::9", 80)),
        ("DNAT --to-destination [fd00::9]:81", Packet("fd00::1", "fd00::2", dport=80), ("fd00::9", 81)),
        ("REDIRECT --to-ports 8080", Packet("192.168.0.21", "10.244.2.5", dport=80), ("127.0.0.1", 8080)),
        ("REDIRECT", Packet("fd00::1", "fd00::2", dport=80), ("::1", 80)),
        ("REDIRECT", THROUGH, ("10.244.1.1", 80)),
    ],
)
def test_what_a_translation_does_not_name_stays(rule: str, packet: Packet, arrives: tuple[str, int]) -> None:
    """As Linux 6.18 does it: to processes of the node itself REDIRECT gives loopback's address."""
    host = Host(HOST.addresses, interfaces={"cni0": ("10.244.1.1",)})
    at = {ChainKey("nat", hook): (f"-p tcp -j {rule}",) for hook in ("PREROUTING", "OUTPUT")}
    outcome = only(trace(at, packet, host))
    assert (outcome.packet.dst, outcome.packet.dport) == arrives
    assert outcome.endpoint == end(*arrives) and parted(outcome.endpoint) == arrives


def test_one_of_several_addresses_is_not_guessed() -> None:
    for target in ("DNAT --to-destination 10.0.0.1-10.0.0.9", "REDIRECT --to-ports 80-90"):
        with pytest.raises(TraceError, match="which one cannot be told"):
            trace(chains(nat_PREROUTING=(f"-p tcp -j {target}",)), THROUGH, HOST)
    source = only(trace(chains(nat_POSTROUTING=("-p tcp -j SNAT --to-source 10.0.0.1:99",)), THROUGH, HOST))
    assert source.packet.src == "10.0.0.1"


def test_icmp_has_another_number_in_ipv6() -> None:
    rules = chains(filter_FORWARD=("-p icmp -j DROP", "-p ipv6-icmp -j REJECT"))
    echo = msgspec.structs.replace(THROUGH, protocol="icmp")
    assert only(trace(rules, echo, HOST)).verdict == "dropped"
    assert only(trace(rules, msgspec.structs.replace(echo, src="fd00::1", dst="fd00::2"), HOST)).verdict == "rejected"


def test_rules_match_the_interfaces_that_a_packet_comes_and_goes_by() -> None:
    rules = chains(filter_FORWARD=("-i cni+ -o flannel.1 -j DROP",))
    routed = Host(HOST.addresses, route=lambda dst: "flannel.1" if dst.startswith("10.244.2.") else "eth0")
    assert only(trace(rules, THROUGH, routed)).verdict == "dropped"
    assert only(trace(rules, Packet("10.244.1.5", "1.1.1.1", in_interface="cni0"), routed)).verdict == "sent"
    with pytest.raises(TraceError, match="no routes are given"):
        trace(rules, THROUGH, HOST)


def test_what_cannot_be_followed_is_said() -> None:
    with pytest.raises(TraceError, match="jumps to MISSING, which does not exist"):
        trace(chains(filter_FORWARD=("-j MISSING",)), THROUGH, HOST)
    with pytest.raises(TraceError, match="circle"):
        trace(chains(filter_FORWARD=("-j A",), filter_A=("-j B",), filter_B=("-j A",)), THROUGH, HOST)
    with pytest.raises(RuleSyntaxError, match="hashlimit"):
        trace(chains(filter_FORWARD=("-m hashlimit --hashlimit-upto 3/s -j ACCEPT",)), THROUGH, HOST)


def test_flannels_rules_masquerade_what_leaves_the_cluster() -> None:
    rules = assemble(masquerade.render("10.244.0.0/16", "10.244.1.0/24", "ipv4"))
    assert not only(trace(rules, THROUGH, HOST)).masqueraded
    assert only(trace(rules, Packet("10.244.1.5", "1.1.1.1", in_interface="cni0"), HOST)).masqueraded
    assert only(trace(rules, Packet("192.168.0.21", "10.244.2.5"), HOST)).masqueraded


def test_a_masqueraded_packet_gets_the_address_of_the_interface_it_leaves_by() -> None:
    rules = chains(nat_POSTROUTING=("-j MASQUERADE",))
    routed = Host(HOST.addresses, route=lambda _: "flannel.1", interfaces={"flannel.1": ("fd00::1", "10.244.1.0")})
    assert only(trace(rules, THROUGH, routed)).packet.src == "10.244.1.0"
    assert only(trace(rules, THROUGH, HOST)).packet.src == HOST.addresses[0]


def test_hooks_are_put_first_or_last() -> None:
    rules = assemble(masquerade.render("10.244.0.0/16", "10.244.1.0/24", "ipv4"))
    assert rules[ChainKey("filter", "FORWARD")] == ('-m comment --comment "flanneld forward" -j FLANNEL-FWD',)


def test_of_two_variants_the_other_is_asked_first_and_an_address_changes_once() -> None:
    """Measured on Linux 6.18: at one hook and priority what was registered later comes first."""
    other = {
        ChainKey("nat (legacy)", "PREROUTING"): ("-p tcp --dport 80 -j DNAT --to-destination 10.0.0.1:1",),
        ChainKey("filter (legacy)", "FORWARD"): ("-p udp -j DROP",),
    }
    own = chains(nat_PREROUTING=("-p tcp -j DNAT --to-destination 10.0.0.2:2",), filter_FORWARD=("-p udp -j REJECT",))
    first = only(trace(own | other, THROUGH, HOST, variant="legacy"))
    assert (first.endpoint, [s.table for s in first.steps]) == ("10.0.0.1:1", ["nat (legacy)"])
    second = only(trace(own | other, msgspec.structs.replace(THROUGH, dport=81), HOST, variant="legacy"))
    assert (second.endpoint, [s.table for s in second.steps]) == ("10.0.0.2:2", ["nat"])
    datagram = msgspec.structs.replace(THROUGH, protocol="udp")
    assert only(trace(own | other, datagram, HOST, variant="legacy")).verdict == "dropped"
    assert only(trace(own | other, datagram, HOST)).verdict == "rejected"
    policy = {ChainKey("filter (legacy)", "FORWARD"): "DROP"}
    assert only(trace(own, THROUGH, HOST, policy, "legacy")).verdict == "dropped"
