"""The client's side: queries as resolvers send them, and what replies say."""

from __future__ import annotations

import ipaddress

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import msgspec

from k8snetlab.dns.answers import Record

ADDRESSES = ("A", "AAAA")
"""What is asked for where no type is said, in glibc's order."""
LONGEST = 255
"""Octets of a name in a message (RFC 1035 2.3.4)."""


class Reply(msgspec.Struct, frozen=True):
    """`status` is the rcode, or NODATA; `truncated`: the whole of it is to be had by TCP.

    `lame`: who has nothing to say of the name, and is not who could know; glibc asks the next server then.
    """

    status: str
    records: tuple[Record, ...]
    authoritative: bool
    truncated: bool
    lame: bool


def query(number: int, name: str, type_: str) -> bytes:
    """One question, with recursion desired and without EDNS, as both libraries send it. Raises ValueError."""
    try:
        return dns.message.make_query(dns.name.from_text(name), type_, id=number).to_wire()
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{name!r} is no name: {error}") from None


def name_of(text: str) -> tuple[str, bool]:
    """What is asked for, and whether it is the name of an address (PTR). Raises ValueError with why."""
    try:
        return dns.reversename.from_address(str(ipaddress.ip_address(text))).to_text(), True
    except ValueError:
        pass
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a name has letters, digits, hyphens and dots; others are written as xn--…")
    try:
        dns.name.from_text(text)
    except dns.exception.DNSException as error:
        raise ValueError(str(error).rstrip(".").lower()) from None
    return text, False


def type_of(text: str) -> str:
    """A type of records in capitals. Raises ValueError."""
    try:
        found = dns.rdatatype.from_text(text)
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        raise ValueError("no type of records") from None
    if dns.rdatatype.is_metatype(found) and found != dns.rdatatype.ANY:
        raise ValueError("no type of records that a resolver asks for")
    return dns.rdatatype.to_text(found)


def belongs(request: bytes, octets: bytes) -> bool:
    """Whether a datagram is the reply to a request: its id and its question are the request's."""
    try:
        return dns.message.from_wire(request).is_response(dns.message.from_wire(octets, ignore_trailing=True))
    except (dns.exception.DNSException, ValueError):
        return False


def denied(octets: bytes) -> tuple[str, bool]:
    """The name that a reply is about ("" where it is none), and whether it says that the name is not there."""
    try:
        read = dns.message.from_wire(octets, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return "", False
    name = read.question[0].name.to_text() if read.question else ""
    return name, bool(read.flags & dns.flags.QR) and read.rcode() == dns.rcode.NXDOMAIN


def reply(octets: bytes) -> Reply | None:
    """What it says, None where it is no message of DNS."""
    try:
        read = dns.message.from_wire(octets, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    records = tuple(
        Record(rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype), rrset.ttl, rdata.to_text())
        for rrset in read.answer
        for rdata in rrset
    )
    rcode = dns.rcode.to_text(read.rcode())
    asked = dns.rdatatype.to_text(read.question[0].rdtype) if read.question else ""
    there = any(asked in (record.type, "ANY") for record in records)
    status = "NODATA" if rcode == "NOERROR" and not there else rcode
    knows = read.flags & (dns.flags.AA | dns.flags.RA) or read.answer or read.additional
    lame = rcode == "NOERROR" and not knows
    return Reply(status, records, bool(read.flags & dns.flags.AA), bool(read.flags & dns.flags.TC), lame)
