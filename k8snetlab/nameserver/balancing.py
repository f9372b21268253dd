"""Addresses in another order each time: the plugin `loadbalance` of a Corefile.

Source: CoreDNS, plugin/loadbalance (round_robin): CNAMEs stay first, addresses and mail servers are shuffled.
"""

from __future__ import annotations

import random

import msgspec

from k8snetlab.dns.answers import Answer, Record
from k8snetlab.dns.corefile import Block

SHUFFLED = ("A", "AAAA", "MX")


def balanced(answer: Answer, block: Block) -> Answer:
    """As the block has it."""
    if not block.loadbalance or answer.rcode != "NOERROR":
        return answer
    return msgspec.structs.replace(answer, records=_shuffled(answer.records), additional=_shuffled(answer.additional))


def _shuffled(records: tuple[Record, ...]) -> tuple[Record, ...]:
    order = list(records)
    random.shuffle(order)
    return (*(one for one in records if one.type not in SHUFFLED), *(one for one in order if one.type in SHUFFLED))
