"""Event, core/v1: what happened to an object. It tells, and shapes nothing.

Source: Kubernetes API reference, core/v1 Event; an Event is in the namespace of what it is about, and in `default` when
that has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from k8snetlab.api.core import ObjectReference
from k8snetlab.api.meta import Object, Value, always

NORMAL, WARNING = "Normal", "Warning"


class EventSource(Value):
    component: str = ""
    host: str = ""


class EventSeries(Value):
    """Of one that goes on: how often it happened, and when last."""

    count: int = 0
    lastObservedTime: str | None = None


class Event(Object):
    """`count` says how often it happened, first at `firstTimestamp` and last at `lastTimestamp`. `origin` is the API's
    `source`, a name that `Object` uses already."""

    KIND: ClassVar[str] = "Event"
    API_VERSION: ClassVar[str] = "v1"
    REPORTS: ClassVar[bool] = True

    involvedObject: ObjectReference = always(ObjectReference())
    reason: str = ""
    message: str = ""
    origin: EventSource = msgspec.field(default_factory=EventSource, name="source")
    firstTimestamp: str | None = always(None)
    lastTimestamp: str | None = always(None)
    count: int = 0
    type: str = ""
    eventTime: str | None = always(None)
    reportingComponent: str = always("")
    reportingInstance: str = always("")
    action: str = ""
    related: ObjectReference | None = None
    series: EventSeries | None = None

    @property
    def seen(self) -> str:
        """When it happened last, RFC 3339; "" when it does not say."""
        return self.lastTimestamp or self.eventTime or self.firstTimestamp or self.metadata.creationTimestamp or ""


def by_object(event: Event) -> Iterable[tuple[str, str, str]]:
    """(kind, namespace, name) of what an Event is about, for `Snapshot.select`; namespace "" where that has none."""
    about = event.involvedObject
    return ((about.kind, about.namespace, about.name),)
