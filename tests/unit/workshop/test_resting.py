"""Which pods a lesson's check waits for."""

from __future__ import annotations

from typing import Any

import pytest

from k8snetlab.workshop.resting import stands_still

NOW = 1_795_973_615.0
THEN, JUST = "2026-11-29T17:33:00Z", "2026-11-29T17:33:34Z"


def pod(state: dict[str, Any], **conditions: tuple[str, str]) -> dict[str, Any]:
    said = [{"type": type_, "status": status, "lastTransitionTime": at} for type_, (status, at) in conditions.items()]
    return {"status": {"conditions": said, "containerStatuses": [{"state": state}] if state else []}}


RUNS: dict[str, Any] = {"running": {}}


@pytest.mark.parametrize(
    ("one", "still"),
    [
        (pod({}, PodScheduled=("False", THEN)), True),
        (pod({}), False),
        (pod({"waiting": {"reason": "ContainerCreating"}}, PodScheduled=("True", THEN)), False),
        (pod({"waiting": {"reason": "CrashLoopBackOff"}}, PodScheduled=("True", THEN)), True),
        (pod({"waiting": {"reason": "CreateContainerConfigError"}}), True),
        (pod(RUNS, Ready=("False", THEN)), True),
        (pod(RUNS, Ready=("False", JUST)), False),
        (pod(RUNS, Ready=("True", THEN)), False),
    ],
)
def test_a_pod_that_waits_for_what_does_not_come_is_not_waited_for(one: dict[str, Any], still: bool) -> None:
    assert stands_still(one, NOW) is still
