"""Leases that are renewed by being there: the moment of the last renewal is worked out when one is read.

A kubelet writes its Lease every ten seconds. In a lab what lives is told otherwise (by the daemon that answers, or by a
key that the store takes away), and a write for each node and turn would tell nobody anything.
"""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from k8snetlab.api.coordination import Lease

EVERY = "k8snetlab/renewed-every"
"""Annotation of such a Lease: seconds."""
FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def moment(seconds: float) -> str:
    """A time as Leases have it; `seconds` of the epoch."""
    return datetime.fromtimestamp(seconds, UTC).strftime(FORMAT)


def renewed(lease: Lease, now: float) -> Lease:
    """The Lease as it is at `now`, in seconds of the epoch; itself where somebody else renews it."""
    every = lease.metadata.annotations.get(EVERY, "")
    since = lease.spec.renewTime or lease.metadata.creationTimestamp
    if not (every.isascii() and every.isdecimal() and len(every) < 6 and int(every)) or not since:
        return lease
    try:
        first = datetime.fromisoformat(since).timestamp()
    except ValueError:
        return lease
    turns = int(max(now - first, 0) // int(every))
    return replace(lease, spec=replace(lease.spec, renewTime=moment(first + turns * int(every))))
