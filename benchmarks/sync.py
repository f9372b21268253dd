"""How long kube-proxy's rules take from objects to the kernel, of one node, beside iptables' own programs.

Ten endpoints a Service. The floor is iptables-restore fed with the same rules: with nft in blocks of 200 chains (in one
piece, the peer, it takes 1.6 s for 1,000 Services, but 158 s for 5,000), with legacy in one piece.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.generate import cluster
from benchmarks.rows import Goal, Row
from benchmarks.run import CannotRunError, Run
from k8snetlab.agent.proxy import ProxyPart
from k8snetlab.agent.tables import Table
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.rules import ChainKey, Rules, restore_payload
from k8snetlab.kernel import iptables
from k8snetlab.kernel.iptables import command
from k8snetlab.render.proxy import ProxyRules, Shared

LOCK = Path("/run/xtables.lock")


def rows(run: Run) -> Iterator[Row]:
    if shutil.which("iptables-restore") is None:
        raise CannotRunError("no iptables-restore: apt-get install iptables")
    few, many = run.scale.services // 5, run.scale.services
    for services, rounds in ((few, run.scale.rounds), (many, 1)):
        yield _nft(run, services, rounds, in_one_piece=services == few or run.scale.large)
    yield _legacy(run, few, ())
    yield _legacy(run, many, (Goal(1.5),))


def _nft(run: Run, services: int, rounds: int, in_one_piece: bool) -> Row:
    snapshot = cluster(services)
    chains = dict(ProxyRules.build(snapshot, "node1", "ipv4").chains)
    ours, blocks, whole = [], [], []
    for number in range(rounds):
        run.say(f"nft, {services} Services, round {number + 1}")
        ours.append(sync("nft", snapshot))
        blocks.append(restore("nft", in_blocks(chains, 200)))
        if in_one_piece and not number:
            whole.append(restore("nft", restore_payload(chains).splitlines()))
    note = "nft's floor is iptables-nft-restore in blocks of 200 chains, its peer the same in one piece, once"
    return Row(f"nft: {services} Services", tuple(ours), tuple(blocks), tuple(whole), note=note)


def _legacy(run: Run, services: int, goals: tuple[Goal, ...]) -> Row:
    snapshot = cluster(services)
    text = restore_payload(ProxyRules.build(snapshot, "node1", "ipv4").chains).splitlines()
    ours, floor = [], []
    for number in range(run.scale.rounds):
        run.say(f"legacy, {services} Services, round {number + 1}")
        ours.append(sync("legacy", snapshot))
        floor.append(restore("legacy", text))
    return Row(f"legacy: {services} Services", tuple(ours), tuple(floor), goals=goals)


def sync(variant: iptables.Variant, snapshot: Snapshot) -> float:
    with machine.namespace() as name:
        lock = LOCK.with_name(f"{name}.lock")
        try:
            began = time.perf_counter()
            table = iptables.open(name, "ipv4", variant, lock)
            part = ProxyPart("kube-proxy", "node1", table, Shared(), counters=lambda: False, left=Path("/proc/none"))
            part.want(snapshot, ())
            Table(table, [part]).sync()
            return time.perf_counter() - began
        finally:
            lock.unlink(missing_ok=True)


def restore(variant: iptables.Variant, text: Sequence[str]) -> float:
    with machine.namespace() as name:
        began = time.perf_counter()
        feed(name, variant, text)
        return time.perf_counter() - began


def feed(name: str, variant: iptables.Variant, text: Sequence[str]) -> None:
    command.restore(name, [f"iptables-{variant}-restore", "-w", "5", "--noflush"], LOCK, text)


def in_blocks(chains: dict[ChainKey, Rules], size: int) -> list[str]:
    """Endpoints, then Services, then what jumps to them; `size` chains in a transaction."""
    rank = {"KUBE-MARK-MASQ": 0, "KUBE-NODEPORTS": 3, "KUBE-SERVICES": 4}
    kinds = {"SEP": 1, "SVC": 2}
    keys = sorted(chains, key=lambda key: (key.table, rank.get(key.chain, kinds.get(key.chain[5:8], 5))))
    parts = (keys[start : start + size] for start in range(0, len(keys), size))
    return "".join(restore_payload({key: chains[key] for key in part}) for part in parts).splitlines()
