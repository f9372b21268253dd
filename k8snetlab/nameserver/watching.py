"""The objects that names come from, watched at the lab's daemon: a Snapshot that stays when the daemon is gone."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from k8snetlab.api.core import Namespace, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.client.client import Client
from k8snetlab.errors import K8sNetLabError

log = logging.getLogger(__name__)

KINDS: tuple[type[Object], ...] = (Namespace, Service, EndpointSlice)
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds before the daemon is asked again: after the first time that it did not answer, the second, …"""
SILENCE = 90.0
"""Seconds without even a bookmark after which a watch is taken for dead."""


class Watching:
    """`changed` is called with what a kind's watch brought, from that watch's thread; `whole` says that these are all
    objects of the kind, so that others are gone."""

    def __init__(self, client: Client, changed: Callable[[type[Object], list[Change], bool], None], pods: bool) -> None:
        self._client, self._changed = client, changed
        self.kinds: tuple[type[Object], ...] = (*KINDS, Pod) if pods else KINDS

    def start(self) -> None:
        for kind in self.kinds:
            threading.Thread(target=self._follow, args=[kind], name=f"watch {kind.KIND}", daemon=True).start()

    def _follow(self, kind: type[Object]) -> None:
        tries = 0
        while True:
            began = time.monotonic()
            try:
                self._watch(kind)
                why = "the watch has ended"
            except (K8sNetLabError, OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
                why = str(error)
            tries = 0 if time.monotonic() - began > 10 else tries + 1
            log.warning("%s: %s; asking again", kind.KIND, why)
            time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])

    def _watch(self, kind: type[Object]) -> None:
        """One watch: first all objects of the kind, then what changes."""
        first: list[Change] | None = []
        for event in self._client.watch_list(kind.KIND, SILENCE):
            if event["type"] == "BOOKMARK":
                if first is not None:
                    self._changed(kind, first, True)
                    first = None
                continue
            change = _change(kind, event)
            if first is not None:
                first.append(change)
            else:
                self._changed(kind, [change], False)


def _change(kind: type[Object], event: dict[str, Any]) -> Change:
    obj = msgspec.convert(event["object"], kind, strict=False)
    return kind, obj.key, None if event["type"] == "DELETED" else obj


class World:
    """The Snapshot that the kinds make up; `snapshot` is None until every kind has been told of once."""

    def __init__(self, kinds: tuple[type[Object], ...]) -> None:
        self._missing = set(kinds)
        self._snapshot = Snapshot()
        self._revision = 0

    @property
    def snapshot(self) -> Snapshot | None:
        return None if self._missing else self._snapshot

    def take(self, kind: type[Object], changes: list[Change], whole: bool) -> None:
        if whole:
            there = {key for _, key, _ in changes}
            changes = [*changes, *((kind, key, None) for key in self._snapshot.all(kind) if key not in there)]
            self._missing.discard(kind)
        self._revision += 1
        self._snapshot = self._snapshot.changed(changes, self._revision)
