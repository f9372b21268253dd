"""A program that is being started is waited for; the kernel's side of it is in tests/kernel/addons."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from k8snetlab.addons import keeper as keeping
from k8snetlab.addons import leftovers, trial
from k8snetlab.addons.home import Home
from k8snetlab.addons.keeper import Keeper, Wish
from k8snetlab.addons.program import Place, Program
from k8snetlab.api.core import ContainerState, ContainerStateRunning, ContainerStateWaiting, ContainerStatus
from k8snetlab.api.workload import PodState, PodWork

BIRD = Program("bird", ("bird", "-f"))


class SlowKubelet:
    """What it says of a program is `state`, until another is set."""

    def __init__(self) -> None:
        self.state = ContainerState(waiting=ContainerStateWaiting(reason="ContainerCreating"))
        self.held: dict[str, PodState] = {}

    def addons(self, begin: str) -> dict[str, PodState]:
        status = ContainerStatus(name="bird", image="", started=False, state=self.state, restartCount=0)
        return {uid: msgspec.structs.replace(one, containers=(status,)) for uid, one in self.held.items()}

    def run(self, work: PodWork) -> PodState:
        self.held[work.uid] = PodState(work.uid, containers=())
        return self.addons("")[work.uid]

    def stop(self, uids: object) -> None:
        pass


@pytest.fixture
def kubelet() -> SlowKubelet:
    return SlowKubelet()


@pytest.fixture
def keeper(tmp_path: Path, kubelet: SlowKubelet, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.setattr(keeping, "Kubelet", lambda _: kubelet)
    monkeypatch.setattr(leftovers, "end", lambda *_: None)
    return Keeper("node1", Home(tmp_path, tmp_path / "kubelet", lambda node: tmp_path / node, None), tuple)


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    return Wish((BIRD,), Place("node1", "lab.node1", 1, str(tmp_path / "node1")))


def test_a_program_that_is_being_started_is_pending_and_has_not_failed(
    keeper: Keeper, kubelet: SlowKubelet, wish: Wish
) -> None:
    for _ in range(3):
        assert keeper.keep(wish).pending == ("bird",) and not keeper.keep(wish).failures
    kubelet.state = ContainerState(running=ContainerStateRunning())
    assert keeper.keep(wish).words == ()


def test_one_that_never_begins_is_a_failure(keeper: Keeper, wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "BEGINNING", 0.0)
    keeper.keep(wish)
    (failure,) = keeper.keep(wish).failures
    assert failure.message == "bird: it has not begun"


def test_one_that_cannot_be_started_is_a_failure_at_once(keeper: Keeper, kubelet: SlowKubelet, wish: Wish) -> None:
    kubelet.state = ContainerState(waiting=ContainerStateWaiting(reason="RunContainerError", message="no such file"))
    (failure,) = keeper.keep(wish).failures
    assert failure.message == "bird: no such file"
