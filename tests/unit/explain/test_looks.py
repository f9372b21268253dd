"""How often a diagnosis looks, and which of the findings it reports."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from k8snetlab.diagnose.finding import Finding
from k8snetlab.explain import diagnosing
from k8snetlab.explain.desired import Desired
from k8snetlab.messages.diagnose import DiagnosisQuestion
from k8snetlab.state.paths import LabPaths

NOW = Desired(None, {}, "runs", "runs", 1, ())


def of(kind: str, fault: str, name: str) -> Finding:
    return Finding(kind=kind, fault=fault, node="node1", object=name, message="", consequence="", show="")


SILENT, UNREADY, WAITING = of("resolver", "silent", "a"), of("pod", "unready", "a"), of("pod", "waiting", "a")
NOBODY = of("resolver", "endpoints", "kube-dns")
OTHER = of("pod", "waiting", "b")


@pytest.mark.parametrize(
    ("looks", "reported"),
    [
        ([[]], []),
        ([[SILENT], []], []),
        ([[SILENT], [SILENT]], [SILENT]),
        ([[SILENT, OTHER], [SILENT]], [SILENT]),
        ([[SILENT], [NOBODY], [NOBODY]], [NOBODY]),
        ([[SILENT], [UNREADY], [WAITING]], [WAITING]),
        ([[SILENT], [SILENT, OTHER], [SILENT]], [SILENT]),
        ([[SILENT], [SILENT, OTHER], [SILENT, OTHER]], [SILENT, OTHER]),
        ([[SILENT], [OTHER], [UNREADY]], []),
    ],
)
def test_what_is_wrong_in_other_words_a_second_later_is_looked_at_once_more(
    monkeypatch: pytest.MonkeyPatch, looks: list[list[Finding]], reported: list[Finding]
) -> None:
    left, counted = iter(looks), dict.fromkeys(("walked", "broken", "tried"), 0)

    def look(*_: object, **__: object) -> Any:
        seen = SimpleNamespace(findings=[*next(left)], closed=[], notes=[], passed_by=[], machines=[], **counted)
        return SimpleNamespace(done=lambda: seen)

    monkeypatch.setattr(diagnosing, "_Look", look)
    monkeypatch.setattr("time.sleep", lambda _: None)
    told = diagnosing.diagnose(lambda: NOW, LabPaths("x"), DiagnosisQuestion(), lambda *_: None)
    assert [(one.kind, one.fault, one.object) for one in told.findings] == [
        (one.kind, one.fault, one.object) for one in reported
    ]
    assert next(left, None) is None, "it looks no more often"
