"""What a first look has found stands once those who may mend it have looked since, and done nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.diagnose.finding import Finding
from k8snetlab.explain import settling
from k8snetlab.explain.desired import AgentNow, Desired
from k8snetlab.explain.settling import Rest, stand, unsettled

NOW = Desired(None, {"node1": AgentNow(), "node2": AgentNow(paused=True)}, "runs", "runs", 1, ())


def of(kind: str, node: str) -> Finding:
    return Finding(kind=kind, fault="missing", node=node, object="x", message="", consequence="", show="")


class Clock:
    """An agent that looks after some sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, looks: float, works: float = 1e9) -> None:
        self.now, self.looks, self.works = 100.0, looks, works
        monkeypatch.setattr(settling.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(settling.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> dict[str, Rest]:
        looked = self.now if self.now >= 100 + self.looks else 99.0
        return {"node1": Rest(looked, 5 + (self.now >= 100 + self.works)), "node2": Rest(0.0, 0)}


BEFORE = {"node1": Rest(99.0, 5), "node2": Rest(0.0, 0)}


def test_an_agent_that_has_looked_since_and_done_nothing_mends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, looks=0.4)
    assert stand([of("route", "node1"), of("link", "node2")], NOW, BEFORE, clock)
    assert 0.3 < clock.now - 100 < 0.6, "not longer than until it has looked"


@pytest.mark.parametrize(
    ("finding", "looks", "works"),
    [
        (of("route", "node1"), 9.0, 1e9),
        (of("route", "node1"), 0.4, 0.2),
        (of("pod", "node1"), 0.4, 1e9),
        (of("path", "node1"), 0.4, 1e9),
        (of("route", "elsewhere"), 0.4, 1e9),
        (of("kubelet", ""), 0.4, 1e9),
    ],
)
def test_all_else_is_looked_for_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch, finding: Finding, looks: float, works: float
) -> None:
    clock = Clock(monkeypatch, looks, works)
    assert not stand([finding], NOW, BEFORE, clock)
    assert clock.now == pytest.approx(100 + settling.SETTLE)


@pytest.mark.parametrize("fault", ["pending", "waiting", "failed"])
@pytest.mark.parametrize("node", ["", "node1"])
def test_a_pod_that_no_object_tells_news_of_is_as_a_second_look_would_find_it(fault: str, node: str) -> None:
    found = replace(of("pod", node), fault=fault)
    assert unsettled(found, replace(NOW, quiet=settling.SETTLE - 0.1))
    assert not unsettled(found, replace(NOW, quiet=settling.SETTLE))


def test_what_a_kernel_tells_may_be_mended_though_no_object_changes() -> None:
    quiet = replace(NOW, quiet=3600.0)
    assert unsettled(replace(of("pod", "node1"), fault="silent"), quiet), "its sockets are its kubelet's"
    assert unsettled(of("route", "node1"), quiet)
    assert unsettled(of("path", ""), quiet)
