"""The examples of Kubernetes' DNS specification 1.1, each asked of a server by UDP and TCP: specification.yaml."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rrset
import msgspec
import pytest
import yaml
from golden import objects

from k8snetlab.api.snapshot import Snapshot

COREFILE = """
. {
    hosts {
        OUTSIDE www.example.com
        fallthrough
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa
}
"""


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of specification.yaml; `outside` is the address of www.example.com."""

    section: str
    ask: str
    answer: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    rcode: str = "NOERROR"
    outside: str = "192.0.2.53"
    world: tuple[dict[str, Any], ...] = ()


EXAMPLES = msgspec.convert(
    yaml.safe_load(Path(__file__).with_name("specification.yaml").read_text()), list[Example], strict=False
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.section)
@pytest.mark.parametrize("by", [dns.asyncquery.udp, dns.asyncquery.tcp], ids=["udp", "tcp"])
def test_an_example_of_the_specification_is_answered(server: Callable[..., Any], example: Example, by: Any) -> None:
    one, (name, type_) = server(COREFILE.replace("OUTSIDE", example.outside)), example.ask.split()
    one.world = Snapshot.of(objects(yaml.safe_dump_all(example.world)), revision=1)

    async def asked() -> Any:
        async with one.running():
            query = dns.message.make_query(name, type_, use_edns=0)
            return await by(query, "127.0.0.1", port=one.port, timeout=10)

    reply = asyncio.run(asked())
    assert dns.rcode.to_text(reply.rcode()) == example.rcode
    assert reply.flags & dns.flags.AA
    assert sorted(_texts(reply.answer)) == sorted(example.answer)
    assert sorted(_texts(reply.additional)) == sorted(example.additional)


def _texts(section: list[dns.rrset.RRset]) -> list[str]:
    """Without what is free."""
    records = [(rrset, rdata) for rrset in section for rdata in rrset]
    return [f"{rrset.name} {rdata.rdtype.name} {_free(rdata.to_text(), rdata)}" for rrset, rdata in records]


def _free(text: str, rdata: dns.rdata.Rdata) -> str:
    return " ".join(text.split()[2:]) if rdata.rdtype.name == "SRV" else text
