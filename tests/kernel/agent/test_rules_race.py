"""A stranger who writes rules in the very moment in which ours are written is noticed, and what he broke is mended."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from k8snetlab.agent.rules import RulesKeeper
from k8snetlab.dataplane.rules import ChainKey, Hook, RuleDelta, Rules, RuleSet
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import iptables
from k8snetlab.kernel.iptables import Iptables, command

Make = Callable[..., str]

SERVICES, SVC, MARK = (ChainKey("nat", f"KUBE-{x}") for x in ("SERVICES", "SVC-AAAAAAAAAAAAAAAA", "MARK-MASQ"))
HOOK = Hook("nat", "PREROUTING", "-j KUBE-SERVICES")
MARKING: Rules = ("-j MARK --set-xmark 0x4000/0x4000",)


def wanted(address: str) -> RuleSet:
    chains: dict[ChainKey, Rules] = {
        SERVICES: (f"-d {address}/32 -p tcp -m tcp --dport 80 -j {SVC.chain}",),
        SVC: ("-j KUBE-MARK-MASQ",),
        MARK: MARKING,
        ChainKey("mangle", "KUBE-PROXY-CANARY"): (),
    }
    return RuleSet("ipv4", chains, ("KUBE-",), (HOOK,))


def delta(address: str) -> RuleDelta:
    return RuleDelta("ipv4", {SERVICES: wanted(address).chains[SERVICES]})


@pytest.fixture(params=["nft", "legacy"])
def table(request: pytest.FixtureRequest, namespace: Make, tmp_path: Path) -> Iptables:
    return iptables.open(namespace(), "ipv4", request.param, tmp_path / "ours.lock")


def stranger(table: Iptables, *words: str) -> None:
    """Someone with a lock of his own, as whoever types iptables inside a node is."""
    argv = ["ip", "netns", "exec", table.namespace, f"iptables-{table.variant}", "-w", "-t", "nat", *words]
    subprocess.run(argv, check=False, env=os.environ | {"XTABLES_LOCKFILE": f"{table.lockfile}.his"})


def settle(keeper: RulesKeeper, address: str) -> None:
    """As the agent's ticks would: until nothing is seen that others did."""
    for _ in range(5):
        if not keeper.foreign_change():
            return
        keeper.sync((wanted(address),), RuleDelta("ipv4", {}))
    raise AssertionError("the rules never come to rest")


@pytest.mark.parametrize("full", [False, True], ids=["incremental", "full"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_one_who_comes_right_before_or_after_our_write_is_noticed(
    table: Iptables, monkeypatch: pytest.MonkeyPatch, moment: str, full: bool
) -> None:
    keeper = RulesKeeper(table)
    keeper.sync((wanted("10.96.0.1"),))
    settle(keeper, "10.96.0.1")
    restore = command.restore

    def disturbed(namespace: str, argv: Sequence[str], lockfile: Path, text: Iterable[str]) -> None:
        if moment == "before":
            stranger(table, "-F", MARK.chain)
        restore(namespace, argv, lockfile, text)
        if moment == "after":
            stranger(table, "-F", MARK.chain)

    with monkeypatch.context() as patch:
        patch.setattr(command, "restore", disturbed)
        keeper.sync((wanted("10.96.0.2"),), None if full else delta("10.96.0.2"))
    assert table.save()[MARK] == ()
    assert keeper.foreign_change() and keeper.drift() == [f"iptables -t nat: chain {MARK.chain} is not as it should be"]
    settle(keeper, "10.96.0.2")
    held = table.save()
    assert held[MARK] == MARKING and "10.96.0.2/32" in held[SERVICES][0]


@pytest.mark.parametrize("seed", range(3))
def test_in_a_race_ours_stand_in_the_end(table: Iptables, seed: int) -> None:
    chance, keeper = random.Random(seed), RulesKeeper(table)
    keeper.sync((wanted("10.96.0.1"),))
    settle(keeper, "10.96.0.1")
    for round_ in range(12):
        address = f"10.96.1.{round_}"
        pause = chance.random() * 0.01

        def race(pause: float = pause) -> None:
            time.sleep(pause)
            stranger(table, "-F", MARK.chain)

        thread = threading.Thread(target=race)
        thread.start()
        try:
            keeper.sync((wanted(address),), delta(address))
        except command.RestoreRefused:
            assert table.variant == "legacy"  # the kernel saw that the table was replaced meanwhile
        finally:
            thread.join()
        settle(keeper, address)
        held = table.save()
        assert (held[MARK], held[SVC]) == (MARKING, ("-j KUBE-MARK-MASQ",))
        assert f"{address}/32" in held[SERVICES][0]


def test_our_own_writes_are_not_taken_for_anothers(namespace: Make, tmp_path: Path) -> None:
    table = iptables.open(namespace(), "ipv4", "nft", tmp_path / "lock", chunk=2)
    keeper = RulesKeeper(table)
    keeper.sync((wanted("10.96.0.1"),))
    assert not keeper.foreign_change()
    keeper.sync((wanted("10.96.0.2"),), delta("10.96.0.2"))
    assert not keeper.foreign_change()
    stranger(table, "-A", "PREROUTING", "-j", "ACCEPT")
    assert keeper.foreign_change()


def test_a_change_that_could_not_be_read_is_not_forgotten(table: Iptables, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = RulesKeeper(table)
    keeper.sync((wanted("10.96.0.1"),))
    stranger(table, "-F", SVC.chain)
    with monkeypatch.context() as without:
        without.setenv("PATH", "/nonexistent")
        with pytest.raises(K8sNetLabError):
            keeper.sync((wanted("10.96.0.1"),), RuleDelta("ipv4", {}))
    assert keeper.sync((wanted("10.96.0.1"),), RuleDelta("ipv4", {}), trusting=True) == 1
    assert table.save()[SVC] == wanted("10.96.0.1").chains[SVC]
