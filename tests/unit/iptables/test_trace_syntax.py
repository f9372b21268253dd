"""Reading rules: both ways to write one are one, and nothing unknown is passed over."""

from __future__ import annotations

import pytest
from golden import CASES, chains, snapshot

from k8snetlab.iptables.patch import same
from k8snetlab.iptables.syntax import Match, RuleSyntaxError, Target, canonical, parse
from k8snetlab.render.proxy import ProxyRules


def test_a_rule_of_kube_proxy() -> None:
    rule = parse(
        '-m comment --comment "default/web:http cluster IP" -m tcp -p tcp -d 10.96.0.10 --dport 80'
        " ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ"
    )
    assert rule.comment == "default/web:http cluster IP"
    assert rule.matches == (
        Match("protocol", "tcp"),
        Match("destination", "10.96.0.10/32"),
        Match("dport", "80"),
        Match("source", "10.244.0.0/16", negated=True),
    )
    assert rule.target == Target("KUBE-MARK-MASQ")


@pytest.mark.parametrize(
    ("written", "saved"),
    [
        ("-m tcp -p tcp -d 10.96.0.1 --dport 80 -j X", "-d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j X"),
        (
            "-m statistic --mode random --probability 0.3333333333",
            "-m statistic --mode random --probability 0.33333333349",
        ),
        ("-m statistic --mode random --probability 0.33333", "-m statistic --mode random --probability 0.33332999982"),
        ("-j MARK --or-mark 0x00004000", "-j MARK --set-xmark 0x4000/0x4000"),
        ("-j MARK --xor-mark 0x00004000", "-j MARK --set-xmark 0x4000/0x0"),
        ("-m mark ! --mark 0x00004000/0x00004000 -j RETURN", "-m mark ! --mark 0x4000/0x4000 -j RETURN"),
        ("-j REJECT", "-j REJECT --reject-with icmp-port-unreachable"),
        ("-j REJECT", "-j REJECT --reject-with icmp6-port-unreachable"),
        (
            "-m recent --name A --rcheck --seconds 60 --reap -j X",
            "-m recent --rcheck --seconds 60 --reap --name A --mask 255.255.255.255 --rsource -j X",
        ),
        (
            "-m recent --name A --set -m tcp -p tcp -j DNAT --to-destination 1.1.1.1:8",
            "-p tcp -m recent --set --name A --rsource -m tcp -j DNAT --to-destination 1.1.1.1:8",
        ),
        ("-m conntrack --ctstate RELATED,ESTABLISHED -j X", "-m conntrack --ctstate ESTABLISHED,RELATED -j X"),
        ("-m comment --comment default/web -j X", '-m comment --comment "default/web" -j X'),
        ("! -d ::1/128 -j X", "! -d 0::1 -j X"),
    ],
)
def test_written_and_saved_forms_are_one(written: str, saved: str) -> None:
    assert canonical(written) == canonical(saved)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-s 10.0.0.1 -j X", "-d 10.0.0.1 -j X"),
        ("-s 10.0.0.1 -j X", "! -s 10.0.0.1 -j X"),
        ("-j X", "-g X"),
        ("-j MASQUERADE", "-j MASQUERADE --random-fully"),
        ("-m recent --name A --set -j X", "-m recent --name B --set -j X"),
        ("-m comment --comment a -j X", "-m comment --comment b -j X"),
        ("-m nfacct --nfacct-name n -j DROP", "-j DROP"),
        ("-j MARK --or-mark 0x4000", "-j MARK --set-mark 0x4000"),
    ],
)
def test_different_rules_differ(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    "rule",
    [
        "-m hashlimit --hashlimit-upto 3/s -j ACCEPT",
        "-m set --match-set allowed src,dst -j ACCEPT",
        "-m tcp -p tcp --tcp-flags SYN,NUL SYN -j DROP",
        "-j ULOG --ulog-prefix x",
        "-j KUBE-SVC-X --bogus",
        "-d name.example -j X",
        "-d",
        '-m comment --comment "open',
        "-m statistic --mode nth --every 2 -j X",
        "-m addrtype --dst-type MULTICAST -j X",
        "-m conntrack --ctstate NOVEL -j X",
        "! -j X",
        "--dport http -j X",
        "-m recent --update --name A -j X",
        "-j MARK --set-mark none",
    ],
)
def test_the_unknown_is_refused(rule: str) -> None:
    with pytest.raises(RuleSyntaxError, match="cannot read the iptables rule"):
        parse(rule)


def test_any_address_is_no_condition() -> None:
    assert canonical("-s 0.0.0.0/0 -p tcp -j X") == canonical("-p tcp -j X")
    assert canonical("-d ::/0 -j X") == canonical("-j X")
    assert canonical("! -s 0.0.0.0/0 -j X") != canonical("-j X")


@pytest.mark.parametrize(
    ("ours", "saved"),
    [
        ("-s 10.244.0.70 -j KUBE-MARK-MASQ", "-s 10.244.0.70/32 -j KUBE-MARK-MASQ"),
        ("-s fd00::7 -j KUBE-MARK-MASQ", "-s fd00::7/128 -j KUBE-MARK-MASQ"),
        ("-m tcp -p tcp -j DNAT --to-destination 10.0.0.1:80", "-p tcp -m tcp -j DNAT --to-destination 10.0.0.1:80"),
        (
            "-m statistic --mode random --probability 0.1111111111 -j X",
            "-m statistic --mode random --probability 0.11111111101 -j X",
        ),
        (
            '-m comment --comment "a b" -m udp -p udp -d 10.96.0.1 --dport 53 -j X',
            '-d 10.96.0.1/32 -p udp -m comment --comment "a b" -m udp --dport 53 -j X',
        ),
    ],
)
def test_what_iptables_save_prints_is_the_same_rule(ours: str, saved: str) -> None:
    assert canonical(ours) == canonical(saved)
    assert same(ours, saved) and same(saved, ours)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-s 10.244.0.70 -j X", "-s 10.244.0.7/32 -j X"),
        ("-s 10.244.0.7 -j X", "-s 10.244.0.0/24 -j X"),
        ("-s 10.244.0.7 ! -d 10.0.0.1 -j X", "! -s 10.244.0.7 -d 10.0.0.1 -j X"),
        ("-m tcp -p tcp --dport 80 -j X", "-p udp -m udp --dport 80 -j X"),
        (
            "-m statistic --mode random --probability 0.3333333333 -j X",
            "-m statistic --mode random --probability 0.25 -j X",
        ),
        ("-j X", "-g X"),
    ],
)
def test_other_rules_are_not_the_same(one: str, other: str) -> None:
    assert not same(one, other)


def test_a_rule_that_cannot_be_read_is_only_like_itself() -> None:
    unknown = "-m hashlimit --hashlimit-upto 3/s -j ACCEPT"
    assert canonical(unknown) == unknown and same(unknown, unknown)
    assert not same(unknown, "-j ACCEPT") and not same("-j ACCEPT", unknown)


def test_a_comment_with_quotes_and_backslashes_is_read_as_written() -> None:
    assert parse(r'-m comment --comment "say \"hi\" \\ there" -j X').comment == 'say "hi" \\ there'


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_rule_of_real_kube_proxy_is_read(case) -> None:  # type: ignore[no-untyped-def]
    for rules in chains((case / "iptables-restore.in").read_text()).values():
        for rule in rules:
            parse(rule)
    for hook in ProxyRules.build(snapshot(case), "node-a", "ipv4").ruleset.hooks:
        parse(hook.rule)
