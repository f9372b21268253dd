"""expect.yaml: what must be so in a scenario's running lab, read and checked before anything is asked.

apiVersion: k8snetlab/v1alpha1
kind: Expectations
expect:
  - from: client
    to: web:80
    answeredBy: [web]
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from k8snetlab.api.fields import check
from k8snetlab.api.source import Document, parse
from k8snetlab.api.words import Path, shorten, show
from k8snetlab.errors import ManifestError

FILE = "expect.yaml"
MOST = 10_000
"""Checks of one file."""
OWN = "own"
Result = Literal["answered", "refused", "unreachable", "silent", "closed"]
Names = str | tuple[str, ...]
_PORT = re.compile(r"(.+):([0-9]{1,5})\Z")


class Expectation(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """What is to become of packets from each of some places to each of some targets."""

    source: Names
    """Pods ([NAMESPACE/]NAME), nodes, router or outside: one, or a list."""
    target: Names
    """Pods, Services, nodes or addresses, each with or without :PORT, as `k8snetlab probe` takes them."""
    name: str = ""
    """What it is about, for people."""
    protocol: Literal["TCP", "UDP", "SCTP", "ICMP"] = "TCP"
    """ICMP is a ping."""
    result: Result = "answered"
    """What the sender sees; closed is any of refused, unreachable and silent."""
    answeredBy: Names = ()
    """The pods that may answer, or the Deployments, DaemonSets and so on whose pods may."""
    client: str = ""
    """The source address that who answers sees: an address, a network (192.0.2.0/24), or own: the sender's own."""
    evenly: Annotated[int, msgspec.Meta(ge=2, le=1000)] | None = None
    """So many connections are made; all that may answer must have the same share of them."""
    way: Names = ()
    """PLACE:DEVICE or PLACE, in the order in which the packet passes them; others may be between."""

    @property
    def sources(self) -> tuple[str, ...]:
        return listed(self.source)

    @property
    def targets(self) -> tuple[tuple[str, int | None], ...]:
        """Names with their ports."""
        return tuple(parted(name) for name in listed(self.target))


class Expectations(msgspec.Struct, frozen=True):
    """The file."""

    apiVersion: Literal["k8snetlab/v1alpha1"]
    kind: Literal["Expectations"]
    expect: tuple[Expectation, ...]


class Placed(msgspec.Struct, frozen=True):
    """An expectation, and where it is written: "expect.yaml:4"."""

    expectation: Expectation
    where: str


def load(text: str, file: str) -> tuple[Placed, ...]:
    """The expectations in the file's order. Raises ManifestError with every wrong place (`file:line: field: what`)."""
    documents, flaws = parse(text, file)
    wrong = [(flaw.line, flaw.message) for flaw in flaws]
    found: list[Placed] = []
    for document in documents:
        problems = list(_problems(document))
        wrong += [(document.line(path), _said(path, message)) for path, message in problems]
        if not problems:
            found += _placed(document)
    if not documents and not flaws:
        wrong.append((1, "no expectation in it; it begins with apiVersion: k8snetlab/v1alpha1, kind: Expectations"))
    count = sum(len(one.expectation.sources) * len(one.expectation.targets) for one in found)
    if count > MOST:
        wrong.append((1, f"{count} checks; a file may have {MOST}"))
    if wrong:
        lines = [f"{file}:{line}: {message}" for line, message in sorted(dict.fromkeys(wrong))]
        raise ManifestError(lines, "nothing was checked; docs/scenarios.md tells what may stand there")
    return tuple(found)


def one(document: Document, value: Any, at: Path, where: str) -> Placed:
    """A single expectation that stands in another file. Raises ManifestError."""
    problems = list(_of_fields(value, at, Expectation))
    if not problems:
        expectation = msgspec.convert(value, Expectation)
        problems = list(_of_values(expectation, at))
    if problems:
        raise ManifestError([f"{where}: {_said(path, message)}" for path, message in problems])
    return Placed(expectation, where)


def listed(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def parted(target: str) -> tuple[str, int | None]:
    """Name and port of "web", "web:80", "10.0.0.1:80", "[fd00::1]:80"."""
    found = _PORT.match(target)
    if found and (":" not in found[1] or found[1].startswith("[")):
        return found[1].strip("[]"), int(found[2])
    return target.strip("[]"), None


# --- what is wrong ----------------------------------------------------------------------------------------------------


def _said(path: Path, message: str) -> str:
    return f"{show(path)}: {message}" if path and not message.startswith("unknown field") else message


def _problems(document: Document) -> Iterator[tuple[Path, str]]:
    problems = list(_of_fields(document.value, (), Expectations))
    yield from problems
    if not problems:
        if not document.value["expect"]:
            yield ("expect",), "is empty: nothing would be checked"
        for number, value in enumerate(document.value["expect"]):
            yield from _of_values(msgspec.convert(value, Expectation), ("expect", number))


def _of_fields(value: Any, at: Path, type_: type[msgspec.Struct]) -> Iterator[tuple[Path, str]]:
    findings = check(value, type_)
    for path, message in (*findings.unknown, *findings.wrong):
        yield (*at, *path), message


def _of_values(expectation: Expectation, at: Path) -> Iterator[tuple[Path, str]]:
    for field, names in (("from", expectation.source), ("to", expectation.target)):
        if not listed(names):
            yield (*at, field), "is empty; name a pod, a node, outside …"
    texts = {"from": "source", "to": "target", "answeredBy": "answeredBy", "way": "way", "name": "name"}
    for field, attribute in texts.items():
        for name in listed(getattr(expectation, attribute)):
            if (not name and field != "name") or not name.isprintable() or len(name) > 300:
                yield (*at, field), f'"{shorten(name)}" is no name'
    yield from _of_ports(expectation, at)
    yield from _of_client(expectation, at)
    if expectation.result != "answered":
        for field in ("answeredBy", "client", "evenly"):
            if getattr(expectation, field):
                yield (*at, field), f"nobody answers where the result is {expectation.result}: leave one of both out"
    if expectation.evenly and not expectation.answeredBy:
        yield (*at, "evenly"), "say with answeredBy who has the same share"


def _of_ports(expectation: Expectation, at: Path) -> Iterator[tuple[Path, str]]:
    for name, port in expectation.targets:
        if port is not None and not 1 <= port <= 65535:
            yield (*at, "to"), f"{name}:{port}: ports are 1 to 65535"
        if port is not None and expectation.protocol == "ICMP":
            yield (*at, "to"), f"{name}:{port}: a ping has no port"


def _of_client(expectation: Expectation, at: Path) -> Iterator[tuple[Path, str]]:
    if expectation.client in ("", OWN):
        return
    try:
        ipaddress.ip_network(expectation.client)
    except ValueError as error:
        wanted = "an address, a network like 192.0.2.0/24, or own"
        yield (*at, "client"), f'"{shorten(expectation.client)}" is none of {wanted} ({shorten(str(error))})'


def _placed(document: Document) -> Iterator[Placed]:
    for number, expectation in enumerate(msgspec.convert(document.value, Expectations).expect):
        yield Placed(expectation, f"{document.file}:{document.line(('expect', number))}")
