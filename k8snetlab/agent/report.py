"""What a sync of an agent says, as a whole and manager by manager."""

from __future__ import annotations

import msgspec

from k8snetlab.errors import KernelError
from k8snetlab.messages.status import ManagerStatus

RULES = "its rules, many of which were written a moment ago"


class Report(msgspec.Struct, frozen=True):
    """What a sync did: the number of operations and chains executed, and the sandboxes that had to be made again.

    `failure` is what the first manager that failed could not do while all else is done, that manager named;
    `warnings` are a sentence each, and what the other managers could not do.
    """

    operations: int = 0
    recreated: tuple[str, ...] = ()
    failure: KernelError | None = None
    warnings: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    """What managers are still about, a few words each: they do it by themselves, and wake the agent when it is done."""
    again: float = 0.0
    """Seconds after which the agent is to sync again, as its rules wait until then; 0 where they do not."""
    unplugged: bool = False
    """The cable to the router is cut: its agent is to plug it in again."""
    holds: bool = False
    """Pods that are new are not to be run: the rules that they need were refused."""
    managers: tuple[ManagerStatus, ...] = ()
