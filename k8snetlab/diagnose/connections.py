"""conntrack's table of a node: full, so that no connection begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from k8snetlab.diagnose.finding import Finding, Where

NEARLY = 1000
"""The part of a table that may be free where it is full: what ends makes room for a moment."""
KEYS = ("net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max")


class Table(msgspec.Struct, frozen=True):
    """Of one namespace: the connections that it holds, and how many it may."""

    where: Where
    held: int
    most: int

    @property
    def full(self) -> bool:
        return self.most > 0 and self.most - self.held <= max(16, self.most // NEARLY)


def full(tables: Iterable[Table]) -> Iterator[Finding]:
    for table in tables:
        where = table.where
        if table.full:
            yield Finding(
                kind="conntrack",
                fault="full",
                node=where.node,
                object="net.netfilter.nf_conntrack_count",
                message=f"{where.place}: conntrack's table is full: {table.held:,} connections of {table.most:,}",
                consequence="the kernel drops the first packet of each new connection, VXLAN's among them "
                "(`nf_conntrack: table full, dropping packet` in its log); what is established goes on",
                show=f"ip netns exec {where.netns} conntrack -L | awk '{{print $5}}' | sort | uniq -c | sort -n | tail",
                mend=f"ip netns exec {where.netns} conntrack -F",
                netns=where.netns,
            )
