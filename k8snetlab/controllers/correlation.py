"""Which Event a happening is: a new one, the same again, or one of many alike.

Source: client-go tools/record (events_cache.go: EventAggregator, eventLogger; event.go: makeEvent). What has been said
before is looked up among the stored Events, where client-go keeps a cache of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import ObjectReference
from k8snetlab.api.events import Event, EventSource
from k8snetlab.api.meta import Object, ObjectMeta

SIMILAR, WITHIN = 10, 600.0
"""So many messages of one reason about one object within so many seconds become one Event."""
COMBINED = "(combined from similar events): "
MESSAGE = 1024
"""Characters that a message may have."""
NAME = 253


class Note(msgspec.Struct, frozen=True):
    """What an Event is to tell of an object. `reason` is a word in Kubernetes' spelling, such as FailedCreate,
    `component` and `host` say who says it, `field_path` which part of the object it concerns
    (spec.containers{web})."""

    object: Object
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    component: str
    host: str = ""
    field_path: str = ""

    @property
    def about(self) -> tuple[str, str, str]:
        """Its group in `events.by_object`."""
        return (self.object.KIND, self.object.namespace, self.object.name)

    @property
    def key(self) -> tuple[str, ...]:
        """One source's words on one object are counted together by the spam filter."""
        return (self.component, self.host, *self.about, self.object.metadata.uid)


def correlated(note: Note, known: Iterable[Event], now: str, nanoseconds: int, times: int = 1) -> Event:
    """The Event to store for a note that came `times` times: one of the `known` about its object with a higher count,
    or a new one. `now` is an RFC 3339 timestamp, `nanoseconds` the same moment since the epoch, for the name."""
    message = note.message if len(note.message) <= MESSAGE else note.message[: MESSAGE - 3] + "..."
    alike = [event for event in known if _alike(event, note)]
    late = [event.message for event in alike if _seconds(now) - _seconds(event.seen) <= WITHIN]
    if len({message, *(m for m in late if not m.startswith(COMBINED))}) >= SIMILAR:
        same = next((event for event in alike if event.message.startswith(COMBINED)), None)
        message = (COMBINED + message)[:MESSAGE]
    else:
        same = next((event for event in alike if event.message == message), None)
    if same is not None:
        return replace(same, message=message, count=same.count + times, lastTimestamp=now)
    obj = note.object
    return Event(
        metadata=ObjectMeta(
            name=f"{obj.name[: NAME - 17]}.{nanoseconds:x}",
            namespace=obj.namespace or "default",
            creationTimestamp=now,
        ),
        involvedObject=ObjectReference(
            kind=obj.KIND,
            namespace=obj.namespace,
            name=obj.name,
            uid=obj.metadata.uid,
            apiVersion=obj.API_VERSION,
            resourceVersion=obj.metadata.resourceVersion,
            fieldPath=note.field_path,
        ),
        reason=note.reason,
        message=message,
        origin=EventSource(component=note.component, host=note.host),
        firstTimestamp=now,
        lastTimestamp=now,
        count=times,
        type=note.type,
        reportingComponent=note.component,
        reportingInstance=note.host,
    )


def _alike(event: Event, note: Note) -> bool:
    about = event.involvedObject
    return (event.type, event.reason, event.origin.component, event.origin.host, about.uid, about.fieldPath) == (
        note.type,
        note.reason,
        note.component,
        note.host,
        note.object.metadata.uid,
        note.field_path,
    )


def _seconds(timestamp: str) -> float:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0
