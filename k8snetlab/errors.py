"""The tree of errors a user may see.

Every one carries what went wrong (with where), a hint that says what to do, and the exit code of the CLI:
1 when the thing asked for is not so, 2 when the input was wrong or the machine cannot do it.
"""

from __future__ import annotations


class K8sNetLabError(Exception):
    """Root of every error meant for a person; anything else that escapes is a bug."""

    exit_code = 1
    reason = "InternalError"
    status = 500

    about: tuple[str, str, str] = ("", "", "")
    """API group, kind (or plural) and name of the object that it is about, where a request was for one."""
    causes: tuple[tuple[str, str, str], ...] = ()
    """Reason, message and field of each wrong place of that object."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(K8sNetLabError):
    """Something the user wrote is wrong; nothing was changed."""

    exit_code = 2
    reason = "Invalid"
    status = 422


class ManifestError(InputError):
    """One or more wrong places in manifests; `problems` holds a line for each (`file:line: field: what`)."""

    def __init__(self, problems: list[str], hint: str = "") -> None:
        super().__init__("\n".join(problems), hint)
        self.problems = problems


class RefusedError(ManifestError):
    """An object that can be read as its kind, with values that are refused; `problems` are without its kind."""


class RequestError(InputError):
    """A request that the API does not take, in the words and with the HTTP code that Kubernetes has for it."""

    reason = "BadRequest"
    status = 400

    def __init__(self, message: str, hint: str = "", reason: str = "BadRequest", status: int = 400) -> None:
        super().__init__(message, hint)
        self.reason, self.status = reason, status


class NotFoundError(K8sNetLabError):
    """The named lab, object or namespace does not exist."""

    reason = "NotFound"
    status = 404


class ForbiddenError(K8sNetLabError):
    """The caller is not allowed to ask for this."""

    reason = "Forbidden"
    status = 403


class TerminatingError(ForbiddenError):
    """The namespace of a new object is being deleted."""


class AlreadyExistsError(K8sNetLabError):
    """An object with that name exists already."""

    reason = "AlreadyExists"
    status = 409


class ConflictError(K8sNetLabError):
    """The object changed since it was read (resourceVersion), or another owner holds the name or address."""

    reason = "Conflict"
    status = 409


class UnconfirmedError(K8sNetLabError):
    """More would be lost than is likely meant; the same request with consent (`yes`) goes on."""

    exit_code = 2
    reason = "ConfirmationRequired"
    status = 409


class UnsupportedError(K8sNetLabError):
    """The machine lacks a kernel feature, capability or tool."""

    exit_code = 2
    reason = "Unsupported"
    status = 501


class KernelError(K8sNetLabError):
    """The kernel refused an operation; `operation` is the ip, bridge or iptables line that was refused."""

    reason = "KernelRefused"

    def __init__(self, message: str, hint: str = "", operation: str = "") -> None:
        super().__init__(message, hint)
        self.operation = operation


class StoreError(K8sNetLabError):
    """The store does not answer or lost what was asked for."""

    reason = "StoreUnavailable"
    status = 503


class CompactedError(StoreError):
    """A watch asked for a revision that the store has compacted away: list again."""

    reason = "Expired"
    status = 410


class DaemonError(K8sNetLabError):
    """The lab's daemon cannot be reached or did not finish in time."""

    reason = "DaemonUnavailable"
    status = 503
