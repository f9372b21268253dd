"""The phase, the conditions and the words of a pod, from the states of its containers."""

from __future__ import annotations

from typing import Literal

import pytest

from k8snetlab.api import pod_state
from k8snetlab.api.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
)
from k8snetlab.api.meta import ObjectMeta

Policy = Literal["Always", "OnFailure", "Never"]
RUNNING = ContainerState(running=ContainerStateRunning(startedAt="2026-01-01T00:00:00Z"))
CREATING = ContainerState(waiting=ContainerStateWaiting(reason="ContainerCreating"))
BACKOFF = ContainerState(waiting=ContainerStateWaiting(reason="CrashLoopBackOff"))


def ended(code: int, reason: str = "") -> ContainerState:
    said = reason or ("Error" if code else "Completed")
    return ContainerState(terminated=ContainerStateTerminated(exitCode=code, reason=said))


def spec(count: int, policy: Policy = "Always", sidecars: int = 0) -> PodSpec:
    return PodSpec(
        containers=tuple(Container(name=f"c{n}") for n in range(count)),
        initContainers=tuple(Container(name=f"s{n}", restartPolicy="Always") for n in range(sidecars)),
        restartPolicy=policy,
    )


def status(name: str, state: ContainerState, last: ContainerState | None = None) -> ContainerStatus:
    running = state.running is not None
    return ContainerStatus(
        name=name, state=state, lastState=last or ContainerState(), ready=running, started=running or None
    )


@pytest.mark.parametrize(
    ("policy", "states", "phase"),
    [
        ("Always", [RUNNING], "Running"),
        ("Always", [CREATING], "Pending"),
        ("Always", [RUNNING, CREATING], "Pending"),
        ("Always", [ended(0)], "Running"),
        ("Never", [ended(0)], "Succeeded"),
        ("Never", [ended(0), ended(1)], "Failed"),
        ("Never", [ended(1), RUNNING], "Running"),
        ("OnFailure", [ended(0), ended(0)], "Succeeded"),
        ("OnFailure", [ended(1)], "Running"),
        ("OnFailure", [], "Pending"),
    ],
)
def test_the_phase_is_the_kubelets(policy: Policy, states: list[ContainerState], phase: str) -> None:
    statuses = [status(f"c{n}", state) for n, state in enumerate(states)]
    assert pod_state.phase(spec(max(1, len(states)), policy), statuses) == phase


def test_a_container_that_waits_to_be_started_again_has_begun() -> None:
    waiting = [status("c0", BACKOFF, ended(1))]
    assert [pod_state.phase(spec(1, policy), waiting) for policy in ("Always", "OnFailure")] == ["Running", "Running"]


def test_a_sidecar_must_run_first_and_is_not_waited_for_at_the_end() -> None:
    both = spec(1, "Never", sidecars=1)
    assert pod_state.phase(both, [status("s0", CREATING), status("c0", CREATING)]) == "Pending"
    assert pod_state.phase(both, [status("s0", RUNNING), status("c0", RUNNING)]) == "Running"
    assert pod_state.phase(both, [status("s0", RUNNING), status("c0", ended(0))]) == "Running"
    assert pod_state.phase(both, [status("s0", ended(143)), status("c0", ended(0))]) == "Succeeded"


def pod(
    spec: PodSpec, *statuses: ContainerStatus, initial: tuple[ContainerStatus, ...] = (), deleted: bool = False
) -> Pod:
    phase = pod_state.phase(spec, (*initial, *statuses))
    return Pod(
        metadata=ObjectMeta(name="p", deletionTimestamp="2026-01-01T00:00:00Z" if deleted else None),
        spec=spec,
        status=PodStatus(
            phase=phase,
            conditions=pod_state.conditions(spec, phase, (*initial, *statuses)),
            initContainerStatuses=initial,
            containerStatuses=statuses,
        ),
    )


@pytest.mark.parametrize(
    ("states", "policy", "shown", "ready"),
    [
        ([RUNNING], "Always", "Running", "1/1"),
        ([CREATING], "Always", "ContainerCreating", "0/1"),
        ([BACKOFF], "Always", "CrashLoopBackOff", "0/1"),
        ([ended(0)], "Never", "Completed", "0/1"),
        ([ended(3)], "Never", "Error", "0/1"),
        ([ended(128, "StartError")], "Never", "StartError", "0/1"),
        ([RUNNING, ended(0)], "Never", "NotReady", "1/2"),
        ([RUNNING, BACKOFF], "Always", "CrashLoopBackOff", "1/2"),
    ],
)
def test_status_reads_as_kubectl_prints_it(
    states: list[ContainerState], policy: Policy, shown: str, ready: str
) -> None:
    statuses = [status(f"c{n}", state) for n, state in enumerate(states)]
    one = pod(spec(len(states), policy), *statuses)
    assert (pod_state.shown_status(one), pod_state.shown_ready(one)) == (shown, ready)


def test_a_pod_on_its_way_out_is_terminating_unless_it_has_ended() -> None:
    assert pod_state.shown_status(pod(spec(1), status("c0", RUNNING), deleted=True)) == "Terminating"
    assert pod_state.shown_status(pod(spec(1, "Never"), status("c0", ended(0)), deleted=True)) == "Completed"


def test_sidecars_count_and_are_shown_while_they_start() -> None:
    sidecar = spec(1, sidecars=1)
    starting = pod(sidecar, status("c0", CREATING), initial=(status("s0", CREATING),))
    assert (pod_state.shown_status(starting), pod_state.shown_ready(starting)) == ("Init:ContainerCreating", "0/2")
    running = pod(sidecar, status("c0", RUNNING), initial=(status("s0", RUNNING),))
    assert (pod_state.shown_status(running), pod_state.shown_ready(running)) == ("Running", "2/2")
    assert running.ready


def test_ready_says_why_not() -> None:
    (reason,) = {c.reason for c in pod(spec(1, "Never"), status("c0", ended(0))).status.conditions if c.type == "Ready"}
    assert reason == "PodCompleted"
    one = pod(spec(2), status("c0", RUNNING), status("c1", BACKOFF, ended(1)))
    assert [c.message for c in one.status.conditions if c.type == "Ready"] == ["containers with unready status: [c1]"]


def test_a_pod_of_which_a_container_has_ended_for_good_is_never_ready() -> None:
    def told(policy: Policy, *states: ContainerState) -> str:
        return pod_state.never_ready(pod(spec(2, policy), *(status(f"c{n}", state) for n, state in enumerate(states))))

    assert told("Never", ended(0), RUNNING) == "not ready: c0 has ended, and restartPolicy is Never"
    assert told("OnFailure", RUNNING, ended(0)) == "not ready: c1 has ended, and restartPolicy is OnFailure"
    assert told("OnFailure", ended(1), RUNNING) == told("Always", ended(0), RUNNING) == told("Never", ended(0)) == ""


def test_a_pod_whose_beginning_is_no_time_has_no_deadline() -> None:
    def deadline(start: str | None) -> float | None:
        return pod_state.deadline(Pod(spec=PodSpec(activeDeadlineSeconds=5), status=PodStatus(startTime=start)))

    assert deadline("2026-01-01T00:00:00Z") == 1767225605.0
    assert deadline("soon") is None and deadline(None) is None


@pytest.mark.parametrize(("codes", "phase"), [((), "Failed"), ((0, 0), "Succeeded"), ((0, 143), "Failed")])
def test_a_pod_on_its_way_out_ends_as_its_containers_did(codes: tuple[int, ...], phase: str) -> None:
    statuses = tuple(
        ContainerStatus(name=f"c{number}", state=ContainerState(terminated=ContainerStateTerminated(exitCode=code)))
        for number, code in enumerate(codes)
    )
    pod = Pod(status=PodStatus(phase="Running", containerStatuses=statuses))
    over = pod_state.stopped(pod, "2026-01-01T00:00:00Z")
    assert over.status.phase == phase and pod_state.stopped(over, "2027-01-01T00:00:00Z") is over
    assert {one.type: one.status for one in over.status.conditions}["Ready"] == "False"
