"""docs/speed.json: ratios by what was measured, kept for what did not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import recorded
from benchmarks.report import Outcome
from benchmarks.rows import Row

UP = Row("up", (2.0,), (1.0,))


def test_what_was_measured_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    recorded.write([Outcome("small", (UP, Row("memory", (46.0,), unit="MB")))], "2 cores", file)
    found = recorded.read(file)
    assert found.rows == {"small: up, beside its floor": 2.0, "small: memory": 46.0}
    assert found.machine == "2 cores" and found.date


def test_of_what_did_not_run_the_old_stays_and_of_what_did_nothing_old() -> None:
    before = {"small: up, beside its floor": 3.0, "small: gone": 1.0, "join: a node": 2.0, "idle: share": 0.5}
    outcomes = [Outcome("small", (UP,)), Outcome("join", cannot="no etcd"), Outcome("idle", failed="up: exit 1")]
    assert recorded.with_outcomes(before, outcomes) == {
        "small: up, beside its floor": 2.0,
        "join: a node": 2.0,
        "idle: share": 0.5,
    }


def test_of_what_failed_half_way_both_stay() -> None:
    before = {"idle: up": 9.0, "idle: share": 0.5}
    found = recorded.with_outcomes(before, [Outcome("idle", (Row("up", (3.0,)),), failed="status: exit 1")])
    assert found == {"idle: up": 3.0, "idle: share": 0.5}


def test_nothing_is_recorded_where_there_is_no_file(tmp_path: Path) -> None:
    assert recorded.read(tmp_path / "speed.json").rows == {}


def test_a_file_of_another_form_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    file.write_text('{"rows": [1]}')
    with pytest.raises(ValueError, match=r"speed.json: .*rows"):
        recorded.read(file)


@pytest.mark.parametrize(("load", "said"), [(0.3, ""), (17.26, ", busy with other work (load 17.3)")])
def test_a_machine_that_is_busy_is_said_to_be(load: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    assert recorded.beside() == said and recorded.machine().endswith(said)


def test_the_recorded_file_of_this_checkout_can_be_read() -> None:
    recorded.read()
