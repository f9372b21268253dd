"""What a lab's host outside answers: the names of a small world, so that a class needs no other one.

All of it is names and addresses that nobody has (RFC 2606, RFC 5737): what is not here is nowhere, NXDOMAIN.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from k8snetlab.dns.answers import TRANSFERS, Answer, Question, Record

TTL = 60
"""Seconds."""
ITSELF = "@"
"""Stands for the host's own addresses."""
MANY = 40
"""So many addresses have more than the 512 octets that a reply by UDP has without EDNS."""
CHAIN = 4
ZONES: Mapping[str, Mapping[str, tuple[tuple[str, str], ...]]] = {
    "example.com.": {
        "example.com.": (
            ("A", ITSELF),
            ("NS", "ns.example.com."),
            ("MX", "10 mail.example.com."),
            ("TXT", '"a name of the lab\'s own: its host outside answers"'),
        ),
        "www.example.com.": (("A", ITSELF),),
        "api.example.com.": (("A", ITSELF),),
        "cdn.example.com.": (("CNAME", "www.example.com."),),
        "mail.example.com.": (("A", ITSELF),),
        "ns.example.com.": (("A", ITSELF),),
        "many.example.com.": tuple(("A", f"198.51.100.{number}") for number in range(1, MANY + 1)),
    },
    "corp.example.": {
        "corp.example.": (("NS", "ns.corp.example."),),
        "ns.corp.example.": (("A", ITSELF),),
        "db.corp.example.": (("A", "198.51.100.53"),),
        "git.corp.example.": (("CNAME", "www.corp.example."),),
        "www.corp.example.": (("A", ITSELF),),
    },
}
"""By zone and name: type and data."""


def answer(question: Question, addresses: tuple[str, ...]) -> Answer:
    """`addresses` are the host's own, of both families. Zone transfers are refused."""
    if question.type in TRANSFERS:
        return Answer("REFUSED")
    zone = next((zone for zone in ZONES if question.lower == zone or question.lower.endswith(f".{zone}")), "")
    if not zone:
        return Answer("NXDOMAIN", authority=(_soa("."),))
    soa = _soa(zone)
    if question.lower not in ZONES[zone]:
        return Answer("NXDOMAIN", authority=(soa,), authoritative=True)
    found = tuple(_chained(question, ZONES[zone], addresses))
    if question.lower == zone and question.type == "SOA":
        found = (soa,)
    return Answer(records=found, authority=() if found else (soa,), authoritative=True)


def _soa(zone: str) -> Record:
    of = "example.com." if zone == "." else zone
    return Record(zone, "SOA", TTL, f"ns.{of} hostmaster.{of} 1 7200 1800 86400 {TTL}")


def _chained(
    question: Question, zone: Mapping[str, tuple[tuple[str, str], ...]], addresses: tuple[str, ...]
) -> Iterator[Record]:
    """What the name has of the type asked for, behind the CNAMEs that lead there."""
    name = question.name
    for _ in range(CHAIN):
        held = zone.get(name.lower(), ())
        alias = next((data for type_, data in held if type_ == "CNAME"), "")
        if not alias or question.type == "CNAME":
            yield from _of(name, question.type, held, addresses)
            return
        yield Record(name, "CNAME", TTL, alias)
        name = alias


def _of(name: str, type_: str, held: tuple[tuple[str, str], ...], addresses: tuple[str, ...]) -> Iterator[Record]:
    for kind, data in held:
        if data == ITSELF:
            own = (("AAAA" if ":" in address else "A", address) for address in addresses)
            yield from (Record(name, one, TTL, address) for one, address in own if type_ == one)
        elif kind == type_:
            yield Record(name, kind, TTL, data)
