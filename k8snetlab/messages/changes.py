"""up, apply, delete and wait: the lab's objects change, and the kernels follow."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from k8snetlab.api.words import describe
from k8snetlab.errors import RequestError
from k8snetlab.messages.progress import Progress, Waiting, Warning
from k8snetlab.messages.timeouts import CHANGE_TIMEOUT
from k8snetlab.messages.verb import Leader, Stream


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How long it may take."""

    timeout: float = CHANGE_TIMEOUT
    """Seconds for all waiting together, more than 0."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout < math.inf:
            raise RequestError(f"timeout: expected seconds, more than 0, got {describe(self.timeout)}")


class Change(Terms, frozen=True, kw_only=True):
    """What is to be created, changed or deleted."""

    objects: list[Any]
    """Objects of Kubernetes, or the Lab, as in manifests."""
    wait: bool = True
    """Whether to wait until the kernels are as the objects say."""


class Up(Change, frozen=True, kw_only=True):
    """What the lab is to hold, and nothing else that an earlier `up` brought."""

    yes: bool = False
    """Go on even where more would be deleted than stays."""
    handed: int = 0
    """The process that was handed more `objects` before it began, which is the daemon now; 0 where there are none."""


class Named(msgspec.Struct, frozen=True):
    """An object by name."""

    kind: str
    """As Kubernetes writes it, in any case, or its plural."""
    name: str
    """Its name."""
    namespace: str = ""
    """Its namespace, "" for a kind that has none."""


class Wait(Terms, frozen=True, kw_only=True):
    """What was changed already and is to be waited for."""

    objects: tuple[Named, ...]
    """Those whose pods and kernels are meant."""


class ObjectChange(msgspec.Struct, frozen=True):
    """The store has an object now, or has it no more."""

    action: Literal["created", "configured", "unchanged", "deleted"]
    """What was done."""
    kind: str
    """The object's."""
    name: str
    """The object's."""


class Changed(ObjectChange, frozen=True, tag_field="type", tag="changed"):
    """The store has an object now, or has it no more; an event of the stream."""


class PodFailure(msgspec.Struct, frozen=True):
    """A pod does not run, and is not waited for any longer; it is tried again, as on a real node."""

    namespace: str
    """The pod's."""
    name: str
    """The pod's."""
    message: str
    """Why, in words that begin with the pod."""


class Failed(PodFailure, frozen=True, tag_field="type", tag="failed"):
    """A pod does not run, and is not waited for any longer; an event of the stream."""


class ChangeSum(msgspec.Struct, frozen=True):
    """What became of the objects, each written "kind/name"."""

    seconds: float
    """That it took."""
    created: tuple[str, ...]
    """Objects that were not there before."""
    updated: tuple[str, ...]
    """Objects that were others before."""
    deleted: tuple[str, ...]
    """Objects that are no more."""


class Done(ChangeSum, frozen=True, tag_field="type", tag="done"):
    """The last event: all that was asked for is so."""


class Outcome(ChangeSum, frozen=True):
    """What `-o json` prints of a change."""

    warnings: tuple[str, ...]
    """What is to be known, a sentence each."""
    changes: tuple[ObjectChange, ...]
    """What the store was told, in order, object by object."""
    failed: tuple[PodFailure, ...]
    """The pods that do not run."""


ChangeEvent = Progress | Waiting | Warning | Changed | Failed | Done

UP: Stream[Up, ChangeEvent] = Stream("up", "POST", "up", Up, ChangeEvent, Leader(), last=Done)
APPLY: Stream[Change, ChangeEvent] = Stream("apply", "POST", "apply", Change, ChangeEvent, Leader(), last=Done)
DELETE: Stream[Change, ChangeEvent] = Stream("delete", "POST", "delete", Change, ChangeEvent, last=Done)
WAIT: Stream[Wait, ChangeEvent] = Stream("wait", "POST", "wait", Wait, ChangeEvent, last=Done)
