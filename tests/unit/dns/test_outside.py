"""What the host outside answers: a small world of names, and nothing beyond it."""

from __future__ import annotations

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest

from k8snetlab.dns import outside, wire
from k8snetlab.dns.answers import Question

OWN = ("203.0.113.10", "2001:db8:ff::10")


def told(name: str, type_: str = "A") -> tuple[str, list[str]]:
    answer = outside.answer(Question(name, type_), OWN)
    assert answer.records or answer.rcode == "REFUSED" or answer.authority[0].type == "SOA"
    return answer.status, [record.data for record in answer.records]


@pytest.mark.parametrize(
    ("name", "type_", "status", "data"),
    [
        ("www.example.com.", "A", "NOERROR", ["203.0.113.10"]),
        ("WWW.Example.com.", "AAAA", "NOERROR", ["2001:db8:ff::10"]),
        ("www.example.com.", "MX", "NODATA", []),
        ("cdn.example.com.", "A", "NOERROR", ["www.example.com.", "203.0.113.10"]),
        ("cdn.example.com.", "CNAME", "NOERROR", ["www.example.com."]),
        ("example.com.", "MX", "NOERROR", ["10 mail.example.com."]),
        ("example.com.", "SOA", "NOERROR", ["ns.example.com. hostmaster.example.com. 1 7200 1800 86400 60"]),
        ("db.corp.example.", "A", "NOERROR", ["198.51.100.53"]),
        ("git.corp.example.", "A", "NOERROR", ["www.corp.example.", "203.0.113.10"]),
        ("nothing.example.com.", "A", "NXDOMAIN", []),
        ("xexample.com.", "A", "NXDOMAIN", []),
        ("www.kubernetes.io.", "A", "NXDOMAIN", []),
        (".", "NS", "NXDOMAIN", []),
        ("example.com.", "AXFR", "REFUSED", []),
    ],
)
def test_a_question_is_answered(name: str, type_: str, status: str, data: list[str]) -> None:
    assert told(name, type_) == (status, data)


def test_all_records_can_be_written_and_lead_somewhere() -> None:
    for zone, names in outside.ZONES.items():
        for name, held in names.items():
            assert name == zone or name.endswith(f".{zone}")
            for type_, data in held:
                if data != outside.ITSELF:
                    dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(type_), data)
                if type_ in ("CNAME", "NS", "MX"):
                    assert told(data.split()[-1])[0] == "NOERROR"


def test_many_addresses_are_too_many_for_udp() -> None:
    asked = wire.Query(1, Question("many.example.com.", "A"))
    reply = wire.reply(asked, outside.answer(asked.question, OWN), asked.size)
    assert reply[2] & 0x02, "TC"
    assert len(told("many.example.com.")[1]) == outside.MANY
