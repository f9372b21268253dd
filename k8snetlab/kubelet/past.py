"""What a container begins with: the status that it had before, and whether it is started again once it has ended."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.api.core import ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus
from k8snetlab.api.workload import ContainerWork, PodWork
from k8snetlab.kubelet import telling


def again(pod: PodWork, work: ContainerWork, failed: bool) -> bool:
    """Whether it is started again: an init container that is no sidecar is not, once it has ended well."""
    if work.sidecar:
        return True
    policy = "OnFailure" if work.init and pod.restart == "Always" else pod.restart
    return policy == "Always" or (policy == "OnFailure" and failed)


def restarts(pod: PodWork, work: ContainerWork) -> bool:
    """Whether it is started again when it has failed."""
    return again(pod, work, failed=True)


def begun_with(pod: PodWork, work: ContainerWork) -> tuple[ContainerStatus, bool]:
    """Its first status, and whether it has ended for good. What was running is gone with the kubelet or the sandbox
    that it ran in."""
    known = next((one for one in pod.statuses if one.name == work.name), None)
    fresh = _fresh(pod, work)
    if known is None:
        return fresh, False
    status = replace(fresh, restartCount=known.restartCount, lastState=known.lastState)
    ended = known.state.terminated or _lost(known, work)
    if ended is None:
        return status, False
    if not again(pod, work, ended.exitCode != 0) and not (pod.anew and work.init):
        done = work.init and not ended.exitCode
        return replace(status, state=ContainerState(terminated=ended), ready=done), True
    last = ContainerState(terminated=ended)
    return replace(status, restartCount=known.restartCount + 1, lastState=last), False


def _fresh(pod: PodWork, work: ContainerWork) -> ContainerStatus:
    initial = any(one.sidecar or one.init for one in pod.containers)
    waiting = ContainerStateWaiting(reason="PodInitializing" if initial else "ContainerCreating")
    return ContainerStatus(
        name=work.name, image=work.image, started=False, state=ContainerState(waiting=waiting), restartCount=0
    )


def _lost(known: ContainerStatus, work: ContainerWork) -> ContainerStateTerminated | None:
    if known.state.running is None or not work.has_process:
        return None
    return ContainerStateTerminated(
        exitCode=137,
        reason="ContainerStatusUnknown",
        message="The container could not be located when the pod was run again",
        startedAt=known.state.running.startedAt,
        finishedAt=telling.now(),
    )
