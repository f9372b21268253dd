"""One result of a probe in words."""

from __future__ import annotations

from k8snetlab.dataplane.families import end
from k8snetlab.messages.probe import ProbeResult


def line(result: ProbeResult) -> str:
    """One result in words."""
    head = f"{result.source} → {result.target} {end(result.address, result.port)} {result.protocol.lower()}"
    if not result.reached:
        return (
            f"{head}: {result.error}" if result.error.startswith("no answer") else f"{head}: no answer: {result.error}"
        )
    took = f"in {result.milliseconds:.1f} ms"
    if not result.answeredBy:
        return f"{head}: answered {took}"
    place = " on ".join(filter(None, (result.answeredIP, result.answeredNode)))
    saw = f", saw client {result.client}" if result.client else ""
    return f"{head}: answered by {result.answeredBy} ({place}) {took}{saw}"
