"""The store by itself: what it holds, told key by key, and put back where it came back empty."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from k8snetlab.api.lab import Lab
from k8snetlab.api.scheme import encode, store_key
from k8snetlab.api.taken import without_made
from k8snetlab.cluster import admitted
from k8snetlab.errors import AlreadyExistsError, StoreError
from k8snetlab.kernel import fault
from k8snetlab.messages.store import KeyValue
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Store

RESTORING = 30.0
"""Seconds in which the store has to tell of the objects that were put back into it."""


async def dump(store: Store, prefix: str) -> AsyncIterator[KeyValue]:
    """Every key of the store that begins so, with its revision and its value as JSON (as text where it is none)."""
    for entry in (await store.list(prefix)).entries:
        try:
            value = msgspec.json.decode(entry.value)
        except msgspec.DecodeError:
            value = entry.value.decode(errors="replace")
        yield KeyValue(entry.key, entry.mod_revision, value)


async def restore(store: Store, informer: Informer) -> None:
    """Puts every object into a store that came back without its data, the Lab last: the informer waits for it."""
    if not informer.lost:
        return
    objects = without_made(obj for kind in informer.snapshot.objects.values() for obj in kind.values())
    for obj in sorted(objects, key=lambda obj: isinstance(obj, Lab)):
        fault.point()
        with contextlib.suppress(AlreadyExistsError):
            await store.create(store_key(obj), encode(admitted.stored(obj)))
    try:
        async with asyncio.timeout(RESTORING):
            async for _ in informer.changes():
                if not informer.lost:
                    return
    except TimeoutError:
        health = informer.health()
        raise StoreError(f"the store does not tell of what was put back: {health.problem}", "`up` again") from None
