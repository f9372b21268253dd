"""Both variants of iptables in real namespaces."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from k8snetlab.dataplane.rules import ChainKey, Hook, RuleDelta
from k8snetlab.errors import InputError, KernelError, NotFoundError
from k8snetlab.kernel import iptables, netns
from k8snetlab.kernel.iptables import Iptables, Variant
from k8snetlab.kernel.iptables.legacy import LegacyIptables
from k8snetlab.testing import eventually

Make = Callable[..., str]

SERVICES, SVC, SEP = (
    ChainKey("nat", f"KUBE-{x}") for x in ("SERVICES", "SVC-AAAAAAAAAAAAAAAA", "SEP-AAAAAAAAAAAAAAAA")
)
MARK = ChainKey("nat", "KUBE-MARK-MASQ")
CHAINS = {
    SERVICES: (
        f'-d 10.254.80.22/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j {SVC.chain}',
    ),
    SVC: (
        '! -s 172.30.0.0/16 -d 10.254.80.22/32 -p tcp -m comment --comment "say \\"hi\\" -j X" -j KUBE-MARK-MASQ',
        "-m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-AAAAAAAAAAAAAAAA",
        '-m comment --comment "default/web -> 172.30.76.2:8080" -j KUBE-SEP-AAAAAAAAAAAAAAAA',
    ),
    SEP: (
        '-s 172.30.76.2/32 -m comment --comment "default/web" -j KUBE-MARK-MASQ',
        '-p tcp -m comment --comment "default/web" -m tcp -j DNAT --to-destination 172.30.76.2:8080',
    ),
    MARK: ("-j MARK --set-xmark 0x4000/0x4000",),
    ChainKey("filter", "KUBE-FORWARD"): (
        '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
        "-i cni0 -o eth+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ),
}
HOOKS = (
    Hook("nat", "PREROUTING", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
    Hook("nat", "OUTPUT", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
    Hook("filter", "FORWARD", '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD'),
)
ALL = RuleDelta("ipv4", CHAINS, (), HOOKS)


@pytest.fixture(params=["nft", "legacy"])
def table(request: pytest.FixtureRequest, namespace: Make, tmp_path: Path) -> Iptables:
    return iptables.open(namespace(), "ipv4", request.param, tmp_path / "xtables.lock")


def test_it_knows_what_program_and_kernel_can_match_and_changes_nothing(table: Iptables) -> None:
    chain = ChainKey("filter", "KUBE-TRIAL")
    assert table.knows(RuleDelta("ipv4", {chain: ("-m comment --comment x -j ACCEPT",)}))
    assert not table.knows(RuleDelta("ipv4", {chain: ("-m nosuch -j ACCEPT",)}))
    if not Path("/proc/net/ip_vs").exists():
        assert not table.knows(RuleDelta("ipv4", {chain: ("-m ipvs --ipvs -j ACCEPT",)})), (
            "the kernel has no such match"
        )
    assert chain not in table.save()


def by_hand(table: Iptables, *words: str) -> None:
    argv = ["ip", "netns", "exec", table.namespace, f"iptables-{table.variant}", "-w", *words]
    subprocess.run(argv, check=True, env=os.environ | {"XTABLES_LOCKFILE": str(table.lockfile)})


def jumps(table: Iptables) -> list[str]:
    return [rule for key, rules in table.save().items() if not key.chain.startswith("KUBE-") for rule in rules]


def test_what_was_applied_is_what_is_saved(table: Iptables) -> None:
    assert table.save() == {}
    table.apply(ALL)
    held = table.save()
    assert {key: held[key] for key in CHAINS} == CHAINS
    assert sorted(jumps(table)) == sorted(hook.rule for hook in HOOKS)


def test_applying_twice_puts_no_jump_in_twice(table: Iptables) -> None:
    table.apply(ALL)
    once = table.save()
    table.apply(ALL)
    assert table.save() == once


def test_a_jump_worded_otherwise_is_recognised(table: Iptables) -> None:
    table.apply(RuleDelta("ipv4", {MARK: CHAINS[MARK]}))
    by_hand(table, "-t", "nat", "-A", "PREROUTING", "-d", "10.0.0.1", "-p", "tcp", "--dport", "80", "-j", MARK.chain)
    before = table.save()
    same = Hook("nat", "PREROUTING", f"-p tcp -m tcp --dport 80 -d 10.0.0.1 -j {MARK.chain}")
    table.apply(RuleDelta("ipv4", {}, (), (same,)))
    assert table.save() == before
    table.apply(RuleDelta("ipv4", {}, (), (Hook("nat", "PREROUTING", f"-j {MARK.chain}", prepend=False),)))
    assert table.save()[ChainKey("nat", "PREROUTING")][1:] == (f"-j {MARK.chain}",)


def test_prepended_jumps_stand_before_those_of_others_and_appended_ones_after(table: Iptables) -> None:
    by_hand(table, "-A", "FORWARD", "-j", "ACCEPT")
    key = ChainKey("filter", "KUBE-FORWARD")
    table.apply(
        RuleDelta(
            "ipv4",
            {key: CHAINS[key]},
            (),
            (Hook("filter", "FORWARD", "-j KUBE-FORWARD"), Hook("filter", "FORWARD", "-i eth9 -j KUBE-FORWARD", False)),
        )
    )
    found = table.save()[ChainKey("filter", "FORWARD")]
    assert found == ("-j KUBE-FORWARD", "-j ACCEPT", "-i eth9 -j KUBE-FORWARD")


def test_a_written_chain_holds_its_new_rules_only_and_others_are_untouched(table: Iptables) -> None:
    table.apply(ALL)
    by_hand(table, "-t", "nat", "-N", "MY-CHAIN")
    by_hand(table, "-t", "nat", "-A", "MY-CHAIN", "-s", "198.51.100.1", "-j", "ACCEPT")
    by_hand(table, "-t", "nat", "-A", "POSTROUTING", "-j", "MY-CHAIN")
    before = table.save()
    table.apply(RuleDelta("ipv4", {SVC: ("-j KUBE-SEP-AAAAAAAAAAAAAAAA",)}))
    assert table.save() == before | {SVC: ("-j KUBE-SEP-AAAAAAAAAAAAAAAA",)}


def test_chains_are_deleted_with_the_jumps_that_others_made_to_them(table: Iptables) -> None:
    table.apply(ALL)
    by_hand(table, "-t", "nat", "-N", "MY-CHAIN")
    by_hand(table, "-t", "nat", "-A", "MY-CHAIN", "-s", "198.51.100.1", "-j", "KUBE-MARK-MASQ")
    by_hand(table, "-t", "nat", "-A", "MY-CHAIN", "-j", "RETURN")
    table.apply(RuleDelta("ipv4", {SERVICES: ()}, (SVC, SEP)))
    assert SVC not in table.save() and SEP not in table.save()
    table.apply(RuleDelta("ipv4", {}, (SERVICES, MARK)))
    held = table.save()
    assert not {SERVICES, MARK} & set(held)
    assert held[ChainKey("nat", "MY-CHAIN")] == ("-j RETURN",)
    assert held[ChainKey("nat", "PREROUTING")] == ()


def test_remove_leaves_what_is_not_ours(table: Iptables) -> None:
    by_hand(table, "-A", "FORWARD", "-s", "198.51.100.1", "-j", "DROP")
    table.apply(ALL)
    table.remove(("KUBE-", "FLANNEL-"))
    table.remove(("KUBE-", "FLANNEL-"))
    assert {key: rules for key, rules in table.save().items() if rules} == {
        ChainKey("filter", "FORWARD"): ("-s 198.51.100.1/32 -j DROP",)
    }
    assert not [key for key in table.save() if key.chain.startswith("KUBE-")]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("-p tcp -m tcp --dport 99999 -j ACCEPT", "99999"),
        ("-m nosuchmatch -j ACCEPT", "nosuchmatch"),
        ("-j KUBE-NOT-THERE", "KUBE-NOT-THERE"),
        ("-p tcp -m tcp -j DNAT --to-destination not-an-address:80", "not-an-address"),
    ],
)
def test_a_refused_rule_is_quoted_and_the_old_rules_stay(table: Iptables, rule: str, said: str) -> None:
    table.apply(ALL)
    before = table.save()
    with pytest.raises(KernelError) as refused:
        table.apply(RuleDelta("ipv4", {SERVICES: (), SEP: (rule,)}))
    assert f"-A {SEP.chain} {rule}" in refused.value.message
    assert said in refused.value.message
    assert table.namespace in refused.value.message
    assert table.save() == before


def test_counters_are_those_of_each_rule(table: Iptables) -> None:
    subprocess.run(["ip", "-n", table.namespace, "link", "set", "lo", "up"], check=True)
    key = ChainKey("filter", "KUBE-FORWARD")
    rules = ("-p tcp -j ACCEPT", "-p udp -m udp --dport 7 -j ACCEPT", "-p udp -j ACCEPT")
    table.apply(RuleDelta("ipv4", {key: rules}, (), (Hook("filter", "OUTPUT", "-j KUBE-FORWARD"),)))
    with netns.inside(table.namespace):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for _ in range(5):
            sender.sendto(b"x" * 72, ("127.0.0.1", 9))
    counted = table.counters()
    assert counted[key] == ((0, 0), (0, 0), (5, 500))
    assert counted[ChainKey("filter", "OUTPUT")][0][0] >= 5
    assert {key: len(found) for key, found in counted.items()} == {
        key: len(found) for key, found in table.save().items()
    }


def test_the_generation_changes_with_every_change_and_with_nothing_else(table: Iptables) -> None:
    subprocess.run(["ip", "-n", table.namespace, "link", "set", "lo", "up"], check=True)
    seen = [table.generation()]
    table.apply(ALL)
    seen.append(table.generation())
    table.save(), table.counters()
    with netns.inside(table.namespace):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.sendto(b"x", ("127.0.0.1", 9))
    assert table.generation() == seen[-1]
    by_hand(table, "-t", "nat", "-R", SEP.chain, "1", "-s", "172.30.76.3", "-j", "KUBE-MARK-MASQ")
    seen.append(table.generation())
    by_hand(table, "-t", "nat", "-F", SEP.chain)
    seen.append(table.generation())
    by_hand(table, "-t", "mangle", "-A", "FORWARD", "-j", "ACCEPT")
    seen.append(table.generation())
    assert len(set(seen)) == 5


def test_what_the_generation_is_asked_with_keeps_no_namespace_that_is_let_go(table: Iptables) -> None:
    """Told by one end of a veth, which goes when the namespace of the other does."""
    other = f"{table.namespace}.other"
    netns.create(other)
    try:
        veth = ("link", "add", "stays", "netns", other, "type", "veth", "peer", "name", "goes")
        subprocess.run(["ip", "-n", table.namespace, *veth], check=True)
        table.generation()
        netns.delete(table.namespace)
        assert not _within(0.5, lambda: not _has(other, "stays")), "the question's socket is still open"
        table.close()
        eventually(lambda: not _has(other, "stays"))
        with pytest.raises(NotFoundError):
            table.generation()
    finally:
        netns.delete(other)


def _has(name: str, device: str) -> bool:
    return not subprocess.run(["ip", "-n", name, "link", "show", device], capture_output=True).returncode


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.02)
    return False


def open_files() -> list[Path]:
    return [*Path("/proc/self/fd").iterdir()]


def test_one_that_nobody_holds_lets_go_by_itself(namespace: Make, tmp_path: Path) -> None:
    before = len(open_files())
    for variant in ("nft", "legacy"):
        held = iptables.open(namespace(), "ipv4", variant, tmp_path / "lock")
        held.generation()
        assert len(open_files()) > before
        del held
        assert len(open_files()) == before


@pytest.mark.parametrize(("pace", "noticed"), [(1e9, False), (0.0, True)])
def test_of_many_rules_the_number_tells_at_once_and_the_words_in_their_time(
    namespace: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pace: float, noticed: bool
) -> None:
    monkeypatch.setattr("k8snetlab.kernel.iptables.legacy.SMALL", 0)
    monkeypatch.setattr("k8snetlab.kernel.iptables.legacy.PACE", pace)
    table = iptables.open(namespace(), "ipv4", "legacy", tmp_path / "lock")
    table.apply(ALL)
    seen = table.generation()
    assert table.generation() == seen
    same_size = CHAINS[SEP][0].replace("172.30.76.2", "172.30.76.3").replace('"', "").split()
    by_hand(table, "-t", "nat", "-R", SEP.chain, "1", *same_size)
    assert (table.generation() != seen) is noticed
    seen = table.generation()
    by_hand(table, "-t", "nat", "-F", SEP.chain)
    assert table.generation() != seen


def test_one_rule_is_deleted_by_its_number(table: Iptables) -> None:
    table.apply(ALL)
    table.delete_rule(SVC, 2)
    assert table.save()[SVC] == (CHAINS[SVC][0], CHAINS[SVC][2])
    with pytest.raises(KernelError, match="Index of deletion too big"):
        table.delete_rule(SVC, 9)


def many(services: int, endpoints: int) -> RuleDelta:
    chains: dict[ChainKey, tuple[str, ...]] = {SERVICES: ()}
    for s in range(services):
        seps = [ChainKey("nat", f"KUBE-SEP-{s:04d}{e:04d}") for e in range(endpoints)]
        svc = ChainKey("nat", f"KUBE-SVC-{s:04d}")
        chains[SERVICES] += (f"-d 10.254.{s // 200}.{s % 200}/32 -p tcp -m tcp --dport 80 -j {svc.chain}",)
        chains[svc] = tuple(f"-j {sep.chain}" for sep in seps)
        for e, sep in enumerate(seps):
            chains[sep] = (f"-p tcp -m tcp -j DNAT --to-destination 172.30.{s % 200}.{e + 1}:80",)
    return RuleDelta("ipv4", chains, (), HOOKS[:2])


def test_a_big_delta_comes_and_goes(table: Iptables) -> None:
    big = many(150, 3)
    table.apply(big)
    held = table.save()
    assert {key: held[key] for key in big.write} == dict(big.write)
    gone = tuple(key for key in big.write if key != SERVICES)
    table.apply(RuleDelta("ipv4", {SERVICES: ()}, gone))
    assert [key.chain for key in table.save() if key.chain.startswith("KUBE-")] == ["KUBE-SERVICES"]
    table.apply(big)
    table.remove(("KUBE-",))
    assert not [key for key in table.save() if key.chain.startswith("KUBE-")]


def test_ipv6_has_tables_of_its_own(namespace: Make, tmp_path: Path) -> None:
    name = namespace()
    for variant in ("nft", "legacy"):
        table = iptables.open(name, "ipv6", variant, tmp_path / "lock")
        before = table.generation()
        rule = "-s fd00::/64 -p tcp -m tcp --dport 80 -j ACCEPT"
        key = ChainKey("filter", "KUBE-FORWARD")
        table.apply(RuleDelta("ipv6", {key: (rule,)}, (), (Hook("filter", "FORWARD", "-j KUBE-FORWARD"),)))
        assert table.save()[key] == (rule,)
        assert table.counters()[key] == ((0, 0),)
        assert table.generation() != before
        assert iptables.open(name, "ipv4", table.variant, tmp_path / "lock").save().get(key) is None


def test_python_iptables_reads_what_iptables_legacy_save_prints(namespace: Make, tmp_path: Path) -> None:
    table = iptables.open(namespace(), "ipv4", "legacy", tmp_path / "lock")
    assert isinstance(table, LegacyIptables)
    table.apply(ALL)
    odd = ChainKey("filter", "KUBE-ODD")
    rules = (
        "-d 127.0.0.0/8 ! -i lo -j DROP",
        "! -s 10.0.0.0/8 -p udp -m udp --sport 53 -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-m addrtype --dst-type LOCAL -g KUBE-FORWARD",
        "! -p icmp -m conntrack --ctstate INVALID -j REJECT --reject-with icmp-port-unreachable",
        "-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-X --mask 255.255.255.255 --rsource -j ACCEPT",
        "",
    )
    table.apply(RuleDelta("ipv4", {odd: rules}))
    saved = table.save()
    assert len(saved[odd]) == len(rules)
    for key, expected in saved.items():
        assert table.chain(key) == expected, key
    with pytest.raises(KeyError):
        table.chain(ChainKey("filter", "KUBE-NONE"))
    with pytest.raises(KeyError):
        table.chain(ChainKey("raw", "PREROUTING"))


def test_python_iptables_reads_many_namespaces_from_many_threads(namespace: Make, tmp_path: Path) -> None:
    import threading

    opened = [iptables.open(namespace(), "ipv4", "legacy", tmp_path / f"lock{i}") for i in range(4)]
    for number, table in enumerate(opened):
        table.apply(RuleDelta("ipv4", {SERVICES: tuple("-j RETURN" for _ in range(number + 1))}))
    wrong: list[str] = []

    def work(number: int, table: Iptables) -> None:
        for _ in range(20):
            if len(table.counters()[SERVICES]) != number + 1:
                wrong.append(table.namespace)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(opened)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_variant_is_the_machines_own_or_the_one_asked_for() -> None:
    said = subprocess.run(["iptables", "--version"], capture_output=True, text=True, check=True).stdout
    own: Variant = "nft" if "nf_tables" in said else "legacy"
    assert iptables.variant() == iptables.variant("auto") == own
    assert iptables.variant("legacy") == "legacy"
    with pytest.raises(InputError):
        iptables.variant("ebtables")


def test_two_variants_in_one_namespace_are_noticed(namespace: Make, tmp_path: Path) -> None:
    name = namespace()
    nft, legacy = (iptables.open(name, "ipv4", v, tmp_path / "lock") for v in ("nft", "legacy"))
    assert not iptables.mixed(name)
    legacy.apply(ALL)
    assert not iptables.mixed(name)
    nft.apply(ALL)
    assert iptables.mixed(name)
    legacy.remove(("KUBE-",))
    assert not iptables.mixed(name)
