"""Rules that one namespace got from iptables, and another from the first one's kernel: no difference can be found."""

from __future__ import annotations

import itertools
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from k8snetlab.dataplane.rules import ChainKey, Family, RuleDelta, Rules
from k8snetlab.dataplane.sets import IPSet
from k8snetlab.kernel import ipsets, netns
from k8snetlab.kernel.iptables import command, copies
from k8snetlab.kernel.iptables.nft import NftIptables
from k8snetlab.kernel.iptables.payload import Payload
from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import FAMILIES, Nfnetlink

Make = Callable[..., str]
SERVICE = ChainKey("nat", "KUBE-SVC-AAAAAAAAAAAAAAAA")
MARK = ChainKey("nat", "KUBE-MARK-MASQ")
COMMON = RuleDelta("ipv4", {MARK: ("-j MARK --or-mark 0x4000",)})


def endpoint(number: int) -> ChainKey:
    return ChainKey("nat", f"KUBE-SEP-{number:016d}")


def service(endpoints: int, family: Family = "ipv4", affinity: bool = False, gone: tuple[int, ...] = ()) -> RuleDelta:
    """A Service's chains as kube-proxy writes them."""
    write: dict[ChainKey, Rules] = {}
    for number in range(endpoints):
        ip = f"10.1.{number // 250}.{number % 250 + 1}" if family == "ipv4" else f"fd00::{number + 1:x}"
        recent = f"-m recent --name {endpoint(number).chain} --set " if affinity else ""
        target = f"{ip}:8080" if family == "ipv4" else f"[{ip}]:8080"
        write[endpoint(number)] = (
            f'-m comment --comment "default/web:http" -s {ip} -j {MARK.chain}',
            f'-m comment --comment "default/web:http" {recent}-m tcp -p tcp -j DNAT --to-destination {target}',
        )
    there = [number for number in range(endpoints) if number not in gone]
    rows = [f'-m comment --comment "cluster IP" -m tcp -p tcp --dport 80 ! -s 10.0.0.0/8 -j {MARK.chain}']
    rows[:] = rows if family == "ipv4" else [f"! -p udp -m addrtype --src-type LOCAL -j {MARK.chain}"]
    for left, number in zip(range(len(there), 0, -1), there, strict=True):
        chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        rows.append(f"{chance}-j {endpoint(number).chain}")
    write[SERVICE] = tuple(rows)
    return RuleDelta(family, write)


@pytest.fixture
def restores(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The namespaces that iptables wrote into, in turn."""
    into: list[str] = []
    real = command.restore

    def restore(namespace: str, argv: list[str], lockfile: Path, text: Iterator[str]) -> None:
        into.append(namespace)
        real(namespace, argv, lockfile, text)

    monkeypatch.setattr(command, "restore", restore)
    monkeypatch.setattr(copies, "_flights", {})
    return into


def tables(namespace: Make, tmp_path: Path, family: Family = "ipv4", count: int = 3) -> list[NftIptables]:
    made = [NftIptables(namespace(), family, tmp_path / "xtables.lock") for _ in range(count)]
    for one in made:
        one.apply(RuleDelta(family, COMMON.write))
    return made


def as_told(table: NftIptables) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """Table, chain, expressions and user data of all rules, as the kernel tells them, whose counters are at zero."""
    with Nfnetlink(table.namespace) as netfilter:
        told = [attributes(rule) for rule in netfilter.dump(10 << 8 | 7, FAMILIES[table.family])]
    return [(one[1], one[2], one[4], one.get(7, b"")) for one in told]


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("affinity", [False, True])
def test_copies_are_what_iptables_writes(
    namespace: Make, tmp_path: Path, restores: list[str], family: Family, affinity: bool
) -> None:
    first, *others = tables(namespace, tmp_path, family)
    for delta in (service(120, family, affinity), service(121, family, affinity)):
        restores.clear()
        made = [one.apply(delta, {}) for one in (first, *others)]
        assert made == [1, 1, 1]
        assert restores == [first.namespace]
    written = tables(namespace, tmp_path, family, count=1)[0]
    command.restore(
        written.namespace,
        [f"{written._tool}-restore", "--noflush"],
        written.lockfile,
        Payload(service(121, family, affinity)),
    )
    for one in others:
        assert one.save() == written.save()
        assert sorted(as_told(one)) == sorted(as_told(written))


def test_transactions_are_counted_and_chains_that_go_are_deleted(
    namespace: Make, tmp_path: Path, restores: list[str]
) -> None:
    first, *others = tables(namespace, tmp_path)
    for one in (first, *others):
        one.apply(service(250))
    less = service(250, gone=(7, 8))
    delta = RuleDelta("ipv4", {SERVICE: less.write[SERVICE]}, (endpoint(7), endpoint(8)))
    restores.clear()
    for one in (first, *others):
        before = one.generation()
        assert one.alone_since(before, one.apply(delta)) is not None
        assert {endpoint(7), endpoint(8)}.isdisjoint(one.save())
    assert restores == [first.namespace]
    assert others[0].save() == first.save()


def test_counters_begin_at_zero(namespace: Make, tmp_path: Path, restores: list[str]) -> None:
    first, other = tables(namespace, tmp_path, count=2)
    filtered = {ChainKey("filter", "T"): tuple(f"-m comment --comment {n}" for n in range(300))}
    delta = RuleDelta("ipv4", filtered)
    for one in (first, other):
        one.apply(RuleDelta("ipv4", {ChainKey("filter", "T"): ()}))
        argv = ["ip", "netns", "exec", one.namespace]
        subprocess.run([*argv, "iptables-nft", "-A", "OUTPUT", "-j", "T"], check=True)
        subprocess.run([*argv, "ip", "link", "set", "lo", "up"], check=True)

    def restore(table: NftIptables) -> int | None:
        done = super(NftIptables, table)._restore(Payload(delta))
        with netns.inside(table.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", 9))
        return done

    for one in (first, other):
        copies.written(one, delta, partial(restore, one))
    assert all(count for count, _ in first.counters()[ChainKey("filter", "T")])
    assert {count for count, _ in other.counters()[ChainKey("filter", "T")]} == {0}
    assert restores[-1:] == [first.namespace]


def test_what_somebody_else_wrote_is_not_copied(namespace: Make, tmp_path: Path, restores: list[str]) -> None:
    first, other = tables(namespace, tmp_path, count=2)
    delta = service(250)

    def restore(table: NftIptables) -> int | None:
        done = super(NftIptables, table)._restore(Payload(delta))
        if table is first:
            argv = ["ip", "netns", "exec", first.namespace, "iptables-nft", "-t", "nat", "-R", SERVICE.chain, "2"]
            subprocess.run([*argv, "-j", "RETURN"], check=True)
        return done

    for one in (first, other):
        copies.written(one, delta, partial(restore, one))
    assert restores[-2:] == [first.namespace, other.namespace]
    assert "-j RETURN" in first.save()[SERVICE]
    assert "-j RETURN" not in other.save()[SERVICE]


def test_one_that_the_kernel_does_not_take_is_refused_in_iptables_words(
    namespace: Make, tmp_path: Path, restores: list[str]
) -> None:
    """Its rules lead to a chain that is not there: that it is here is no help elsewhere."""
    first = tables(namespace, tmp_path, count=1)[0]
    bare = NftIptables(namespace(), "ipv4", tmp_path / "xtables.lock")
    first.apply(service(150))
    before = bare.save()
    with pytest.raises(command.RestoreRefused, match="KUBE-MARK-MASQ"):
        bare.apply(service(150))
    assert bare.save() == before


def test_sets_are_each_namespaces_own(namespace: Make, tmp_path: Path, restores: list[str]) -> None:
    """The kernel tells a set's number in its namespace, which may be another set's in the next one."""
    key = ChainKey("filter", "T")
    rules = tuple(f"-m set --match-set mine src -m comment --comment {number} -j RETURN" for number in range(300))
    made = tables(namespace, tmp_path, count=2)
    for one, names in zip(made, itertools.permutations(("mine", "other")), strict=True):
        for name in names:
            ipsets.bring(one.namespace, [IPSet(name, "hash:ip", "ipv4")], {})
        one.apply(RuleDelta("ipv4", {key: rules}))
    assert restores[-2:] == [one.namespace for one in made]
    assert all("--match-set mine src" in rule for one in made for rule in one.save()[key])
