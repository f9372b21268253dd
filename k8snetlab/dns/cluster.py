"""What a question about a cluster's names is answered.

Source: Kubernetes' DNS specification 1.1, and where it leaves something open, CoreDNS's plugin `kubernetes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns import backends, nameservers, reverse
from k8snetlab.dns.answers import TRANSFERS, Answer, Question, Record
from k8snetlab.dns.backends import Backend
from k8snetlab.dns.parsed import parse
from k8snetlab.dns.zones import Zones

VERSION = "1.1.0"
VERSION_TTL = 28_800
NEGATIVE_TTL = 300
"""At most so long, in seconds, may others remember that a name is not there."""
CHAIN = 10
"""So many CNAMEs are followed."""


def answer(question: Question, zones: Zones, snapshot: Snapshot | None) -> Answer | None:
    """The answer, None where the name is in none of `zones`. `snapshot` None: nothing is known yet."""
    zone = zones.of(question.lower)
    if not zone:
        return None
    if question.type in TRANSFERS:
        return Answer("REFUSED")
    asked = _Asked(question, zone, zones, snapshot or Snapshot())
    found = _BY_TYPE.get(question.type, _others)(asked)
    if found is None:
        return Answer("SERVFAIL" if snapshot is None else "NXDOMAIN", authority=(asked.soa,), authoritative=True)
    if not found.records and not found.onward:
        return Answer(authority=(asked.soa,), authoritative=True)
    return found


class _Asked:
    """One question, and what is looked up for it."""

    def __init__(self, question: Question, zone: str, zones: Zones, snapshot: Snapshot) -> None:
        self.question, self.zone, self.zones, self.snapshot = question, zone, zones, snapshot
        self.name = question.lower
        self.zone_as_asked = question.name[len(question.name) - len(zone) :]

    @property
    def soa(self) -> Record:
        data = f"ns.dns.{self.zone_as_asked} hostmaster.{self.zone_as_asked}"
        numbers = f"{self.snapshot.revision % 2**32} 7200 1800 86400 {self.zones.ttl}"
        return Record(self.zone_as_asked, "SOA", min(self.zones.ttl, NEGATIVE_TTL), f"{data} {numbers}")

    def backends(self, name: str = "") -> list[Backend] | None:
        """What `name` (this question's) leads to; None where there is no such name."""
        name = name or self.name
        return self.servers() if name == f"ns.dns.{self.zone}" else self.records(name)

    def servers(self) -> list[Backend]:
        return nameservers.backends(self.zone_as_asked, self.zones, self.snapshot)

    def records(self, name: str) -> list[Backend] | None:
        """As `backends`, of names that objects have."""
        parts = parse(name, self.zone)
        return None if parts is None else backends.backends(parts, self.zone_as_asked, self.zones, self.snapshot)


def _addresses(type_: str) -> Callable[[_Asked], Answer | None]:
    def answered(asked: _Asked) -> Answer | None:
        found = asked.backends()
        if found is None:
            return None
        if found and found[0].target:
            return _aliased(asked, found[0].target, type_)
        return Answer(records=_of_type(found, type_, asked.question.name, asked.zones.ttl), authoritative=True)

    return answered


def _of_type(found: Iterable[Backend], type_: str, name: str, ttl: int) -> tuple[Record, ...]:
    addresses = dict.fromkeys(backend.address for backend in found if backend.type == type_)
    return tuple(Record(name, type_, ttl, address) for address in addresses)


def _aliased(asked: _Asked, target: str, type_: str) -> Answer:
    """The CNAMEs from the question's name on, and the addresses at their end, where it is in the zone."""
    chain: list[Record] = []
    name, seen = asked.question.name, {asked.name}
    while target:
        if target.lower() in seen or len(chain) > CHAIN:
            return Answer(authoritative=True)
        seen.add(target.lower())
        chain.append(Record(name, "CNAME", asked.zones.ttl, target))
        if not _within(target.lower(), asked.zone):
            return Answer(records=tuple(chain), authoritative=True, onward=target)
        name, found = target, asked.backends(target.lower()) or []
        target = found[0].target if found else ""
    records = _of_type(found, type_, name, asked.zones.ttl)
    return Answer(records=(*chain, *records) if records else (), authoritative=True)


def _within(name: str, zone: str) -> bool:
    return name == zone or name.endswith(f".{zone}")


def _cname(asked: _Asked) -> Answer | None:
    found = asked.backends()
    if found is None:
        return None
    target = found[0].target if found else ""
    records = (Record(asked.question.name, "CNAME", asked.zones.ttl, target),) if target else ()
    return Answer(records=records, authoritative=True)


def _srv(asked: _Asked) -> Answer | None:
    found = asked.backends()
    if found is None:
        return None
    services = [backend for backend in found if backend.address]
    weight = max(1, 100 // len(services)) if services else 1
    targets: dict[tuple[str, int], Record] = {}
    glue: dict[tuple[str, str], Record] = {}
    for backend in services:
        if backend.port is None:
            continue
        data = f"0 {weight} {backend.port} {backend.owner}"
        targets.setdefault((backend.owner, backend.port), Record(asked.question.name, "SRV", asked.zones.ttl, data))
        glue[backend.owner, backend.address] = Record(backend.owner, backend.type, asked.zones.ttl, backend.address)
    return Answer(records=tuple(targets.values()), additional=tuple(glue.values()), authoritative=True)


def _txt(asked: _Asked) -> Answer | None:
    if asked.name == f"dns-version.{asked.zone}":
        return Answer(records=(Record(asked.question.name, "TXT", VERSION_TTL, VERSION),), authoritative=True)
    return Answer(authoritative=True) if asked.records(asked.name) else None  # as CoreDNS: of no record, no name


def _ptr(asked: _Asked) -> Answer | None:
    address = reverse.address(asked.name)
    if not address:
        return None if asked.records(asked.name) is None else Answer(authoritative=True)
    names = dict.fromkeys(reverse.names(address, asked.zones, asked.snapshot))
    records = tuple(Record(asked.question.name, "PTR", asked.zones.ttl, name) for name in names)
    return Answer(records=records, authoritative=True) if records else None


def _soa(asked: _Asked) -> Answer | None:
    return Answer(records=(asked.soa,), authoritative=True) if asked.name == asked.zone else _others(asked)


def _ns(asked: _Asked) -> Answer | None:
    if asked.name != asked.zone:
        return _others(asked)
    found = asked.servers()
    names = dict.fromkeys(backend.owner for backend in found)
    glue = dict.fromkeys(Record(b.owner, b.type, asked.zones.ttl, b.address) for b in found)
    records = tuple(Record(asked.question.name, "NS", asked.zones.ttl, name) for name in names)
    return Answer(records=records, additional=tuple(glue), authoritative=True)


def _others(asked: _Asked) -> Answer | None:
    return None if asked.backends() is None else Answer(authoritative=True)


_BY_TYPE: Mapping[str, Callable[[_Asked], Answer | None]] = {
    "A": _addresses("A"),
    "AAAA": _addresses("AAAA"),
    "CNAME": _cname,
    "SRV": _srv,
    "TXT": _txt,
    "PTR": _ptr,
    "SOA": _soa,
    "NS": _ns,
}
