"""A lab for the command line's own tests, in which nothing is claimed of the kernel or the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, cast

import msgspec

from k8snetlab.errors import NotFoundError
from k8snetlab.messages.places import NAMES, Names
from k8snetlab.messages.verb import Call, Stream

Json = dict[str, Any]
Q = TypeVar("Q", bound=msgspec.Struct)
A = TypeVar("A")


class ScriptedClient:
    """Has the methods of `lab.client.Client`; holds objects, yields scripted events, and remembers what was asked."""

    def __init__(self, lab: str = "demo") -> None:
        self.lab = lab
        self.objects: list[Json] = []
        self.events: list[Json] = []
        self.answers: dict[str, Json] = {}
        self.asked: list[tuple[Any, ...]] = []

    def list(self, kind: str, namespace: str | None = None, labels: str = "", fields: str = "") -> list[Json]:
        if labels or fields:
            self.asked.append(("list", kind, labels, fields))
        return [
            obj
            for obj in self.objects
            if obj["kind"] == kind and (not namespace or obj["metadata"].get("namespace", "default") == namespace)
        ]

    def some(self, kind: str, most: int) -> tuple[list[Json], int]:
        found = self.list(kind)
        return found[:most], len(found)

    def get(self, kind: str, name: str, namespace: str = "default") -> Json:
        for obj in self.list(kind, namespace):
            if obj["metadata"]["name"] == name:
                return obj
        raise NotFoundError(f"{kind.lower()} {name!r} not found")

    def call(self, verb: Call[Q, A], question: Q, silence: float | None = None) -> A:
        if verb is NAMES:
            return cast(A, self._names())
        self.asked.append((verb.name, question))
        return cast(A, msgspec.convert(self.answers[verb.name], verb.answer))

    def _names(self) -> Names:
        def short(obj: Json) -> str:
            space = obj["metadata"].get("namespace", "default")
            return obj["metadata"]["name"] if space == "default" else f"{space}/{obj['metadata']['name']}"

        kinds = {"nodes": "Node", "pods": "Pod", "services": "Service"}
        found = {group: tuple(short(obj) for obj in self.list(kind)) for group, kind in kinds.items()}
        return Names(**found)

    def stream(self, verb: Stream[Q, A], question: Q, silence: float | None = None) -> Iterator[A]:
        self.asked.append((verb.name, question))
        for event in self.events:
            yield cast(A, msgspec.convert(event, verb.answer))

    def scale(self, kind: str, name: str, namespace: str, replicas: int) -> Json:
        self.asked.append(("scale", kind, name, namespace, replicas))
        return {"kind": "Scale", "spec": {"replicas": replicas}}
