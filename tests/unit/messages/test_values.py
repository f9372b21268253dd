"""Messages come out of JSON as the values that went in; what is wrong in one is told with its path."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from traced import answer

from k8snetlab.cli.options import as_json
from k8snetlab.dataplane.frames import Connection, Frame
from k8snetlab.dataplane.packet import Packet
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.messages.diagnose import Diagnosis, DiagnosisDone, DiagnosisEvent, DiagnosisProgress, PathCounts
from k8snetlab.messages.probe import PROBE, ProbeQuestion, ProbeResult, ProbeResults
from k8snetlab.messages.rules import Chains
from k8snetlab.messages.trace import Trace
from k8snetlab.messages.watch import Watching, WatchSeen

RESULT = ProbeResult("a", "n1", "web", "clusterIP", "10.9.0.1", 80, "TCP", reached=True, seen="answered")
PACKET = Packet(
    "10.0.0.1", "10.0.0.2", "udp", 40000, 8472, payload=b"\x00\xff", vni=1, inner=Packet("::1", "::2", "tcp")
)
DONE = DiagnosisDone((), (), ("a note",), PathCounts(3, 0, 2), 0.25)


@pytest.mark.parametrize(
    "value",
    [
        answer(),
        ProbeResults((RESULT,)),
        Chains.of("n1", "nft", {ChainKey("nat", "C"): ("-j X", "-j Y")}, {ChainKey("nat", "C"): ((1, 60), (0, 0))}),
        DiagnosisProgress("rules", 1, 3),
        DONE,
        Watching(),
        WatchSeen(
            (Frame("l.n1", "eth0", True, False, 7, PACKET),), (Connection("l.n1", "tcp", *[("a", 1, "b", 2)] * 2),)
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_message_comes_out_of_json_as_it_went_in(value: msgspec.Struct) -> None:
    assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value


def test_chains_keep_rules_and_counters_by_chain() -> None:
    rules, counters = {ChainKey("nat", "C"): ("-j X",), ChainKey("raw", "D"): ()}, {ChainKey("nat", "C"): ((1, 60),)}
    held = Chains.of("n1", "legacy", rules, counters)
    assert held.rules == rules and held.counters == counters | {ChainKey("raw", "D"): ()}
    assert json.loads(msgspec.json.encode(held))["chains"] == [["nat", "C", ["-j X"], [[1, 60]]], ["raw", "D", [], []]]


def test_an_event_of_a_stream_is_known_by_its_type_and_printed_without_it() -> None:
    line = msgspec.json.encode(DONE)
    assert line.startswith(b'{"type":"done","findings":[]')
    assert msgspec.json.decode(line, type=DiagnosisEvent) == DONE
    plain = Diagnosis(**msgspec.structs.asdict(DONE))
    assert as_json(DONE) == as_json(plain) and "type" not in json.loads(as_json(DONE))


def test_fields_that_are_words_of_python_have_their_own_names_in_json() -> None:
    said = json.loads(as_json(ProbeResults((RESULT,))))["results"][0]
    assert (said["from"], said["fromNode"], said["to"]) == ("a", "n1", "web") and "source" not in said
    asked = json.loads(PROBE.body(ProbeQuestion("a", "b", 80, ("TCP",))))
    assert (asked["from"], asked["to"], asked["port"], asked["protocols"]) == ("a", "b", 80, ["TCP"])


@pytest.mark.parametrize(
    ("type_", "said", "path"),
    [
        (ProbeQuestion, {"from": "a", "to": "b", "port": 65536}, "$.port"),
        (ProbeQuestion, {"protocols": ["TCP", 6]}, "$.protocols[1]"),
        (ProbeResults, {"results": [msgspec.to_builtins(RESULT) | {"seen": "heard"}]}, "$.results[0].seen"),
        (Trace, msgspec.to_builtins(answer()) | {"observed": {"fate": "lost"}}, "$.observed"),
        (DiagnosisEvent, {"type": "progress", "phase": "rules", "done": "1", "total": 3}, "$.done"),
        (DiagnosisEvent, {"type": "ready"}, "$.type"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(type_: Any, said: dict[str, Any], path: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(said), type=type_)
    assert f"`{path}`" in str(caught.value)
