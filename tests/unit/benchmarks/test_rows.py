"""Rows and what they come to: medians, ratios of neighbouring runs, goals, the change against what was recorded."""

from __future__ import annotations

import pytest

from benchmarks.rows import Goal, Row, key, lines, ratio


def test_the_ratio_is_the_median_of_neighbouring_runs() -> None:
    # The machine was twice as slow in the second round: the ratio of the medians would be 1.5.
    assert ratio((2.0, 6.0, 3.0), (1.0, 3.0, 2.0)) == 2.0


def test_runs_that_are_no_neighbours_are_compared_by_their_medians() -> None:
    assert ratio((2.0, 3.0, 9.0), (2.0,)) == 1.5
    [line] = lines("b", Row("join", (2.0, 6.0, 3.0), (1.0, 3.0, 2.0), apart=True), {})
    assert line.value == 1.5


@pytest.mark.parametrize(("limit", "met"), [(2.0, True), (1.9, False)])
def test_a_goal_beside_the_floor_is_the_most_that_is_met(limit: float, met: bool) -> None:
    [line] = lines("b", Row("up", (2.0,), (1.0,), goals=(Goal(limit),)), {})
    assert (line.value, line.beside, line.met) == (2.0, "floor", met)


@pytest.mark.parametrize(("limit", "met"), [(0.97, True), (0.99, False)])
def test_where_more_is_better_a_goal_is_the_least(limit: float, met: bool) -> None:
    [line] = lines("b", Row("rate", (98.0,), (100.0,), unit="Mbit/s", goals=(Goal(limit),), more=True), {})
    assert line.met is met


def test_a_row_of_two_goals_has_two_lines_and_figures_in_the_first() -> None:
    row = Row("up", (6.0,), (4.0,), (30.0,), goals=(Goal(1.4), Goal(1 / 3, "peer")))
    first, second = lines("b", row, {})
    assert (first.beside, first.value, first.met, first.first) == ("floor", 1.5, False, True)
    assert (second.beside, second.value, second.met, second.first) == ("peer", 0.2, True, False)


def test_a_goal_beside_a_peer_that_was_not_measured_is_neither_met_nor_missed() -> None:
    [line] = lines("b", Row("up", (6.0,), (4.0,), goals=(Goal(1 / 3, "peer"),)), {})
    assert (line.beside, line.value, line.met) == ("floor", 1.5, None)


def test_a_goal_of_its_own_unit_is_set_against_the_median() -> None:
    [line] = lines("b", Row("down", (1.0, 1.4, 9.0), goals=(Goal(1.5, ""),)), {})
    assert (line.value, line.met) == (1.4, True)


def test_a_row_without_anything_beside_it_is_its_own_median() -> None:
    [line] = lines("b", Row("memory", (3.0, 1.0, 2.0), unit="MB"), {})
    assert (line.value, line.beside, line.met, line.change) == (2.0, "", None, None)


@pytest.mark.parametrize(
    ("recorded", "more", "change", "worse"),
    [(2.0, False, 0.0, False), (1.85, False, 0.081, False), (1.8, False, 0.111, True), (4.0, False, -0.5, False),
     (1.0, True, 1.0, False), (2.5, True, -0.2, True), (2.1, True, -0.048, False)],
)  # fmt: skip
def test_more_than_a_tenth_worse_than_recorded_is_said(recorded: float, more: bool, change: float, worse: bool) -> None:
    row = Row("up", (2.0,), (1.0,), more=more)
    [line] = lines("small", row, {"small: up, beside its floor": recorded})
    assert line.change == pytest.approx(change, abs=0.001)
    assert line.worse is worse


def test_what_is_recorded_names_the_benchmark_and_what_it_stands_beside() -> None:
    found = lines("pods", Row("up", (6.0,), (4.0,), (30.0,), goals=(Goal(1.4), Goal(1, "peer"), Goal(9, ""))), {})
    assert [key("pods", line) for line in found] == [
        "pods: up, beside its floor",
        "pods: up, beside its peer",
        "pods: up",
    ]
