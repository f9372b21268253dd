"""Errors on their way from one process to another: as Kubernetes Status objects."""

from __future__ import annotations

from typing import Any

from k8snetlab import errors

Json = dict[str, Any]


def status(error: errors.K8sNetLabError) -> Json:
    """The error as a Status; the hint and the exit code travel in `details`."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "code": error.status,
        "details": {"hint": error.hint, "exitCode": error.exit_code, "operation": getattr(error, "operation", "")},
    }


def error_of(said: Json) -> errors.K8sNetLabError:
    """The error that a Status stands for, with the exit code it had on the other side."""
    details = said.get("details") or {}
    known: list[type[errors.K8sNetLabError]] = [
        *errors.K8sNetLabError.__subclasses__(),
        *errors.StoreError.__subclasses__(),
        errors.RequestError,
    ]
    types: dict[str, type[errors.K8sNetLabError]] = {e.reason: e for e in known}
    error = types.get(said.get("reason", ""), errors.K8sNetLabError)(
        said.get("message", "refused"), details.get("hint", "")
    )
    error.exit_code = details.get("exitCode", 1)
    if operation := details.get("operation"):
        error.hint = f"{error.hint}; the kernel refused: {operation}" if error.hint else f"refused: {operation}"
    return error
