"""Add-ons whose kubelet is not there: it may be about to begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from k8snetlab.addons.home import Home
from k8snetlab.addons.keeper import Outcome, Wish
from k8snetlab.addons.program import Program
from k8snetlab.agent import addons
from k8snetlab.agent.addons import AddOns
from k8snetlab.agent.protocol import Surroundings
from k8snetlab.state.ledger import Ledger


def test_a_kubelet_that_begins_is_waited_for_and_one_that_stays_away_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "addons", tmp_path / "kubelet.sock", lambda _: tmp_path, None)
    manager = AddOns("add-ons", None, Surroundings("n1", Ledger(tmp_path / "ledger"), tmp_path, addons=home))
    manager._wish = Wish((Program("bird", ("bird",)),), home.place("n1", "lab.n1", 1))
    manager._turn()
    assert manager._outcome.failures == () and manager.pending == ("add-on bird",)
    monkeypatch.setattr(addons, "BEGINNING", 0.0)
    manager._turn()
    assert "the kubelet does not answer" in manager._outcome.failures[0].message


def test_what_is_to_end_is_tried_again_when_the_kubelet_has_come_back(tmp_path: Path) -> None:
    home = Home(tmp_path / "addons", tmp_path / "kubelet.sock", lambda _: tmp_path, None)
    manager = AddOns("add-ons", None, Surroundings("n1", Ledger(tmp_path / "ledger"), tmp_path, addons=home))
    manager._wish = Wish((), home.place("n1", "lab.n1", 1))
    assert manager._turn() is not None, "there is another turn"
    assert manager._outcome.failures == () and manager.pending == ("add-on all",)


def test_a_turn_that_ends_while_it_is_asked_for_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    home = Home(tmp_path / "addons", tmp_path / "kubelet.sock", lambda _: tmp_path, None)
    manager = AddOns("add-ons", None, Surroundings("n1", Ledger(tmp_path / "ledger"), tmp_path, addons=home))
    manager._wish = Wish((Program("bird", ("bird",)),), home.place("n1", "lab.n1", 1))

    class Former:
        """What came of the wish before this one, to which nothing was left to do."""

        @property
        def pending(self) -> tuple[str, ...]:
            manager._outcome, manager._done = Outcome(pending=("bird",)), manager._wish
            return ()

    former: Any = Former()
    manager._outcome = former
    assert manager.pending == ("add-on bird",)
