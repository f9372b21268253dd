"""schedule: how the scheduler sees a pod, node by node."""

from __future__ import annotations

from typing import Literal

import msgspec

from k8snetlab.messages.verb import Call

Passed = Literal["yes", "no", "unasked"]


class ScheduleQuestion(msgspec.Struct, frozen=True):
    """Which pod is meant."""

    name: str
    """Also as NAMESPACE/NAME."""
    namespace: str = ""
    """That of a name that does not say one; "": default's first, then any other's."""


class ScheduleNode(msgspec.Struct, frozen=True):
    """What speaks for a node, and what against it."""

    node: str
    """Its name."""
    filters: dict[str, Passed]
    """By the name of kube-scheduler's plugin, in the order in which they are asked: whether the node passes; after the
    first one that it does not pass, no other is asked."""
    reasons: tuple[str, ...]
    """Why it does not, in the scheduler's words."""
    scores: dict[str, int]
    """By plugin, from 0 to 100, how much what pods and nodes prefer speaks for it; {} where nothing is preferred, and
    of a node that does not pass."""
    preference: int
    """The scores, each with its plugin's weight, added."""
    siblings: int
    """Pods of the same owner that are on it."""
    pods: int
    """Pods that are on it."""
    rank: int
    """1 is the node that is taken; 0: it does not pass."""


class Schedule(msgspec.Struct, frozen=True):
    """How the scheduler sees a pod, as if it were on no node yet."""

    pod: str
    """As NAMESPACE/NAME."""
    node: str
    """The node that it is bound to, ""."""
    scheduler: str
    """Who is to bind it: its schedulerName."""
    priority: int
    """The more, the sooner."""
    nodes: tuple[ScheduleNode, ...]
    """All nodes of the lab."""
    best: str
    """The one that it would be bound to now; "" where none passes."""
    message: str
    """Why none does, as its event says it; ""."""
    preempts: tuple[str, ...]
    """Pods of lower priority, as NAMESPACE/NAME, that would have to go for it."""
    preemptsOn: str
    """The node from which they would, or ""."""


SCHEDULE: Call[ScheduleQuestion, Schedule] = Call("schedule", "GET", "schedule", ScheduleQuestion, Schedule, group=True)
