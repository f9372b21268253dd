"""What a server with a Corefile does with a question: answers it, or has another server asked.

Source: CoreDNS, plugin.cfg (the order of plugins) and the pages of hosts, kubernetes and forward.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import cluster, reverse
from k8snetlab.dns.answers import TRANSFERS, Answer, Question, Record
from k8snetlab.dns.caching import NONE, Cache
from k8snetlab.dns.corefile import Block, Forward, Hosts, block_of, within

CHAIN = 10
"""So many times one question may lead to the next."""


class Onward(msgspec.Struct, frozen=True):
    """`question` is to be asked of `forward`'s servers; `before` are the CNAMEs that have led there. `cache` is for how
    long the answer may be kept."""

    question: Question
    forward: Forward
    cache: Cache = NONE
    before: tuple[Record, ...] = ()


def answer(
    blocks: Sequence[Block], question: Question, snapshot: Snapshot | None, local: tuple[str, ...] = ()
) -> Answer | Onward:
    """`local` are the addresses of the server that answers; `snapshot` None: no object is known yet."""
    if question.type in TRANSFERS:
        return Answer("REFUSED")
    before: tuple[Record, ...] = ()
    for _ in range(CHAIN):
        found = _once(blocks, question, snapshot, local)
        if isinstance(found, Onward):
            return msgspec.structs.replace(found, before=before)
        if not found.onward:
            return (
                msgspec.structs.replace(found, rcode="NOERROR", records=(*before, *found.records)) if before else found
            )
        before = (*before, *found.records)
        question = Question(found.onward, question.type)
    return Answer("SERVFAIL")


def _once(
    blocks: Sequence[Block], question: Question, snapshot: Snapshot | None, local: tuple[str, ...]
) -> Answer | Onward:
    block = block_of(blocks, question.lower)
    if block is None:
        return Answer("REFUSED")
    if block.hosts is not None:
        found = _from_hosts(block.hosts, question)
        if found is not None:
            return found
    if block.cluster is not None:
        found = cluster.answer(question, msgspec.structs.replace(block.cluster, local=local), snapshot)
        through = any(within(question.lower, zone) for zone in block.fallthrough)
        if found is not None and not (found.rcode in ("NXDOMAIN", "SERVFAIL") and through):
            return found
    for forward in sorted(block.forwards, key=lambda one: len(one.zone), reverse=True):
        if within(question.lower, forward.zone) and not any(within(question.lower, zone) for zone in forward.exclude):
            return Onward(question, forward, block.cache)
    return Answer("SERVFAIL")


def _from_hosts(hosts: Hosts, question: Question) -> Answer | None:
    """None where what follows is to be asked. A name that is not there is a failure, as hosts has no SOA to deny it."""
    if question.type == "PTR":
        address = reverse.address(question.lower) if hosts.reverse else ""
        names = tuple(name for name, addresses in hosts.addresses.items() if address in addresses)
        records = tuple(Record(question.name, "PTR", hosts.ttl, name) for name in names)
    else:
        addresses = hosts.addresses.get(question.lower, ())
        records = tuple(
            Record(question.name, question.type, hosts.ttl, address)
            for address in addresses
            if question.type == ("AAAA" if ":" in address else "A")
        )
    if records or question.lower in hosts.addresses:
        return Answer(records=records, authoritative=True)
    return None if hosts.fallthrough else Answer("SERVFAIL")
