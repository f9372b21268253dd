"""A chain that many nodes have alike: a Service's of 1,001 endpoints, written on ten nodes when one comes.

The floor is iptables-restore of the same text in each of them, as many at a time as there are threads.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks import machine
from benchmarks.rows import Row
from benchmarks.run import CannotRunError, Run
from k8snetlab.dataplane.rules import ChainKey, RuleDelta, Rules
from k8snetlab.kernel import iptables
from k8snetlab.kernel.iptables import Iptables, command
from k8snetlab.kernel.iptables.payload import Payload

NODES, ENDPOINTS, THREADS = 10, 1000, 6
SERVICE = ChainKey("nat", "KUBE-SVC-AAAAAAAAAAAAAAAA")


def rows(run: Run) -> Iterator[Row]:
    if iptables.variant() != "nft":
        raise CannotRunError("with legacy each node's chain is iptables-restore's")
    ours, floor = [], []
    with ExitStack() as stack, ThreadPoolExecutor(THREADS) as pool:
        names = [stack.enter_context(machine.namespace()) for _ in range(2 * NODES)]
        tables = [iptables.open(name, "ipv4", "nft", Path("/dev/null")) for name in names]
        list(pool.map(lambda table: table.apply(_service(ENDPOINTS)), tables))
        for number in range(run.scale.rounds + 2):
            run.say(f"round {number + 1}")
            delta = _service(ENDPOINTS + number + 1, new=True)
            floor.append(_timed(pool, tables[NODES:], delta, by_itself=True))
            ours.append(_timed(pool, tables[:NODES], delta, by_itself=False))
    yield Row(f"a chain of {ENDPOINTS} rules on {NODES} nodes", tuple(ours), tuple(floor))


def restores(nodes: int, endpoints: int, rounds: int) -> Iterator[float]:
    """The floor alone, of a Service with so many endpoints: seconds of each round."""
    with ExitStack() as stack, ThreadPoolExecutor(THREADS) as pool:
        names = [stack.enter_context(machine.namespace()) for _ in range(nodes)]
        tables = [iptables.open(name, "ipv4", "nft", Path("/dev/null")) for name in names]
        list(pool.map(lambda table: table.apply(_service(endpoints)), tables))
        for number in range(rounds):
            yield _timed(pool, tables, _service(endpoints + number + 1, new=True), by_itself=True)


def _timed(pool: ThreadPoolExecutor, tables: list[Iptables], delta: RuleDelta, by_itself: bool) -> float:
    def write(table: Iptables) -> None:
        if by_itself:
            argv = ["iptables-nft-restore", "--noflush"]
            command.restore(table.namespace, argv, table.lockfile, Payload(delta))
        else:
            table.apply(delta)

    began = time.perf_counter()
    list(pool.map(write, tables))
    return time.perf_counter() - began


def _service(endpoints: int, new: bool = False) -> RuleDelta:
    """All chains of a Service, or those that are written when the last endpoint is `new`."""
    write: dict[ChainKey, Rules] = {}
    for number in range(endpoints - 1 if new else 0, endpoints):
        ip = f"10.1.{number // 250}.{number % 250 + 1}"
        target = f"-m tcp -p tcp -j DNAT --to-destination {ip}:8080"
        write[_endpoint(number)] = (f"-s {ip} -j MARK --or-mark 0x4000", target)
    chances = (f"-m statistic --mode random --probability {1 / left:.10f} " for left in range(endpoints, 1, -1))
    write[SERVICE] = tuple(f"{chance}-j {_endpoint(n).chain}" for n, chance in enumerate((*chances, "")))
    return RuleDelta("ipv4", write)


def _endpoint(number: int) -> ChainKey:
    return ChainKey("nat", f"KUBE-SEP-{number:016d}")
