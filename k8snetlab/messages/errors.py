"""Errors on their way from one process to another: as Kubernetes' Status objects.

Source: apimachinery pkg/apis/meta/v1 (Status, StatusDetails).
"""

from __future__ import annotations

import msgspec

from k8snetlab import errors


class StatusCause(msgspec.Struct, frozen=True):
    """One wrong place."""

    reason: str = ""
    """In a word: FieldValueInvalid, FieldValueRequired …"""
    message: str = ""
    """What is wrong there."""
    field: str = ""
    """Where: spec.ports[0].port, or ""."""


class StatusDetails(msgspec.Struct, frozen=True):
    """What it is about, and what Kubernetes' Status has no field for: `hint`, `exitCode`, `operation`."""

    hint: str = ""
    """What to do, or ""."""
    exitCode: int = 1
    """Of the command that is refused."""
    operation: str = ""
    """What the kernel refused, as the command that it is, or ""."""
    name: str = ""
    """The object's name, or ""."""
    group: str = ""
    """Its API group."""
    kind: str = ""
    """Its kind or plural."""
    causes: tuple[StatusCause, ...] = ()
    """Each wrong place of it."""


class Status(msgspec.Struct, frozen=True):
    """An error."""

    kind: str = "Status"
    """Always so."""
    apiVersion: str = "v1"
    """Always so."""
    metadata: dict[str, str] = {}
    """Always empty."""
    status: str = "Failure"
    """Always so."""
    message: str = "refused"
    """What is wrong, and where."""
    reason: str = ""
    """In a word, as Kubernetes has it: NotFound, Conflict, Invalid …"""
    code: int = 500
    """That of HTTP."""
    details: StatusDetails = StatusDetails()
    """More of it."""


class BrokenOff(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """The last value of a stream that does not come to its end."""

    status: Status
    """Why."""


def status_of(error: errors.K8sNetLabError) -> Status:
    """The error as a Status; the hint and the exit code travel in `details`."""
    group, kind, name = error.about
    details = StatusDetails(
        error.hint,
        error.exit_code,
        getattr(error, "operation", ""),
        name=name,
        group=group,
        kind=kind,
        causes=tuple(StatusCause(*cause) for cause in error.causes),
    )
    return Status(message=error.message, reason=error.reason, code=error.status, details=details)


def error_of(status: Status) -> errors.K8sNetLabError:
    """The error that a Status stands for, with the exit code it had on the other side."""
    known: list[type[errors.K8sNetLabError]] = [
        *errors.K8sNetLabError.__subclasses__(),
        *errors.StoreError.__subclasses__(),
        errors.RequestError,
    ]
    types: dict[str, type[errors.K8sNetLabError]] = {e.reason: e for e in known}
    error = types.get(status.reason, errors.K8sNetLabError)(status.message, status.details.hint)
    error.exit_code = status.details.exitCode
    if operation := status.details.operation:
        error.hint = f"{error.hint}; the kernel refused: {operation}" if error.hint else f"refused: {operation}"
    return error
