"""A stream of the REST face that has no end of its own ends with whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from k8snetlab.errors import NotFoundError
from k8snetlab.lab.app import Api
from k8snetlab.lab.table import Table, answers
from k8snetlab.messages.nodes import MISSES, MissesQuestion


class Misses:
    """Answers `misses` with the stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @answers(MISSES)
    def misses(self, question: MissesQuestion) -> AsyncIterator[Any]:
        return self._stream(question.node)


class Asked:
    """One GET of `misses` by a client that goes away when `gone` is set."""

    def __init__(self, stream: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self._begun = False
        self._api = Api(cast(Any, None), Table(Misses(stream)))

    async def run(self) -> None:
        path = "/apis/k8snetlab/v1alpha1/misses"
        await self._api(
            {"type": "http", "method": "GET", "path": path, "query_string": b"node=n"}, self.receive, self.send
        )

    async def receive(self) -> dict[str, Any]:
        if not self._begun:
            self._begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message.get("body") == b'{"node":"n"}\n':
            self.gone.set()


def test_whoever_stops_listening_is_not_told_more() -> None:
    ended = False

    async def endless(node: str) -> AsyncIterator[dict[str, str]]:
        nonlocal ended
        try:
            yield {"node": node}
            await asyncio.Event().wait()
        finally:
            ended = True

    async def main() -> None:
        async with asyncio.timeout(10):
            await Asked(endless).run()

    asyncio.run(main())
    assert ended


def test_an_error_and_an_end_come_through() -> None:
    async def refused(node: str) -> AsyncIterator[dict[str, str]]:
        raise NotFoundError(f"no {node}")
        yield {}

    async def short(node: str) -> AsyncIterator[dict[str, str]]:
        yield {"was": node}

    async def answers(stream: Any) -> list[Any]:
        asked = Asked(stream)
        async with asyncio.timeout(10):
            await asked.run()
        return [message.get("status") or message["body"] for message in asked.sent]

    status, body = asyncio.run(answers(refused))
    assert status == 404 and b'"no n"' in body
    assert asyncio.run(answers(short)) == [200, b'{"was":"n"}\n', b""]
