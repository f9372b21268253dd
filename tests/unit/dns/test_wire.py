"""Queries read from octets, replies written to them: what any resolver sends, and what none would."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import fuzzed
import pytest

from k8snetlab.dns import wire
from k8snetlab.dns.answers import Answer, Question, Record


def _query(name: str = fuzzed.NAME, type_: str = "A", **options: object) -> wire.Query:
    read = wire.query(dns.message.make_query(name, type_, **options).to_wire())  # type: ignore[arg-type]
    assert isinstance(read, wire.Query)
    return read


def _refused(octets: bytes) -> wire.Refused:
    read = wire.query(octets)
    assert isinstance(read, wire.Refused)
    return read


def _many(count: int) -> Answer:
    return Answer(records=tuple(Record(fuzzed.NAME, "A", 5, f"10.244.{n // 250}.{n % 250 + 1}") for n in range(count)))


def test_a_query_is_read_with_its_letters_and_what_its_asker_takes() -> None:
    read = _query("WEB.Default.svc.cluster.local.", "SRV", use_edns=0, payload=1232, want_dnssec=True)
    assert read.question == Question("WEB.Default.svc.cluster.local.", "SRV")
    assert (read.size, read.edns, read.dnssec, read.recursion) == (1232, True, True, True)
    assert (_query().size, _query().edns) == (512, False)
    assert _query(use_edns=0, payload=100).size == 512


def test_a_type_without_a_name_is_read() -> None:
    assert _query(type_="TYPE65280").question.type == "TYPE65280"


def test_a_reply_has_the_question_its_id_and_the_answer() -> None:
    asked = _query("WEB.default.svc.cluster.local.", "A", use_edns=0)
    record = Record("WEB.default.svc.cluster.local.", "A", 5, "10.96.0.20")
    answered = dns.message.from_wire(wire.reply(asked, Answer(records=(record,), authoritative=True), 512))
    assert answered.id == asked.id
    assert answered.question[0].name.to_text() == "WEB.default.svc.cluster.local."
    assert answered.answer[0].to_text() == "WEB.default.svc.cluster.local. 5 IN A 10.96.0.20"
    assert answered.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD
    assert answered.edns == 0


def test_a_name_that_is_not_there_comes_with_the_zones_soa() -> None:
    soa = Record("cluster.local.", "SOA", 5, "ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 5")
    answered = dns.message.from_wire(wire.reply(_query(), Answer("NXDOMAIN", authority=(soa,)), 512))
    assert answered.rcode() == dns.rcode.NXDOMAIN
    assert answered.authority[0].rdtype == dns.rdatatype.SOA


@pytest.mark.parametrize("size", [512, 1232, 4096])
def test_what_does_not_fit_is_truncated_and_by_tcp_it_fits(size: int) -> None:
    octets = wire.reply(_query(use_edns=0, payload=size), _many(500), size)
    answered = dns.message.from_wire(octets)
    assert answered.flags & dns.flags.TC
    kept = len(answered.answer[0])
    assert 0 < kept < 500
    assert size - 16 < len(octets) <= size, "one more record would have fitted"
    whole = dns.message.from_wire(wire.reply(_query(), _many(500), wire.TCP))
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 500


def test_more_than_64_kib_is_truncated_by_tcp_too() -> None:
    answered = dns.message.from_wire(wire.reply(_query(), _many(6000), wire.TCP))
    assert answered.flags & dns.flags.TC
    assert len(answered.answer[0]) > 4000


def test_additional_records_are_left_out_first_and_nothing_is_truncated() -> None:
    target = Record(fuzzed.NAME, "SRV", 5, f"0 100 80 {fuzzed.NAME}")
    glue = tuple(Record(f"db-{n}.{fuzzed.NAME}", "A", 5, "10.244.1.1") for n in range(60))
    answered = dns.message.from_wire(wire.reply(_query(type_="SRV"), Answer(records=(target,), additional=glue), 512))
    assert not answered.flags & dns.flags.TC
    assert answered.answer
    assert not answered.additional


@pytest.mark.parametrize("which", fuzzed.REFUSALS)
def test_what_is_no_query_is_refused_with_its_id(which: str) -> None:
    octets, opcode, rcode = fuzzed.REFUSALS[which]
    refused = _refused(octets[:2] + bytes([opcode << 3]) + octets[3:])
    assert refused.reply is not None
    answered = dns.message.from_wire(refused.reply)
    assert (answered.id, answered.rcode()) == (int.from_bytes(octets[:2], "big"), rcode)
    assert answered.flags & dns.flags.QR


def test_another_class_is_refused() -> None:
    chaos = dns.message.make_query("version.bind.", "TXT", "CH").to_wire()
    assert _refused(chaos).rcode == "REFUSED"


def test_a_version_of_edns_that_is_not_known_is_refused_by_edns() -> None:
    refused = _refused(dns.message.make_query(fuzzed.NAME, "A", use_edns=1).to_wire())
    assert refused.reply is not None
    assert dns.message.from_wire(refused.reply).rcode() == dns.rcode.BADVERS


def test_a_reply_and_less_than_a_header_are_not_answered() -> None:
    reply = dns.message.make_response(dns.message.make_query(fuzzed.NAME, "A")).to_wire()
    assert _refused(reply).reply is None
    assert _refused(b"").reply is None
    assert _refused(b"\0\1\0\0\0\1\0\0\0\0\0").reply is None


@pytest.mark.parametrize("which", fuzzed.WRONG)
def test_what_cannot_be_read_is_a_formerr_with_its_id(which: str) -> None:
    refused = _refused(fuzzed.WRONG[which])
    assert refused.rcode == "FORMERR"
    assert refused.reply is not None
    answered = dns.message.from_wire(refused.reply)
    assert (answered.id, answered.rcode(), answered.question) == (7, dns.rcode.FORMERR, [])


def test_a_name_of_255_octets_is_read_and_answered() -> None:
    longest = fuzzed.HEAD + (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0\0\1\0\1"
    read = wire.query(longest)
    assert isinstance(read, wire.Query)
    assert dns.message.from_wire(wire.reply(read, Answer("NXDOMAIN"), 512)).rcode() == dns.rcode.NXDOMAIN
