"""The machine's neighbour tables, which all namespaces share: full just now, or too small for the lab."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from k8snetlab.dataplane.rules import Family
from k8snetlab.diagnose.finding import Finding

LATELY = 30.0
"""Seconds for which a table that was full is a finding."""


class Table(msgspec.Struct, frozen=True):
    """Of one family. `limit` is gc_thresh3, `wanted` what the lab's pods take when each is asked. `ago`: seconds since
    the kernel last refused an entry, None where it has not since the daemon began. `lift` makes it large enough."""

    family: Family
    limit: int
    wanted: int
    ago: float | None
    lift: str

    @property
    def full(self) -> bool:
        return self.ago is not None and self.ago < LATELY


def full(tables: Iterable[Table]) -> Iterator[Finding]:
    for table in tables:
        if table.full:
            yield Finding(
                kind="neighbour",
                fault="full",
                node="",
                object=f"net.{table.family}.neigh.default.gc_thresh3",
                message=f"the machine's table of {table.family} neighbours, which all its namespaces share, is full: "
                f"it takes {table.limit:,} entries, and {table.ago:.0f} s ago the kernel refused one more",
                consequence="first packets to a pod or node are dropped, now here, now there: `Connection timed out`, "
                "`No buffer space available`",
                show=f"grep . /proc/net/stat/{'arp' if table.family == 'ipv4' else 'ndisc'}_cache",
                mend=table.lift,
            )


def small(tables: Iterable[Table]) -> list[str]:
    """A sentence for each that is not full, and will be when all pods are asked at once."""
    return [
        f"the machine's table of {table.family} neighbours takes {table.limit:,} entries, and the lab's pods "
        f"{table.wanted:,}, were each asked within a few seconds: first packets would be lost ({table.lift})"
        for table in tables
        if table.wanted > table.limit and not table.full
    ]
