"""What Kubernetes' paths ask of the lab's own verbs: their values, from whichever machine answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from k8snetlab.messages.errors import BrokenOff, error_of
from k8snetlab.messages.verb import ERROR, Verb

Ask = Callable[[Verb[Any], msgspec.Struct, Any], Awaitable[Any]]
"""Answers a verb, here or on another machine: its values, or whole lines of them as JSON."""


async def values(events: AsyncIterator[Any], type_: Any) -> AsyncGenerator[Any, None]:
    """Values of a verb's answer, also of one that another machine sent as lines. Raises the error that it ends with."""
    decoder = msgspec.json.Decoder(type_)
    try:
        async for event in events:
            if not isinstance(event, bytes):
                yield event
                continue
            for line in event.splitlines():
                if line.startswith(ERROR):
                    raise error_of(msgspec.json.decode(line, type=BrokenOff).status)
                yield decoder.decode(line)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
