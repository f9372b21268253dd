"""What the manifests ask of each pair of a probe, and what is said of what became of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.explain.intended import Intent, Intents
from k8snetlab.explain.matrix import ALL_OF_LARGE, LARGE, MOST, chosen, everyone
from k8snetlab.explain.places import Place, all_places
from k8snetlab.explain.targets import Target, all_targets
from k8snetlab.explain.verdicts import judged, seen
from k8snetlab.messages.probe import ProbeResult
from k8snetlab.testing import fake_cluster


def pod(name: str, node: str, labels: str = "app: web") -> str:
    return (
        f"---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{{labels}}}}}, "
        f"spec: {{nodeName: {node}, containers: [{{name: c, ports: [{{containerPort: 80}}]}}]}}}}\n"
    )


PODS = pod("client", "node1", "app: client") + pod("web", "node2")


def snapshot_of(more: str = "", selector: str = "app: web", beside: str = "") -> Snapshot:
    service = (
        "---\n{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, "
        f"ports: [{{port: 80, nodePort: 30080}}], selector: {{{selector}}}{more}}}, "
        "status: {loadBalancer: {ingress: [{ip: 198.51.100.7}]}}}\n"
    )
    return fake_cluster.FakeCluster(fake_cluster.LAB % 2 + PODS + beside + service).settle().kubelet().settle().snapshot


def intents(snapshot: Snapshot) -> dict[tuple[str, str], Intent]:
    asked = Intents(snapshot)
    pairs = ((place, target) for place in all_places(snapshot) for target in all_targets(snapshot))
    return {(p.name, f"{t.kind} {t.name}"): asked.of(p, t) for p, t in pairs}


def closed(found: dict[tuple[str, str], Intent]) -> set[tuple[str, str]]:
    return {pair for pair, intent in found.items() if intent.expected == "closed"}


ALWAYS = {("outside", "pod client"), ("outside", "pod web"), ("outside", "clusterIP web")}


@pytest.mark.parametrize(
    ("more", "shut", "either"),
    [
        ("", set(), set()),
        (
            ", internalTrafficPolicy: Local",
            {("client", "clusterIP web"), ("node1", "clusterIP web")},
            set(),
        ),
        (
            ", externalTrafficPolicy: Local",
            {("outside", "nodePort web@node1")},
            {(name, "nodePort web@node1") for name in ("client", "web", "node1", "node2")},
        ),
        (
            ", loadBalancerSourceRanges: [10.244.1.0/24]",
            {("web", "externalIP web"), ("outside", "externalIP web")},
            {("node1", "externalIP web"), ("node2", "externalIP web")},
        ),
        (
            ", loadBalancerSourceRanges: [203.0.113.0/24]",
            {("web", "externalIP web"), ("client", "externalIP web")},
            {("node1", "externalIP web"), ("node2", "externalIP web")},
        ),
    ],
)
def test_what_a_manifest_closes(more: str, shut: set[tuple[str, str]], either: set[tuple[str, str]]) -> None:
    found = intents(snapshot_of(more))
    assert closed(found) == ALWAYS | shut
    assert {pair for pair, intent in found.items() if intent.expected == "either"} == either
    assert all(found[pair].why for pair in shut | either)


def test_a_service_without_endpoints_is_closed_where_that_is_meant() -> None:
    found = intents(snapshot_of(selector="app: zero", beside=fake_cluster.deployment("zero", 0)))
    assert {pair for pair in found if pair[1].endswith(" web") or "@" in pair[1]} - closed(found) <= {
        (name, "pod web") for name in ("client", "web", "node1", "node2")
    }
    near = intents(snapshot_of(selector="app: wbe"))
    assert closed(near) == ALWAYS, "a selector with a typing error is no will"
    assert "has no endpoints: no pod has the labels app=wbe" in near["client", "clusterIP web"].why


def result(**changes: Any) -> ProbeResult:
    return ProbeResult("client", "node1", "web", "clusterIP", "10.96.0.1", 80, "TCP", True, "answered", **changes)


class Judged(NamedTuple):
    """A probe of Service web: what the manifests ask for, what happened, and what is to be said of it."""

    intent: Intent
    verdict: str
    reached: bool = False
    answered_by: str = ""
    words: str = ""
    space: str = ""


BY_WEB = Intent("answered", "", frozenset({"WEB"}))
JUDGED = {
    "its endpoint answers": Judged(BY_WEB, "as intended", reached=True, answered_by="web"),
    "a pod answers that is no endpoint": Judged(
        BY_WEB, "broken", reached=True, answered_by="client", words="is answered by client, which is no end"
    ),
    "a namesake in another namespace answers": Judged(
        BY_WEB, "broken", reached=True, answered_by="web", space="b", words="is answered by b/web, which is no end"
    ),
    "its endpoint answers and says its namespace": Judged(
        BY_WEB, "as intended", reached=True, answered_by="web", space="default"
    ),
    "somebody unknown answers": Judged(BY_WEB, "as intended", reached=True),
    "a closed door answers": Judged(
        Intent("closed", "because"), "broken", reached=True, words="answered, though it is closed: because"
    ),
    "a door that may do either answers": Judged(Intent("either", "because"), "as intended", reached=True),
    "a closed door is silent": Judged(Intent("closed", "because"), "closed on purpose", words="because"),
    "a door that may do either is silent": Judged(Intent("either", "because"), "closed on purpose", words="because"),
    "an open door is silent, and it is known why": Judged(Intent("answered", "because"), "broken", words="because"),
    "an open door is silent": Judged(
        Intent("answered"), "broken", words="no answer within 2 s at Service web, port 80"
    ),
}


@pytest.mark.parametrize("case", JUDGED.values(), ids=JUDGED)
def test_a_verdict_sets_what_happened_against_what_is_asked_for(case: Judged) -> None:
    snapshot, intent = snapshot_of(), case.intent
    web = next(p for p in all_places(snapshot) if p.name == "web")
    if intent.endpoints:
        intent = replace(intent, endpoints=frozenset(web.ips))
    error = "" if case.reached else "no answer within 2 s"
    one = replace(result(answeredBy=case.answered_by, answeredNamespace=case.space), reached=case.reached, error=error)
    asked = Target("web", "clusterIP", "10.96.0.1", 80, "TCP")
    found = judged(snapshot, Place("client", "pod", "x", "node1"), asked, one, intent)
    assert (found.verdict, found.expected, found.ok) == (case.verdict, intent.expected, case.verdict != "broken")
    assert case.words in found.why and bool(found.why) == (case.verdict != "as intended")


def test_what_the_kernel_said_in_a_word() -> None:
    told = [seen(False, error) for error in ("connection refused", "no route to host", "no answer within 2 s", "what?")]
    assert told == ["refused", "unreachable", "silent", "silent"] and seen(True, "") == "answered"


def test_of_a_large_lab_every_target_is_asked_and_every_place_asks() -> None:
    some = [Place(f"p{n}", "pod", f"n{n}") for n in range(90)]
    asked = [Target(f"t{n}", "pod", "10.0.0.1", n + 1, "TCP") for n in range(90)]
    pairs = [*chosen(some, asked)]
    assert len(pairs) <= MOST and {t for _, t in pairs} == set(asked) and {p for p, _ in pairs} == set(some)
    assert len([*chosen(some[:20], asked[:20])]) == 400


def test_of_three_hundred_pods_probe_all_asks_each_by_some() -> None:
    some = [Place(f"p{n}", "pod", f"n{n}") for n in range(304)]
    asked = [Target(f"t{n}", "pod", "10.0.0.1", n + 1, "TCP") for n in range(301)]
    pairs = everyone(some, asked)
    assert len(pairs) <= ALL_OF_LARGE and {t for _, t in pairs} == {*asked} and len({*pairs}) == len(pairs)
    assert len(everyone(some[:50], asked[:50])) == 2500


def test_of_a_large_lab_another_turn_asks_others_and_from_other_places() -> None:
    some = [Place(f"p{n}", "pod", f"n{n}") for n in range(90)]
    asked = [Target(f"t{n}", "pod", "10.0.0.1", n + 1, "TCP") for n in range(900)]
    turns = [{*chosen(some, asked, turn)} for turn in range(900 // LARGE + 1)]
    assert all(len(one) == LARGE for one in turns) and {t for one in turns for _, t in one} == {*asked}
    few = [{*chosen(some, asked[:90], turn)} for turn in range(90)]
    assert {*chosen(some, asked, 7)} == {*chosen(some, asked, 7)}
    assert {pair for one in few for pair in one} == {(place, target) for place in some for target in asked[:90]}


def test_nobody_asks_a_pod_on_its_way_out_nor_is_asked_by_it() -> None:
    now = snapshot_of()
    pod = now.all(Pod)["default", "web"]
    assert pod.ready and any(target.name == "web" and target.kind == "pod" for target in all_targets(now))
    going = replace(pod, metadata=replace(pod.metadata, deletionTimestamp="2026-01-01T00:00:00Z"))
    later = now.changed([(Pod, pod.key, going)], now.revision + 1)
    assert not any(one.name == "web" and one.kind == "pod" for one in all_targets(later, ("TCP", "UDP", "ICMP")))
    assert "web" not in {place.name for place in all_places(later)}
