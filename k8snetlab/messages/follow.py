"""follow: the steps of an object, from the write at the API to the first answered packet, as they happen."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from k8snetlab.messages.verb import Stream

StepKind = Literal["begin", "write", "event", "sandbox", "rules", "packet", "ready"]


class FollowQuestion(msgspec.Struct, frozen=True):
    """Which object is meant; it may be one that is still to come."""

    kind: str
    """As the API names it: Deployment."""
    name: str
    """Its own."""
    namespace: str = ""
    """"" for a kind that has none."""
    milliseconds: Annotated[int, msgspec.Meta(ge=0, le=7 * 86_400_000)] = 0
    """After which no more is told; 0: never."""


class Step(msgspec.Struct, frozen=True):
    """Something that was done for the object, or for what follows from it."""

    at: float
    """When this machine's daemon saw it, in seconds since 1970; of rules, when they stood."""
    kind: StepKind
    """That the object is still to come, a write to the store, an Event that was recorded, a pod's namespace that was
    made, a node's rules that were written, a packet that was answered, or: all is done."""
    who: str
    """API for what users write, else the component: deployment-controller, default-scheduler, kubelet, kube-proxy."""
    what: str
    """In words."""
    node: str = ""
    """Where, "" for what is no node's."""
    object: str = ""
    """As KIND NAMESPACE/NAME."""
    revision: int = 0
    """Of the store; 0 for what is no write."""
    before: bool = False
    """Whether it was so when following began: the object as it stood."""


FOLLOW: Stream[FollowQuestion, Step] = Stream("follow", "GET", "follow", FollowQuestion, Step, group=True, silence=None)
"""Ends when `milliseconds` are over."""
