"""A trace in short: a line a hop, what happened there, no owner repeated; and it fits."""

from __future__ import annotations

from msgspec.structs import replace
from traced import answer, hop, led

from k8snetlab.cli import screen, summed
from k8snetlab.messages.trace import Trace
from k8snetlab.trace.way import Decision, Hop

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


def between_nodes(fate: str = "answered") -> Trace:
    """A pod's question to a Service with a pod of another node, with all that is seen on the way."""

    def devices(*names: str) -> tuple[Hop, ...]:
        return tuple(
            hop(place, device, way, "10.244.2.2", seen=True, microseconds=123.4)
            for place, device, way in (name.split() for name in names)
        )

    route = Decision("route", "x", entry="10.244.2.0/24 via 10.244.2.0 dev flannel.1")
    near = Decision("route", "x", entry="10.244.1.0/24 dev cni0 src 10.244.1.1")
    turned = Decision("conntrack", "the answer is turned back: 10.244.2.2:8080 → 10.244.1.2:60035 becomes "
                      "10.96.10.10:80 → 10.244.1.2:60035")  # fmt: skip
    there = devices("client eth0 out", "node1 veth06296bb8 in", "node1 cni0 in", "node1 flannel.1 out",
                    "node1 eth0 out", "router node1 in", "router node2 out", "node2 eth0 in", "node2 flannel.1 in",
                    "node2 cni0 out", "node2 vetha2ad0d47 out", "web eth0 in")  # fmt: skip
    back = devices("web eth0 out", "node2 vetha2ad0d47 in", "node2 cni0 in", "node2 flannel.1 out", "node2 eth0 out",
                   "router node2 in", "router node1 out", "node1 eth0 in", "node1 flannel.1 in", "node1 cni0 out",
                   "node1 veth06296bb8 out", "client eth0 in")  # fmt: skip
    there = (*there[:3], replace(there[3], decisions=(route,)), *there[4:])
    back = (*back[:9], replace(back[9], decisions=(turned, near)), *back[10:])
    whole = answer()
    assert whole.observed is not None
    way = replace(whole.way, there=there, back=back)
    seen = replace(whole.observed, fate=fate, agrees=fate == "answered", differences=())
    return replace(whole, ways=(way, way), observed=seen)


def test_a_way_between_two_nodes_and_back_fits_a_terminal_of_80_by_24() -> None:
    lines = [part for line, hang in summed.lines(between_nodes()) for part in screen.fold(line.plain, 80, hang)]
    assert len(lines) <= 23 and max(map(screen.cells, lines)) <= 80
    assert sum("✓" in line for line in lines[:14]) == 12, "the way there is whole"
    assert any(line.endswith("conntrack: now from 10.96.10.10:80") for line in lines)
    assert lines[-2] == "prediction and observation agree: answered after 500.00 ms; -v tells all"
    assert lines[-1] == "1 other way it could go: 1 answered"


def test_what_is_not_seen_is_left_out_of_no_way() -> None:
    trace = between_nodes("lost")
    back = [replace(one, seen=False, remark="not seen here") for one in trace.way.back]
    lines = told(replace(trace, ways=(replace(trace.way, back=tuple(back)), trace.ways[1])))
    assert sum("✗" in line and "not seen here" in line for line in lines) == 12
    assert "predicted: answered" in lines and any(line.startswith("observed:  lost") for line in lines)
