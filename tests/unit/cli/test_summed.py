"""A trace in short: a line a hop, what happened there, no owner repeated; and it fits."""

from __future__ import annotations

from msgspec.structs import replace
from traced import answer, hop, led

from k8snetlab.cli import screen, summed
from k8snetlab.messages.trace import Trace
from k8snetlab.trace.way import Decision

STOP = Decision("stop", "no route to 10.0.0.9 in node1")


def told(of: Trace) -> list[str]:
    return [line.plain for line, _ in summed.lines(of)]


def test_a_line_for_each_device_with_what_happened() -> None:
    lines = told(answer())
    assert lines[2].split() == ["there", "10.0.0.1:1", "→", "10.9.0.1:80"]
    assert lines[3].split() == ["a", "eth0", "out", "✓", "0.0", "µs"]
    assert lines[4].endswith("8.2 µs  DNAT to 10.0.0.9:80")
    assert "✗  not seen here: the cable" in lines[5]
    assert not any("web.yaml:3" in line for line in lines)
    assert "✗ b eth0 in: not seen here: the cable" in lines
    assert "1 other way it could go: 1 answered" in lines


def test_where_it_ends_is_said_with_the_reason() -> None:
    first = answer().way.there[0]
    lost = led(replace(answer(), observed=None), first, hop("node1", "", "", "10.0.0.9", decisions=(STOP,)))
    assert told(lost)[4].split(maxsplit=1) == ["node1", "✗ no route to 10.0.0.9 in node1"]


def test_a_rule_that_ends_it_is_told_once() -> None:
    rule = Decision("rule", "REJECT: filter FORWARD > KUBE-SERVICES, rule 6", owner="Service default/w, w.yaml:3")
    stop = Decision("stop", f"node1: {rule.text} ({rule.owner})")
    first = answer().way.there[0]
    lost = led(replace(answer(), observed=None), first, hop("node1", "", "", "10.0.0.9", decisions=(rule, stop)))
    assert told(lost)[4] == "  node1  ✗ REJECT: filter FORWARD > KUBE-SERVICES, rule 6 (Service default/w)"


def test_what_is_delivered_is_said_at_the_last_device() -> None:
    arrived = Decision("deliver", "delivered to 10.0.0.9:80 in b")
    route = Decision("route", "x", entry="0.0.0.0/0 via 10.0.0.254 dev eth0 src 10.0.0.1")
    fine = led(
        answer(),
        hop("b", "eth0", "in", "10.0.0.9", seen=True, microseconds=1.0, decisions=(route,)),
        hop("b", "", "", "10.0.0.9", decisions=(arrived,)),
    )
    assert told(fine)[3].endswith("route default via 10.0.0.254; delivered to 10.0.0.9:80")


def test_every_line_fits_on_80_columns() -> None:
    *before, last = answer().way.there
    long = led(answer(), *before, replace(last, place="a-pod-with-quite-a-long-name-579bbbb48b-l2q49"))
    for line, hang in summed.lines(long):
        assert all(screen.cells(part) <= 80 for part in screen.fold(line.plain, 80, hang))
