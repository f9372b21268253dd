"""The table of the benchmarks: figures with units, verdicts, changes, what could not run; 80 columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks.report import Outcome, figure, notes, show, summary
from benchmarks.rows import Goal, Row, Unit

UP = Row(
    "1000 pods: up until each answers",
    (12.4, 12.9, 13.1),
    (4.1, 4.3, 4.2),
    (18.7,),
    goals=(Goal(1 / 0.7), Goal(1 / 3, "peer")),
    note="the floor is a C program",
)
RATE = Row("pod to pod", (9800.0,), (10_000.0,), unit="Mbit/s", goals=(Goal(0.97),), more=True)
OUTCOMES = (
    Outcome("pods", (UP, Row("down", (1.02,), goals=(Goal(1.5, ""),)))),
    Outcome("throughput", (RATE,)),
    Outcome("join", cannot="no etcd: apt-get install etcd-server"),
    Outcome("idle", failed="up: exit 1"),
)
RECORDED = {"pods: 1000 pods: up until each answers, beside its floor": 2.0, "pods: down": 1.0}


def shown(recorded: dict[str, float]) -> str:
    out = io.StringIO()
    show(OUTCOMES, recorded, Console(file=out, width=80))
    return out.getvalue()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (12.44, "s", "12.4 s"),
        (0.9996, "s", "1.00 s"),
        (0.0874, "s", "87.4 ms"),
        (0.000874, "s", "874 µs"),
        (123.4, "s", "123 s"),
        (149.96, "MB", "150 MB"),
        (0.834, "% of a core", "0.83 %"),
        (9800.0, "Mbit/s", "9.80 Gb/s"),
        (0.0, "s", "0.00 µs"),
    ],
)
def test_a_figure_has_three_digits_and_its_unit(value: float, unit: Unit, text: str) -> None:
    assert figure(value, unit) == text


def test_the_table_has_ours_floor_peer_ratio_goal_and_verdict() -> None:
    lines = [" ".join(line.split()) for line in shown({}).splitlines()]
    assert "ours floor peer ratio goal change" in lines
    # A long name wraps; the figures stand beside its first line.
    assert "1000 pods: up until 12.9 s 4.20 s 18.7 s x3.02 ≤x1.43 missed" in lines
    assert "beside its peer x0.69 ≤x0.333 missed" in lines
    assert "down 1.02 s ≤1.50 s met" in lines
    assert "pod to pod 9.80 Gb/s 10.0 Gb/s x0.98 ≥x0.97 met" in lines


def test_the_table_shows_the_change_against_what_was_recorded() -> None:
    text = shown(RECORDED)
    assert "+51 %" in text and "+2 %" in text
    assert text.splitlines()[-1] == "2 met, 2 missed, 1 more than 10 % worse than recorded, 1 cannot run, 1 failed"


def test_the_table_fits_80_columns() -> None:
    assert max(map(len, shown(RECORDED).splitlines())) <= 80


def test_notes_say_what_floors_are_and_why_something_could_not_run() -> None:
    assert notes(OUTCOMES) == [
        "pods: the floor is a C program",
        "join cannot run: no etcd: apt-get install etcd-server",
        "idle failed: up: exit 1",
    ]


def test_the_sum_of_nothing_is_nothing_met_and_missed() -> None:
    assert summary([], {}) == "0 met, 0 missed"
