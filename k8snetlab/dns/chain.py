"""What a server with a Corefile does with a question: answers it, or has another server asked.

Source: CoreDNS, plugin.cfg (the order of plugins) and the pages of hosts, kubernetes and forward.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import cluster, reverse
from k8snetlab.dns.answers import TRANSFERS, Answer, Question, Record
from k8snetlab.dns.caching import said, within
from k8snetlab.dns.corefile import Block, Forward, Hosts, block_of

CHAIN = 10
"""So many times one question may lead to the next."""


class Onward(msgspec.Struct, frozen=True):
    """`question` is to be asked of the servers of `forward`, which stands in `block`; the client's own question is in
    `first`. `before` are the CNAMEs that have led from there to here, where some have."""

    question: Question
    forward: Forward
    block: Block
    first: Block
    before: Answer | None = None

    def answered(self, there: Answer) -> Answer:
        """What the client is told, with what is said `there`."""
        return said(_joined(self.before, there), self.first.cache) if self.before else there


def answer(
    blocks: Sequence[Block], question: Question, snapshot: Snapshot | None, local: tuple[str, ...] = ()
) -> Answer | Onward:
    """`local` are the addresses of the server that answers; `snapshot` None: no object is known yet."""
    if question.type in TRANSFERS:
        return Answer("REFUSED")
    first, before = block_of(blocks, question.lower), None
    if first is None:
        return Answer("REFUSED")
    for _ in range(CHAIN):
        found = _once(blocks, question, snapshot, local)
        if isinstance(found, Onward):
            return msgspec.structs.replace(found, before=before, first=first)
        before = _joined(before, found) if before else found
        if not found.onward:
            return said(before, first.cache)
        question = Question(found.onward, question.type)
    return Answer("SERVFAIL")


def _joined(before: Answer, found: Answer) -> Answer:
    """CNAMEs and what is at their end: who has them answers, whatever has become of that."""
    return Answer(records=(*before.records, *found.records), authoritative=True, plugin=before.plugin)


def _once(
    blocks: Sequence[Block], question: Question, snapshot: Snapshot | None, local: tuple[str, ...]
) -> Answer | Onward:
    block = block_of(blocks, question.lower)
    if block is None:
        return Answer("REFUSED")
    if block.hosts is not None:
        found = _from_hosts(block.hosts, question)
        if found is not None:
            return said(found, block.cache)
    if block.cluster is not None:
        found = cluster.answer(question, msgspec.structs.replace(block.cluster, local=local), snapshot)
        through = any(within(question.lower, zone) for zone in block.fallthrough)
        if found is not None and not (found.rcode in ("NXDOMAIN", "SERVFAIL") and through):
            return said(msgspec.structs.replace(found, plugin="kubernetes"), block.cache)
    for forward in sorted(block.forwards, key=lambda one: len(one.zone), reverse=True):
        if within(question.lower, forward.zone) and not any(within(question.lower, zone) for zone in forward.exclude):
            return Onward(question, forward, block, block)
    return Answer("SERVFAIL")


def _from_hosts(hosts: Hosts, question: Question) -> Answer | None:
    """None where what follows is to be asked, as always for an address without a name. Another name that is not there
    is a failure, as hosts has no SOA to deny it."""
    if question.type == "PTR":
        address = reverse.address(question.lower) if hosts.reverse else ""
        names = tuple(name for name, addresses in hosts.addresses.items() if address in addresses)
        records = tuple(Record(question.name, "PTR", hosts.ttl, name) for name in names)
        if not records:
            return None
    else:
        addresses = hosts.addresses.get(question.lower, ())
        records = tuple(
            Record(question.name, question.type, hosts.ttl, address)
            for address in addresses
            if question.type == ("AAAA" if ":" in address else "A")
        )
    if records or question.lower in hosts.addresses:
        return Answer(records=records, authoritative=True, plugin="hosts")
    return None if hosts.fallthrough else Answer("SERVFAIL")
