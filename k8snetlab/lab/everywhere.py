"""A lab on several machines as one: a verb is answered by the machine that its declaration names, or by all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from k8snetlab.api.core import Node, Pod
from k8snetlab.api.machines import other_machines
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import DaemonError
from k8snetlab.lab.table import Table
from k8snetlab.lab.where import place_of
from k8snetlab.messages.verb import All, Call, Leader, OfNode, OfPlace, OfPod, Stream, Verb
from k8snetlab.peers.requests import Remote, SilentError, joined, whole_lines

Json = dict[str, Any]
LOOK = 3.0
"""Seconds that a write waits for the store to tell of it."""


class Asked(msgspec.Struct, frozen=True):
    """A request for a verb: read, and as it came."""

    verb: Verb[Any]
    question: msgspec.Struct
    target: str
    body: bytes | AsyncIterator[bytes]


class Everywhere:
    """The lab's machines, seen from the one whose daemon this is: `table` is what it does itself."""

    def __init__(self, cluster: Cluster, table: Table, remote: Remote, leader: Callable[[], str]) -> None:
        self._cluster, self._table, self._remote, self._leader = cluster, table, remote, leader

    @property
    def others(self) -> list[str]:
        """The other machines' nodes."""
        return [node.name for node in other_machines(self._cluster.snapshot.all(Node).values(), self._remote.node)]

    async def answer(self, asked: Asked) -> Any:
        """What the machine that is to answer says, or all say: a value, or a stream of values or of whole lines.

        Raises what is refused, also that no place has a name that the request says, DaemonError, StoreError.
        """
        node = self._who(asked.verb, asked.question)
        if isinstance(node, All):
            return await self._of_all(asked, node)
        if node in self.others:
            pieces = self._remote.forward(node, asked.verb.method, asked.target, asked.body)
            if isinstance(asked.verb, Call):
                return msgspec.Raw(await joined(pieces))
            lines = whole_lines(pieces)
            if not isinstance(asked.verb.who, Leader):
                return lines
            if begun := await _begun(lines):
                return begun
        return await self._table.answered(asked.verb, asked.question, asked.body)

    async def written(self, method: str, target: str, body: Any) -> Json | None:
        """The leader's answer to a write of one object that may allocate, once this machine's snapshot has what was
        written; None where this machine is to write it."""
        node = self._leader()
        if node not in self.others:
            return None
        try:
            obj: Json = await self._remote.ask_json(node, method, target, body)
        except SilentError:
            return None
        await self._cluster.reached(int(obj["metadata"]["resourceVersion"]), LOOK)
        return obj

    def _who(self, verb: Verb[Any], question: msgspec.Struct) -> All | str:
        """Who is to answer: all machines, or that of a node; "" for this one, or where nobody else can."""
        snapshot, who = self._cluster.snapshot, verb.who

        def said(field: str) -> str:
            return str(getattr(question, field))

        match who:
            case All():
                return who
            case Leader():
                return self._leader()
            case OfNode():
                node = said("node")
                return who.otherwise if not node and isinstance(who.otherwise, All) else node
            case OfPod():
                pod = snapshot.get(Pod, said("name"), said("namespace"))
                return pod.spec.nodeName if pod else ""
            case OfPlace():
                name = said(who.field)
                if name or not isinstance(who.otherwise, All):
                    return place_of(snapshot, name, said("namespace")).node
                return who.otherwise
        return ""

    async def _of_all(self, asked: Asked, who: All) -> Any:
        verb, question = asked.verb, asked.question
        if isinstance(verb, Stream):
            streams = {node: self._remote.lines(node, verb, question) for node in self.others}
            return self._table.merge(verb, question, await self._table.answered(verb, question), streams)
        assert isinstance(verb, Call)
        own = self._table.answered(verb, question)
        if who.within is None or self._cluster.informer.health().healthy:
            mine, answers = await asyncio.gather(own, self._remote.ask_all(self.others, verb, question, who.within))
        else:
            silent = DaemonError("its daemon cannot be asked: the store, which carries the question, does not answer")
            mine, answers = await own, dict.fromkeys(self.others, silent)
        return self._table.merge(verb, question, mine, answers)


async def _begun(lines: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes] | None:
    """The same, with its first lines there already; None when whoever was asked does not answer."""
    try:
        first = await anext(lines, b"")
    except DaemonError:
        return None

    async def whole() -> AsyncIterator[bytes]:
        async with aclosing(lines):
            yield first
            async for more in lines:
                yield more

    return whole()
