"""Questions about a cluster's names and what CoreDNS answers: questions.yaml, about worlds/cluster.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from golden import objects

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dns.answers import Question, Record
from k8snetlab.dns.cluster import answer
from k8snetlab.dns.zones import Zones

HERE = Path(__file__).parent
WORLD = Snapshot.of(objects((HERE / "worlds/cluster.yaml").read_text()), revision=1)


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of questions.yaml; its head says what the fields hold."""

    ask: str
    status: str = "NOERROR"
    records: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    onward: str = ""
    zones: dict[str, Any] = {}


CASES = msgspec.convert(yaml.safe_load((HERE / "questions.yaml").read_text()), list[Case])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.ask + str(case.zones or ""))
def test_a_question_is_answered_as_coredns_does(case: Case) -> None:
    name, type_ = case.ask.split()
    found = answer(Question(name, type_), msgspec.convert(case.zones, Zones), WORLD)
    if case.status == "NONE":
        assert found is None
        return
    assert found is not None
    assert (found.status, found.onward) == (case.status, case.onward)
    assert _texts(found.records, name) == list(case.records)
    assert _texts(found.additional) == list(case.additional)
    refused = case.status == "REFUSED"
    assert found.authoritative is not refused
    assert [record.type for record in found.authority] == (["SOA"] if case.status in ("NODATA", "NXDOMAIN") else [])


def _texts(records: tuple[Record, ...], asked: str = "") -> list[str]:
    """As questions.yaml has them; the letters of the name asked for are those it was asked in."""
    return [f"{'.' if r.name == asked else r.name} {r.ttl} {r.type} {r.data}" for r in records]


def test_before_anything_is_known_every_name_of_the_zone_is_a_failure_of_the_server() -> None:
    found = answer(Question("web.default.svc.cluster.local.", "A"), Zones(), None)
    assert found is not None
    assert found.rcode == "SERVFAIL"


def test_there_are_as_many_questions_as_were_promised() -> None:
    assert len(CASES) >= 120
