"""What a drill is worth: detection, place, cause, mend, time and hints."""

from __future__ import annotations

import csv
import io

import pytest
from msgspec.structs import replace

from k8snetlab.cli.drill import COLUMNS, line
from k8snetlab.faults.catalogue import FAULTS
from k8snetlab.faults.drill import Answer, Drill, graded, hints, is_object, may_be_hidden, total
from k8snetlab.faults.fault import Damage, Seen
from k8snetlab.faults.injected import Injected
from k8snetlab.messages.drills import DrillState, GradeRow
from k8snetlab.messages.faults import InjectedFault

FDB = Injected("fdb-stale", "node1", 0.0, Damage("0e:dd:48:19:51:25", Seen("pod/default/a", "pod/default/b")))
DRILL = Drill(FDB, level=2, minutes=10, began=1000.0)
RIGHT = Answer("node1", "0e:dd:48:19:51:25", "fdb-stale")


def points(**changed: object) -> dict[str, int]:
    return {one.what: one.points for one in graded(replace(DRILL, **changed), 1300.0)}


def test_all_that_is_right_at_once_is_a_hundred() -> None:
    found = points(answers=(RIGHT,), repaired=1000.0, ended=1000.0)
    assert found == {"detected": 10, "node": 10, "object": 15, "cause": 25, "repaired": 25, "time": 15}
    assert sum(found.values()) == 100


def test_who_gives_up_without_a_word_has_nothing() -> None:
    assert set(points(gave_up=True, ended=1300.0).values()) == {0}


@pytest.mark.parametrize(
    ("answer", "worth"),
    [
        (RIGHT, {"node": 10, "object": 15, "cause": 25}),
        (replace(RIGHT, node="node2"), {"node": 0, "object": 15, "cause": 25}),
        (replace(RIGHT, cause="fdb-missing"), {"node": 10, "object": 15, "cause": 12}),
        (replace(RIGHT, cause="hairpin"), {"node": 10, "object": 15, "cause": 0}),
        (replace(RIGHT, object="cni0"), {"node": 10, "object": 0, "cause": 25}),
        (Answer(cause="fdb-stale"), {"node": 0, "object": 0, "cause": 25}),
    ],
)
def test_where_what_and_why_are_scored_apart(answer: Answer, worth: dict[str, int]) -> None:
    found = points(answers=(answer,))
    assert {what: found[what] for what in worth} == worth and found["detected"] == 10


def test_hints_and_second_thoughts_cost_and_never_below_nothing() -> None:
    found = points(hints=2, answers=(Answer("node2"), RIGHT), repaired=1300.0, ended=1300.0)
    assert (found["hints"], found["answers"], found["time"], found["cause"]) == (-10, -2, 8, 25)
    assert total(tuple(graded(replace(DRILL, hints=3, ended=1300.0), 1300.0))) == 0


def test_a_mend_after_the_time_is_a_mend_without_points_for_time() -> None:
    found = points(repaired=9000.0, ended=9000.0)
    assert (found["repaired"], found["time"], found["detected"]) == (25, 0, 10)


@pytest.mark.parametrize(
    ("object_", "right", "wrong"),
    [
        ("flannel.1", ["flannel.1"], ["cni0", "", "1"]),
        ("nat KUBE-SVC-X 2", ["KUBE-SVC-X", "nat KUBE-SVC-X 2", "nat KUBE-SVC-X"], ["nat", "2", "KUBE-SVC-Y", "nat 2"]),
        ("default/web:80", ["default/web:80", "web", "default/web"], ["80", "api"]),
        ("10.244.2.0/24", ["10.244.2.0/24"], ["24", "10.244.1.0/24"]),
        ("nat PREROUTING -> KUBE-SERVICES", ["PREROUTING", "nat PREROUTING"], ["OUTPUT"]),
    ],
)
def test_an_object_is_known_by_its_name_alone(object_: str, right: list[str], wrong: list[str]) -> None:
    fault = replace(FDB, damage=replace(FDB.damage, object=object_))
    assert all(is_object(said, fault) for said in right)
    assert not any(is_object(said, fault) for said in wrong)


def test_no_hint_says_the_name() -> None:
    for name in filter(lambda one: may_be_hidden(FAULTS[one]), FAULTS):
        told = " ".join(hints(replace(FDB, name=name)))
        assert f" {name} " not in f" {told} " and FAULTS[name].title not in told


def test_a_line_for_the_class_sheet_has_a_field_for_each_column_and_no_formula() -> None:
    fault = InjectedFault("fdb-stale", "", 2, "node1", "", "", "", (), 0.0)
    grade = (GradeRow("node", 10, 10, ""), GradeRow("hints", -5, 0, ""))
    state = DrillState(False, 2, 15, 0.0, "", (), 1, False, fault=fault, grade=grade, points=5)
    [row] = csv.reader(io.StringIO(line(state, "lab", '=cmd("x"), Ada')))
    found = dict(zip(COLUMNS, row, strict=True))
    assert found["student"] == '\'=cmd("x"), Ada' and found["fault"] == "fdb-stale"
    assert (found["node"], found["hints"], found["time"], found["points"]) == ("10", "-5", "0", "5")
