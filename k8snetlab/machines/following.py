"""Keys of the store that are no objects of a snapshot (leases), as the store last reported them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import aclosing

from k8snetlab.errors import CompactedError, K8sNetLabError, StoreError
from k8snetlab.store.protocol import Entry, Event, Store

RETRY = 1.0
"""Seconds before a store that failed is asked again."""


class Followed:
    """What is below `prefix`, by key; `changed` is called when something of it changes.

    While the store does not answer, all stays as it was. A key that goes is gone because the store reported its
    deletion; one that is absent otherwise was never there, or the store has lost it: `absent` tells the two apart.
    """

    def __init__(self, store: Store, prefix: str, changed: Callable[[], None]) -> None:
        self._store, self._prefix, self._changed = store, prefix, changed
        self._gone: dict[str, tuple[float, int]] = {}
        """Keys whose deletion was reported: when, and the revision of it."""
        self.entries: dict[str, Entry] = {}
        self.listed: float | None = None
        """When the store was last asked for all keys, in monotonic seconds; None before the first time."""

    async def run(self) -> None:
        """Follows the store for ever."""
        while True:
            try:
                listing = await self._store.list(self._prefix)
                self.entries = {entry.key: entry for entry in listing.entries}
                self._gone.clear()
                self.listed = time.monotonic()
                self._changed()
                async with aclosing(self._store.watch(self._prefix, listing.revision)) as batches:
                    async for events in batches:
                        self.note(events)
            except CompactedError:
                await asyncio.sleep(0)  # list again
            except StoreError:
                await asyncio.sleep(RETRY)

    def note(self, results: Iterable[Event | K8sNetLabError]) -> None:
        """Takes in what happened: what the watch tells, or what this process has just written. Each counts once."""
        news = False
        for event in results:
            if not isinstance(event, Event):
                continue
            key, entry = event.entry.key, event.entry
            held = self.entries.get(key)
            seen = held.mod_revision if held else self._gone.get(key, (0.0, 0))[1]
            if entry.mod_revision <= seen:
                continue
            news = True
            if event.type == "put":
                self.entries[key] = entry
                self._gone.pop(key, None)
            elif held is not None:
                del self.entries[key]
                self._gone[key] = time.monotonic(), entry.mod_revision
        if news:
            self._changed()

    def absent(self, key: str) -> tuple[float, bool] | None:
        """For how many seconds the key has not been there, and whether the store reported its deletion; None while it
        is there, or nothing is known yet."""
        if key in self.entries or self.listed is None:
            return None
        deletion = self._gone.get(key)
        return time.monotonic() - (deletion[0] if deletion else self.listed), deletion is not None
