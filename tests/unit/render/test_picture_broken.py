"""Pictures show what is broken, names whole, endpoints in order, the verdict in its colour, on a light background."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from pictured import manifest
from traced import answer, hop, led

from k8snetlab.api.load import load
from k8snetlab.cli import sequence
from k8snetlab.cli.graph import alarm_of
from k8snetlab.lab.render import settle
from k8snetlab.messages.diagnose import ReportedFinding
from k8snetlab.render.canvas import ALARM, GOOD, PAPER
from k8snetlab.render.picture import picture
from k8snetlab.render.picture_boxes import Alarm, Picture
from k8snetlab.render.picture_svg import svg
from k8snetlab.render.picture_text import dot, mermaid

PENDING = (
    "---\napiVersion: v1\nkind: Pod\nmetadata: {name: picky}\nspec: {nodeSelector: {a: b}, containers: [{name: c}]}\n"
)
POD = "a-rather-long-name-of-a-workload-75c4d8f9b6-2-1"


def pictured(*alarms: Alarm) -> Picture:
    return picture(settle(load([("f.yaml", manifest(2, 12) + PENDING)]).objects), alarms)


def finding(kind: str, node: str, named: str, show: str) -> ReportedFinding:
    return ReportedFinding(kind, "wrong", node, named, "M", "", show, "", "", "", (), ())


@pytest.mark.parametrize(
    ("found", "alarm"),
    [
        (finding("link", "node1", "flannel.1", "ip -n l.node1 -d link show dev flannel.1"), ("node1", "flannel.1", "")),
        (finding("link", "leaf1", "up1", "ip -n l.leaf1 -d link show dev up1"), ("leaf1", "up1", "")),
        (finding("link", "node1", "eth0", "ip -n l.default.web -d link show dev eth0"), ("node1", "", "default/web")),
        (finding("rule", "node1", "nat X", "ip netns exec l.node1 iptables-save -t nat"), ("node1", "", "")),
        (finding("fdb", "node1", "aa", "bridge -n l.node1 fdb show dev flannel.1"), ("node1", "flannel.1", "")),
        (finding("pod", "node1", "default/web", "k8snetlab logs web"), ("node1", "", "default/web")),
        (finding("service", "", "default/web:80", "k8snetlab get endpoints"), ("", "", "default/web:80")),
    ],
)
def test_a_finding_has_its_place_in_the_picture(found: ReportedFinding, alarm: tuple[str, str, str]) -> None:
    placed = alarm_of(found, "l")
    assert (placed.node, placed.device, placed.object) == alarm


def test_what_is_broken_is_red_and_in_words() -> None:
    whole = pictured()
    broken = pictured(
        Alarm("node1: flannel.1 is down", "node1", "flannel.1"),
        Alarm("a pod is silent", "node2", object=f"default/{POD}"),
        Alarm("no endpoint", object="default/a0:80"),
    )
    assert broken.nodes[0].broken == ("flannel.1",)
    assert [pod.name for node in broken.nodes for pod in node.pods if pod.broken] == [POD]
    assert [service.name for service in broken.services if service.broken] == ["a0"]
    assert whole.alarms == ("pod picky is on no node: Pending",)
    drawn = svg(broken)
    assert drawn.count(ALARM) > svg(whole).count(ALARM)
    assert "node1: flannel.1 is down" in drawn and "pod picky is on no node: Pending" in drawn
    assert re.search(r"class node0tunnel,node1pod\d+,service0 broken", mermaid(broken))
    assert "node0tunnel [style=filled" in dot(broken)
    assert "broken" not in mermaid(whole)


def test_endpoints_are_in_the_order_of_nodes_and_addresses() -> None:
    ends = next(service for service in pictured().services if service.name == "a0").endpoints
    keys = [tuple(map(int, re.split(r"[.:]", end))) for end in ends]
    assert keys == sorted(keys) and len(keys) == 12
    for node in pictured().nodes:
        own = [tuple(map(int, pod.addresses[0].split("."))) for pod in node.pods]
        assert own == sorted(own)


def test_names_are_whole_and_the_background_is_light() -> None:
    drawn = svg(pictured())
    assert f">{POD}<" in drawn and "…" not in drawn
    assert f'fill="{PAPER}"' in drawn
    assert f'fill="{PAPER}"' in sequence.svg(answer())


def test_a_trace_picture_breaks_no_name_and_shows_its_verdict() -> None:
    name = "a-pod-with-a-name-that-is-longer-than-a-line-of-a-note-579bbbb48b-l2q49"
    first, second, last = answer().way.there
    owned = replace(second.decisions[0], owner=f"Pod default/{name}")
    bad = led(answer(), first, replace(second, decisions=(owned,)), last)
    assert f"default/{name})" in sequence.svg(bad) and 'fill="#fee2e2"' in sequence.svg(bad)
    good = led(answer(), *(replace(one, seen=True, microseconds=1.0, remark="") for one in (first, second, last)))
    assert good.observed is not None
    good = replace(good, observed=replace(good.observed, fate="answered", agrees=True, differences=()))
    assert ALARM not in sequence.svg(good) and f'stroke="{GOOD}"' in sequence.svg(good)


def test_an_arrow_passes_over_the_lifelines_that_are_none_of_its_ends() -> None:
    places = ("outside", "router", "node2", "router", "node1")
    crossing = led(answer(), *(hop(place, "eth0", "out", "10.0.0.9") for place in places))
    arcs = re.findall(r'<path d="([^"]*)"', sequence.svg(crossing))
    assert [path.count(" A ") for path in arcs] == [0, 0, 0, 1]
