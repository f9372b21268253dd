"""A conversation lasts until its answer is whole, its asker has gone, or one of the two fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from k8snetlab.apiserver.transport import Answer, Reply, while_connected
from k8snetlab.errors import InputError


async def for_ever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    pass


async def too_much() -> None:
    raise InputError("more than 64 MiB")


def test_a_conversation_ends_with_its_answer_or_its_asker() -> None:
    asyncio.run(while_connected(at_once(), for_ever()))
    asyncio.run(while_connected(for_ever(), at_once()))


def test_what_is_wrong_with_what_the_asker_sends_is_said() -> None:
    with pytest.raises(InputError, match="64 MiB"):
        asyncio.run(while_connected(for_ever(), too_much()))


def test_of_many_long_warnings_a_client_gets_what_it_can_read() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Answer(send).whole(Reply({}, warnings=("x" * 1000,) * 1000)))
    warnings = [value for name, value in sent[0]["headers"] if name == b"warning"]
    assert len(warnings) == 50
    assert warnings[0] == b'299 - "' + b"x" * 256 + b'"'
