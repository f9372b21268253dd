"""What a container's status says of its end, and of what kept it from its beginning."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from k8snetlab.api.core import ContainerStateTerminated, ContainerStatus
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import launch

UNKNOWN = "Unknown"


def terminated(code: int, reason: str, started: str | None, message: str = "") -> ContainerStateTerminated:
    return ContainerStateTerminated(exitCode=code, reason=reason, message=message, startedAt=started, finishedAt=now())


def cut_off(ended: ContainerStateTerminated) -> ContainerStateTerminated:
    """As a runtime tells, when it comes back after a power cut, of a container that ran: it knows nothing of its end.

    Source: containerd internal/cri/server/restart.go (unknownExitCode, unknownExitReason).
    """
    return replace(ended, exitCode=255, signal=0, reason=UNKNOWN, message="")


def was_cut_off(status: ContainerStatus) -> bool:
    ended = status.state.terminated
    return ended is not None and ended.reason == UNKNOWN


def explained(hindrance: launch.Hindrance, program: str) -> str:
    if not hindrance.missing:
        return hindrance.message
    shown = program if len(program) <= 100 else program[:99] + "…"
    if "/" in program and Path(program).exists():
        return (
            f"{hindrance.message}; {shown} is there: what its first line, or its loader, names is not on this machine"
        )
    return (
        f"{hindrance.message}; {shown} is not on this machine, where a container's command runs: "
        "without `command` and `args` the built-in stand-in would answer"
    )


def words(error: BaseException) -> str:
    if isinstance(error, K8sNetLabError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if isinstance(error, ValueError | OverflowError) else f"{type(error).__name__}: {error}"


def duration(seconds: float) -> str:
    """As Go prints it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
