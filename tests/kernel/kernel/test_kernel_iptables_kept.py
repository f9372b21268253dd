"""Rules that are kept as they were read last: whatever anybody changes is read anew, in both variants."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from k8snetlab.dataplane.rules import ChainKey, RuleDelta
from k8snetlab.kernel import iptables, netns
from k8snetlab.kernel.iptables import Variant, command, kept, saved
from k8snetlab.kernel.iptables.nft import NftIptables
from k8snetlab.kernel.iptables.saved import Saved

Make = Callable[..., str]
WEB, NODE = ChainKey("nat", "KUBE-SVC-WEB"), ChainKey("filter", "KUBE-FORWARD")
RULES = RuleDelta("ipv4", {WEB: ("-p tcp -j RETURN", "-p udp -j RETURN"), NODE: ("-m mark --mark 0x4000 -j ACCEPT",)})
BY_HAND = (
    "-t nat -I KUBE-SVC-WEB 1 -s 10.0.0.1 -j RETURN",
    "-t nat -R KUBE-SVC-WEB 1 -s 10.0.0.2 -j RETURN",
    "-t nat -D KUBE-SVC-WEB 1",
    "-t filter -P FORWARD DROP",
    "-t filter -A FORWARD -j KUBE-FORWARD",
    "-t mangle -N MINE",
    "-t filter -F",
)


def by_hand(namespace: str, variant: Variant, lock: Path, words: str) -> None:
    argv = ["ip", "netns", "exec", namespace, f"iptables-{variant}", "-w", *words.split()]
    subprocess.run(argv, check=True, env=os.environ | {"XTABLES_LOCKFILE": str(lock)})


def printed(namespace: str, variant: Variant, lock: Path) -> Saved:
    """What the program itself says."""
    return saved.everything(iptables.held(namespace, "ipv4", variant, lock))


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_whatever_is_changed_by_hand_is_read(namespace: Make, tmp_path: Path, variant: Variant) -> None:
    name, lock = namespace(), tmp_path / "lock"
    read = partial(iptables.rules, name, "ipv4", variant, lock)
    assert read() == kept.NOTHING
    table = iptables.open(name, "ipv4", variant, lock)
    table.apply(RULES)
    for words in BY_HAND:
        before = read()
        assert (before.chains, before.policies) == printed(name, variant, lock)[:2]
        by_hand(name, variant, lock, words)
        after = read()
        assert (after.chains, after.policies) == printed(name, variant, lock)[:2]
        assert (after.chains, after.policies) != (before.chains, before.policies), words
    table.close()


def test_a_rule_that_nft_itself_takes_away_is_missing(namespace: Make, tmp_path: Path) -> None:
    name, lock = namespace(), tmp_path / "lock"
    iptables.open(name, "ipv4", "nft", lock).apply(RULES)
    assert len(iptables.rules(name, "ipv4", "nft", lock).chains[WEB]) == 2
    subprocess.run(["ip", "netns", "exec", name, "nft", "flush", "chain", "ip", *WEB], check=True)
    assert iptables.rules(name, "ipv4", "nft", lock).chains[WEB] == ()


def test_what_nobody_has_changed_is_read_without_a_program(
    namespace: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, lock = namespace(), tmp_path / "lock"
    iptables.open(name, "ipv4", "nft", lock).apply(RULES)
    table = NftIptables(name, "ipv4", lock)
    if not table.cookie():
        pytest.skip("this kernel gives namespaces no cookie (before Linux 5.14): rules are read each time")
    first = iptables.rules(name, "ipv4", "nft", lock)
    monkeypatch.setenv("PATH", str(tmp_path))  # there is no iptables-save any more
    assert iptables.rules(name, "ipv4", "nft", lock) == first
    assert first.chains[WEB] == RULES.write[WEB]


def test_another_namespace_of_the_same_name_is_read_for_itself(namespace: Make, tmp_path: Path) -> None:
    name, lock = namespace(), tmp_path / "lock"
    for rules in (("-p tcp -j RETURN",), ("-p udp -j RETURN",)):
        with_table = NftIptables(name, "ipv4", lock)
        with_table.apply(RuleDelta("ipv4", {WEB: rules}))
        generation = with_table.generation()
        with_table.close()
        assert iptables.rules(name, "ipv4", "nft", lock).chains[WEB] == rules
        netns.delete(name)
        netns.create(name)
    assert generation > 1


def test_no_more_rules_are_kept_than_there_is_room_for(
    namespace: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST", 4)
    names = [namespace(), namespace()]
    for name in names:
        iptables.open(name, "ipv4", "nft", tmp_path / "lock").apply(RULES)
        assert len(iptables.rules(name, "ipv4", "nft", tmp_path / "lock").chains[WEB]) == 2
    assert sum(one.rules for one in kept._held.values()) <= 4
    assert iptables.rules(names[0], "ipv4", "nft", tmp_path / "lock").chains[WEB] == RULES.write[WEB]


def _packet(namespace: str, payload: bytes = b"x") -> None:
    with netns.inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(payload, ("127.0.0.1", 9))


def test_counters_are_what_the_program_tells_and_need_no_program(
    namespace: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, lock = namespace(), tmp_path / "lock"
    table = NftIptables(name, "ipv4", lock)
    if not table.cookie():
        pytest.skip("this kernel gives namespaces no cookie (before Linux 5.14): rules are read each time")
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    started: list[str] = []
    real = command.output

    def told_of(namespace: str, argv: Sequence[str], lockfile: Path) -> str:
        started.append(argv[0])
        return real(namespace, argv, lockfile)

    monkeypatch.setattr(command, "output", told_of)
    table.apply(RULES)
    for words in ("-t filter -A OUTPUT -p udp -m comment --comment counter", "-t filter -A OUTPUT -j KUBE-FORWARD"):
        by_hand(name, "nft", lock, words)
    for payload in (b"x", b"x" * 1000):
        _packet(name, payload)
        started.clear()
        told = iptables.counted(name, "ipv4", "nft", lock)
        programs = list(started)
        assert told == printed(name, "nft", lock)
    assert not programs, "the second time only the kernel was asked"
    packets, octets = told.counters[ChainKey("filter", "OUTPUT")][0]
    assert packets == 2 and octets == 1001 + 2 * 28


def test_a_rule_without_a_counter_has_the_program_asked(namespace: Make, tmp_path: Path) -> None:
    name, lock = namespace(), tmp_path / "lock"
    iptables.open(name, "ipv4", "nft", lock).apply(RULES)
    subprocess.run(["ip", "netns", "exec", name, "nft", "add", "rule", "ip", *WEB, "drop"], check=True)
    for _ in range(2):
        assert len(iptables.counted(name, "ipv4", "nft", lock).counters[WEB]) == 3
