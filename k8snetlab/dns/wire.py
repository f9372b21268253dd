"""DNS messages as octets: a question out of a query, an answer into a reply. The wire format is dnspython's.

Source: RFC 1035 4.1 (messages, 512 octets by UDP), RFC 6891 (EDNS), RFC 2181 9 (a truncated reply); which queries are
refused how is the behaviour of miekg/dns and CoreDNS.
"""

from __future__ import annotations

import bisect

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import msgspec

from k8snetlab.dns.answers import Answer, Question, Rcode, Record

HEADER = 12
UDP = 512
"""So many octets a reply by UDP has at most, where the query says nothing else."""
TCP = 65_535


class Query(msgspec.Struct, frozen=True):
    """A query that can be answered. `size` is what its asker takes by UDP, in octets; `edns` whether it speaks EDNS."""

    id: int
    question: Question
    recursion: bool = False
    size: int = UDP
    edns: bool = False
    dnssec: bool = False
    checking_disabled: bool = False


class Refused(msgspec.Struct, frozen=True):
    """A query that is answered by no more than `reply`: the octets of it, or None where not even that is right."""

    reply: bytes | None
    rcode: Rcode | None = None


def query(octets: bytes) -> Query | Refused:
    """What a client asks. A reply, or less than a header, is not answered: nothing shall go round in circles."""
    if len(octets) < HEADER or octets[2] & 0x80:
        return Refused(None)
    opcode = octets[2] >> 3 & 0xF
    if opcode not in (dns.opcode.QUERY, dns.opcode.NOTIFY):
        return _refused(octets, "NOTIMP")
    questions, answers, authorities, others = (int.from_bytes(octets[at : at + 2], "big") for at in (4, 6, 8, 10))
    if questions != 1 or answers > 1 or authorities > 1 or others > 2:
        return _refused(octets, "FORMERR")
    try:
        message = dns.message.from_wire(octets, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError, IndexError):
        return _refused(octets, "FORMERR")
    if message.edns > 0:
        return _refused(octets, "BADVERS")
    asked = message.question[0]
    if asked.rdclass != dns.rdataclass.IN or opcode == dns.opcode.NOTIFY:
        return _refused(octets, "REFUSED")
    edns = message.edns == 0
    return Query(
        message.id,
        Question(asked.name.to_text(), dns.rdatatype.to_text(asked.rdtype)),
        bool(message.flags & dns.flags.RD),
        max(UDP, message.payload) if edns else UDP,
        edns,
        edns and bool(message.ednsflags & dns.flags.DO),
        bool(message.flags & dns.flags.CD),
    )


def _refused(octets: bytes, rcode: Rcode) -> Refused:
    """A header with the query's id, opcode and RD, and nothing else: its question may be what is wrong."""
    code = dns.rcode.from_text(rcode)
    flags = (octets[2] & 0x79 | 0x80) << 8 | code & 0xF
    reply = octets[:2] + flags.to_bytes(2, "big") + bytes(8)
    if code > 0xF:
        head = b"\0" + int(dns.rdatatype.OPT).to_bytes(2, "big") + UDP.to_bytes(2, "big")
        reply = reply[:10] + b"\0\1" + head + bytes([code >> 4, 0, 0, 0, 0, 0])
    return Refused(reply, rcode)


def reply(asked: Query, answer: Answer, size: int, recursive: bool = False) -> bytes:
    """The reply of at most `size` octets. What does not fit is left out and the reply is truncated (TC): first what is
    additional, then records from the last on. `recursive`: names outside are answered, too.
    """
    message = dns.message.QueryMessage(id=asked.id)
    flags = dns.flags.QR | (dns.flags.AA if answer.authoritative else 0)
    flags |= (dns.flags.RD if asked.recursion else 0) | (dns.flags.RA if recursive else 0)
    message.flags = flags | (dns.flags.CD if asked.checking_disabled else 0)
    if asked.edns:
        message.use_edns(0, dns.flags.DO if asked.dnssec else 0, payload=min(asked.size, 4096))
    message.set_rcode(dns.rcode.from_text(answer.rcode))
    name = dns.name.from_text(asked.question.name)
    message.question.append(dns.rrset.RRset(name, dns.rdataclass.IN, dns.rdatatype.from_text(asked.question.type)))
    return _fitting(message, answer, size)


def _fitting(message: dns.message.Message, answer: Answer, size: int) -> bytes:
    whole = _octets(message, size, answer.records, answer.authority, answer.additional)
    fits = whole or _octets(message, size, answer.records, answer.authority)
    if fits:
        return fits
    message.flags |= dns.flags.TC

    def too_many(count: int) -> bool:
        return not _octets(message, size, answer.records[:count])

    count = bisect.bisect_left(range(len(answer.records)), True, key=too_many)
    return _octets(message, size, answer.records[: max(0, count - 1)])


def _octets(message: dns.message.Message, size: int, *sections: tuple[Record, ...]) -> bytes:
    """The message with these sections, b"" where it has more than `size` octets."""
    message.sections[1:] = [_rrsets(records) for records in (*sections, (), (), ())[:3]]
    try:
        return message.to_wire(max_size=size, want_shuffle=False)
    except dns.exception.TooBig:
        return b""


def _rrsets(records: tuple[Record, ...]) -> list[dns.rrset.RRset]:
    """Records of one name and type together, in order."""
    together: dict[tuple[str, str], dns.rrset.RRset] = {}
    for record in records:
        rrset = together.get((record.name, record.type))
        if rrset is None:
            type_ = dns.rdatatype.from_text(record.type)
            rrset = dns.rrset.RRset(dns.name.from_text(record.name), dns.rdataclass.IN, type_)
            together[record.name, record.type] = rrset
        rrset.add(_rdata(record), record.ttl)
    return list(together.values())


def _rdata(record: Record) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(record.type), record.data)
