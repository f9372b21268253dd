"""A failure of one manager or agent, which stops none of the others."""

from __future__ import annotations

import logging

from k8snetlab.errors import K8sNetLabError

log = logging.getLogger(__name__)


def failure_of(whose: str, error: Exception) -> K8sNetLabError:
    """The error itself, or a bug as one, which is logged whole. For an `except` clause."""
    if isinstance(error, K8sNetLabError):
        return error
    log.exception("a bug of %s", whose)
    return K8sNetLabError(f"{type(error).__name__}: {error}", "this is a bug; the daemon's log has it whole")
