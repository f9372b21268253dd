"""A Snapshot that remembers what it was asked: whether a later one would answer the same costs what was asked, not what
there is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import msgspec

from k8snetlab.api.core import Node
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.versions import Groups

T = TypeVar("T", bound=Object)
V = TypeVar("V")
LAST_RESERVED = "k8snetlab/last-reserved-ip"
"""Annotation of a Node: the last address given in each of its subnets, separated by commas. No kernel has it."""
Question = tuple[Any, ...]
"""A kind, and what of it: nothing for all of its objects, a grouping function and a group, or what is made of them."""
Answers = Mapping[Question, Any]


class Reading(Snapshot, frozen=True):
    """`asked` grows with each question; take `answers` when all are asked."""

    asked: dict[Question, Any] = msgspec.field(default_factory=dict)

    def _of(self, type_: type[Object]) -> Mapping[Key, Object]:
        found = super()._of(type_)
        self.asked[type_,] = found
        return found

    def select(self, type_: type[T], groups: Groups, group: Hashable) -> Mapping[Key, T]:
        found = self._plain.select(type_, groups, group)
        self.asked[type_, groups, group] = found
        return found

    def derived(self, type_: type[T], make: Callable[[Mapping[Key, T]], V]) -> V:
        value = self._plain.derived(type_, make)
        self.asked[type_, make] = value
        return value

    @property
    def _plain(self) -> Snapshot:
        return Snapshot(self.revision, self.objects, self.reports)

    @property
    def answers(self) -> Answers:
        """What was asked so far, and what the answer was."""
        return dict(self.asked)


def reading(snapshot: Snapshot) -> Reading:
    """The same objects, of which nothing was asked yet."""
    return Reading(snapshot.revision, snapshot.objects, snapshot.reports)


def same_answers(answers: Answers, snapshot: Snapshot) -> bool:
    """Whether a snapshot gives these answers. A Node that differs by LAST_RESERVED alone is the same Node."""
    return all(_same(question, answer, snapshot) for question, answer in answers.items())


def _same(question: Question, answer: Any, snapshot: Snapshot) -> bool:
    match question:
        case (type_,):
            now = snapshot.all(type_)
            return now is answer or (type_ is Node and _same_nodes(answer, now))
        case (type_, make):
            return bool(snapshot.derived(type_, make) == answer)
        case (type_, groups, group):
            return snapshot.select(type_, groups, group) is answer or not (answer or snapshot.select(*question))
    raise AssertionError(question)


def _same_nodes(before: Mapping[Key, Node], now: Mapping[Key, Node]) -> bool:
    return before.keys() == now.keys() and all(
        old is new or _without_notes(old) == _without_notes(new)
        for old, new in zip(before.values(), map(now.__getitem__, before), strict=True)
    )


def _without_notes(node: Node) -> Node:
    annotations = {key: value for key, value in node.metadata.annotations.items() if key != LAST_RESERVED}
    metadata = msgspec.structs.replace(node.metadata, annotations=annotations, resourceVersion="", managedFields=())
    return msgspec.structs.replace(node, metadata=metadata)
