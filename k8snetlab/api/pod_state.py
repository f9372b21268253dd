"""What the states of a pod's containers add up to: its phase, its conditions, and what `get pods` says of it.

Source: Kubernetes pkg/kubelet/kubelet_pods.go (getPhase), pkg/kubelet/status/generate.go (GeneratePodReadyCondition)
and pkg/printers/internalversion/printers.go (printPod).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from k8snetlab.api.ages import moment
from k8snetlab.api.core import Condition, Container, ContainerStateTerminated, ContainerStatus, Pod, PodSpec

UNREACHABLE, DEADLINE = "NodeLost", "DeadlineExceeded"
TOO_LONG = "Pod was active on the node longer than the specified deadline"


def phase(spec: PodSpec, statuses: Iterable[ContainerStatus]) -> str:
    """Pending, Running, Succeeded or Failed. `statuses` are those of all containers, init containers among them."""
    by_name = {status.name: status for status in statuses}
    ends = [by_name[c.name].state.terminated for c in spec.beginning if c.name in by_name]
    if spec.restartPolicy == "Never" and any(ended and ended.exitCode for ended in ends):
        return "Failed"
    own = [by_name.get(container.name) for container in spec.containers]
    sidecars = [by_name.get(container.name) for container in spec.sidecars]
    # A sidecar that has ended does not count: the other containers decide whether the pod has ended.
    states = {_state(status) for status in own} | {_state(status) for status in sidecars} - {"stopped"}
    begun = any(status and _begun(status) for status in own)
    if not begun and len([ended for ended in ends if ended and not ended.exitCode]) < len(spec.beginning):
        return "Pending"
    if states & {"waiting", "unknown"} or (not begun and any(s and not s.started for s in sidecars)):
        return "Pending"
    if "running" in states:
        return "Running"
    if "stopped" not in states:
        return "Pending"
    if spec.restartPolicy == "Always":
        return "Running"
    if all(status and status.state.terminated and status.state.terminated.exitCode == 0 for status in own):
        return "Succeeded"
    return "Failed" if spec.restartPolicy == "Never" else "Running"


def _state(status: ContainerStatus | None) -> str:
    if status is None:
        return "unknown"
    if status.state.running:
        return "running"
    return "stopped" if status.state.terminated or status.lastState.terminated else "waiting"


def _begun(status: ContainerStatus) -> bool:
    return bool(status.state.running or status.state.terminated or status.lastState.terminated)


def _is_done(container: Container, status: ContainerStatus | None) -> bool:
    """Whether an init container has done what the next one waits for: a sidecar runs, another has ended well."""
    if status is None:
        return False
    if container.restartPolicy == "Always":
        return bool(status.started or _begun(status))
    return status.state.terminated is not None and not status.state.terminated.exitCode


def restarts(spec: PodSpec, exit_code: int) -> bool:
    """Whether a container that ended with `exit_code` is started again."""
    return spec.restartPolicy == "Always" or (spec.restartPolicy == "OnFailure" and exit_code != 0)


def conditions(spec: PodSpec, phase: str, statuses: Iterable[ContainerStatus]) -> tuple[Condition, ...]:
    """PodScheduled, Initialized, ContainersReady and Ready, without times."""
    by_name = {status.name: status for status in statuses}
    wanted = [c.name for c in spec.serving_containers]
    unready = [name for name in wanted if name not in by_name or not by_name[name].ready]
    ready = Condition(type="Ready", status="True")
    if phase == "Succeeded":
        ready = Condition(type="Ready", status="False", reason="PodCompleted")
    elif phase == "Failed":
        ready = Condition(type="Ready", status="False", reason="PodFailed")
    elif unready or not by_name:
        names = " ".join(unready)
        ready = Condition(
            type="Ready",
            status="False",
            reason="ContainersNotReady",
            message=f"containers with unready status: [{names}]",
        )
    incomplete = [c.name for c in spec.initContainers if not _is_done(c, by_name.get(c.name))]
    started = not incomplete
    return (
        Condition(type="PodScheduled", status="True"),
        Condition(
            type="Initialized",
            status="True" if started else "False",
            reason="PodCompleted" if phase == "Succeeded" else "" if started else "ContainersNotInitialized",
            message="" if started else f"containers with incomplete status: [{' '.join(incomplete)}]",
        ),
        Condition(type="ContainersReady", status=ready.status, reason=ready.reason, message=ready.message),
        ready,
    )


def observed(pod: Pod, statuses: tuple[ContainerStatus, ...], host: str, now: str) -> Pod:
    """The pod with a status of what its kubelet sees: `statuses` of its containers, sidecars first; `now` is an RFC
    3339 timestamp.

    A pod that has ended stays ended. Where `statuses` is empty, the kubelet has lost the pod: its containers then stay
    as they were, and are not ready.
    """
    if not statuses:
        if pod.ended:
            return pod
        known = (*pod.status.initContainerStatuses, *pod.status.containerStatuses)
        statuses = tuple(replace(status, ready=False) for status in known)
    at = pod.status.phase if pod.ended else phase(pod.spec, statuses)
    initial = {container.name for container in pod.spec.initContainers}
    status = replace(
        pod.status,
        phase=at,
        hostIP=host,
        startTime=pod.status.startTime or now,
        conditions=_with_times(conditions(pod.spec, at, statuses), pod.status.conditions, now),
        initContainerStatuses=tuple(s for s in statuses if s.name in initial),
        containerStatuses=tuple(s for s in statuses if s.name not in initial),
        reason=DEADLINE if pod.status.reason == DEADLINE else "",
        message=TOO_LONG if pod.status.reason == DEADLINE else "",
    )
    return replace(pod, status=status)


def deadline(pod: Pod) -> float | None:
    """When a pod that has not ended has been active for too long, in seconds since 1970."""
    seconds, start = pod.spec.activeDeadlineSeconds, moment(pod.status.startTime)
    return None if seconds is None or start is None or pod.ended else start + seconds


def exceeded(pod: Pod, now: str) -> Pod:
    """A pod that has been active for too long, once its containers have been ended; `now` is an RFC 3339 timestamp.

    Source: Kubernetes pkg/kubelet/active_deadline.go.
    """
    statuses = (*pod.status.initContainerStatuses, *pod.status.containerStatuses)
    told = _with_times(conditions(pod.spec, "Failed", statuses), pod.status.conditions, now)
    return replace(pod, status=replace(pod.status, phase="Failed", conditions=told, reason=DEADLINE, message=TOO_LONG))


def stopped(pod: Pod, now: str) -> Pod:
    """A pod on its way out, once nothing of it runs any more; `now` is an RFC 3339 timestamp.

    Source: Kubernetes pkg/kubelet/kubelet_pods.go (getPhase of a pod that is terminal), pkg/controller/podgc.
    """
    if pod.ended:
        return pod
    ends = [status.state.terminated for status in pod.status.containerStatuses]
    well = bool(ends) and all(ended is not None and not ended.exitCode for ended in ends)
    at = "Succeeded" if well else "Failed"
    statuses = (*pod.status.initContainerStatuses, *pod.status.containerStatuses)
    told = _with_times(conditions(pod.spec, at, statuses), pod.status.conditions, now)
    return replace(pod, status=replace(pod.status, phase=at, conditions=told))


def _with_times(new: tuple[Condition, ...], old: tuple[Condition, ...], now: str) -> tuple[Condition, ...]:
    """`new` with the times at which each condition's status changed last."""
    before = {condition.type: condition for condition in old}
    return tuple(
        replace(
            condition,
            lastTransitionTime=had.lastTransitionTime or now
            if (had := before.get(condition.type)) and had.status == condition.status
            else now,
        )
        for condition in new
    )


def trouble(pod: Pod) -> str:
    """Why a pod does not run, or has failed; "" where nothing is known to be wrong with it."""
    said = []
    begun = {container.name for container in pod.spec.beginning}
    for status in (*pod.status.initContainerStatuses, *pod.status.containerStatuses):
        state, last = status.state, status.lastState.terminated
        why = ""
        if status.name in begun and state.terminated and not state.terminated.exitCode:
            continue
        if state.waiting and state.waiting.reason not in ("", "ContainerCreating", "PodInitializing"):
            why = f"{state.waiting.reason}: {_how(last) if last else state.waiting.message}"
        elif state.terminated and not pod.ended:
            if restarts(pod.spec, state.terminated.exitCode):
                why = f"{state.terminated.reason}: {_how(state.terminated)}"
        elif state.terminated and state.terminated.exitCode:
            why = f"{state.terminated.reason}: {_how(state.terminated)}"
        if why and why not in said:
            said.append(why)
    return "; ".join(said) if said and pod.status.phase != "Succeeded" else pod.status.message


def never_ready(pod: Pod) -> str:
    """Why a running pod can never be ready again, "" where it can: one of its containers has ended, its restartPolicy
    does not start that one again, and the others go on."""
    if pod.ended or not any(status.state.running for status in pod.status.containerStatuses):
        return ""
    gone = [
        status.name
        for status in pod.status.containerStatuses
        if status.state.terminated and not restarts(pod.spec, status.state.terminated.exitCode)
    ]
    return f"not ready: {', '.join(gone)} has ended, and restartPolicy is {pod.spec.restartPolicy}" if gone else ""


def _how(ended: ContainerStateTerminated) -> str:
    if ended.message:
        return ended.message
    return f"ended by signal {ended.signal}" if ended.signal else f"exited with {ended.exitCode}"


# --- what `get pods` prints -------------------------------------------------------------------------------------------


def shown_status(pod: Pod) -> str:
    """The column STATUS."""
    status = pod.status
    shown = status.reason or status.phase
    initializing = _initializing(pod)
    if initializing:
        shown = initializing
    else:
        running = False
        for container in reversed(status.containerStatuses):
            state = container.state
            if state.waiting is not None and state.waiting.reason:
                shown = state.waiting.reason
            elif state.terminated is not None:
                shown = _ended(container)
            elif state.running is not None and container.ready:
                running = True
        if shown == "Completed" and running:
            shown = "Running" if pod.ready else "NotReady"
    if pod.metadata.deletionTimestamp and status.reason == UNREACHABLE:
        return "Unknown"
    if pod.metadata.deletionTimestamp and not pod.ended:
        return "Terminating"
    return UNREACHABLE if status.reason == UNREACHABLE else shown


def shown_ready(pod: Pod) -> str:
    """The column READY: how many containers are ready, and how many there are."""
    serving = {container.name for container in pod.spec.serving_containers}
    statuses = [s for s in (*pod.status.initContainerStatuses, *pod.status.containerStatuses) if s.name in serving]
    total = len(serving)
    ready = sum(s.ready for s in statuses) if statuses else total * pod.ready
    return f"{ready}/{total}"


def restart_count(pod: Pod) -> int:
    return sum(s.restartCount for s in (*pod.status.initContainerStatuses, *pod.status.containerStatuses))


def last_restart(pod: Pod) -> str | None:
    """When a container that has been restarted ended last: an RFC 3339 timestamp, None for never."""
    ends = [
        s.lastState.terminated.finishedAt
        for s in (*pod.status.initContainerStatuses, *pod.status.containerStatuses)
        if s.lastState.terminated and s.lastState.terminated.finishedAt
    ]
    return max(ends, key=datetime.fromisoformat, default=None)


def _initializing(pod: Pod) -> str:
    """ "Init:…" while the other containers wait for a sidecar, else ""."""
    total = len(pod.status.initContainerStatuses)
    if any(c.type == "Initialized" and c.status == "True" for c in pod.status.conditions):
        return ""
    sidecars = {container.name for container in pod.spec.sidecars}
    for number, status in enumerate(pod.status.initContainerStatuses):
        state = status.state
        if (status.started and status.name in sidecars) or (state.terminated and state.terminated.exitCode == 0):
            continue
        if state.terminated:
            return f"Init:{_ended(status)}"
        if state.waiting and state.waiting.reason not in ("", "PodInitializing"):
            return f"Init:{state.waiting.reason}"
        return f"Init:{number}/{total}"
    return ""


def _ended(status: ContainerStatus) -> str:
    ended = status.state.terminated
    assert ended is not None
    return ended.reason or (f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exitCode}")
