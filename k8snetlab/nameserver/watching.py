"""The objects that names come from, watched at the lab's daemon: a Snapshot that stays when the daemon is gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Namespace, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Change, Snapshot
from k8snetlab.client.client import Client
from k8snetlab.client.decoders import decoder
from k8snetlab.dns import addon
from k8snetlab.errors import K8sNetLabError

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Object)
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds before the daemon is asked again: after the first time that it did not answer, the second, …"""
LONG = 10.0
"""Seconds after which a watch that ends is a first time again."""
SILENCE = 90.0
"""Seconds without even a bookmark after which a watch is taken for dead."""


class Wanted(msgspec.Struct, frozen=True):
    """Objects of a kind: of one namespace and name, or all."""

    kind: type[Object]
    namespace: str = ""
    name: str = ""

    def means(self, key: tuple[str, str]) -> bool:
        return self.namespace in ("", key[0]) and self.name in ("", key[1])


def corefile(config: str) -> Wanted:
    """Those of the ConfigMap of that name."""
    return Wanted(ConfigMap, addon.NAMESPACE, config)


WANTED = (corefile(addon.NAME), Wanted(Namespace), Wanted(Service), Wanted(EndpointSlice))
PODS = Wanted(Pod)
"""Wanted where names of pods are verified."""
Told = Callable[[Wanted, Sequence[Change], bool], None]
"""Called from a watch's thread with what it brought; `whole` says that these are all such objects, and others gone."""


class Watching:
    def __init__(self, client: Client, told: Told) -> None:
        self._client, self._told = client, told
        self._begun: set[Wanted] = set()
        self._closed = threading.Event()

    def begin(self, *wanted: Wanted) -> None:
        """Idempotent."""
        for one in wanted:
            if one not in self._begun:
                self._begun.add(one)
                decoder(one.kind)  # before its thread, and others meanwhile, convert to what it is made of
                threading.Thread(target=self._follow, args=[one], name=f"watch {one.kind.KIND}", daemon=True).start()

    def close(self) -> None:
        """What is not under way is not begun again."""
        self._closed.set()

    def _follow(self, wanted: Wanted) -> None:
        tries = 0
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                self._watch(wanted)
                why = "the watch has ended"
            except (K8sNetLabError, OSError, msgspec.MsgspecError) as error:
                why = str(error)
            tries = 0 if time.monotonic() - began > LONG else tries + 1
            log.warning("%s: %s; asking again", wanted.kind.KIND, why)
            self._closed.wait(PAUSES[min(tries, len(PAUSES) - 1)])

    def _watch(self, wanted: Wanted) -> None:
        """One watch: first all objects, then what changes."""
        first: list[Change] | None = []
        for event in self._client.watch_list(wanted.kind.KIND, SILENCE, wanted.namespace, wanted.name):
            if event["type"] == "BOOKMARK":
                if first is not None:
                    self._told(wanted, first, True)
                    first = None
            elif first is not None:
                first.append(_change(wanted.kind, event))
            else:
                self._told(wanted, [_change(wanted.kind, event)], False)


def _change(kind: type[Object], event: dict[str, Any]) -> Change:
    obj = msgspec.convert(_given(event["object"]), kind, strict=False)
    return kind, obj.key, None if event["type"] == "DELETED" else obj


def _given(value: Any) -> Any:
    """Without the fields that are null: an EndpointSlice of nobody has `endpoints: null`, as Kubernetes writes it."""
    if isinstance(value, dict):
        return {name: _given(held) for name, held in value.items() if held is not None}
    return [_given(held) for held in value] if isinstance(value, list) else value


class World:
    """The Snapshot that all of it makes up; `snapshot` is None until each of `wanted` has been told of once."""

    def __init__(self, *wanted: Wanted) -> None:
        self._missing = set(wanted)
        self._told: set[Wanted] = set()
        self._snapshot = Snapshot()
        self._revision = 0

    @property
    def snapshot(self) -> Snapshot | None:
        return None if self._missing else self._snapshot

    def get(self, kind: type[T], name: str, namespace: str) -> T | None:
        """An object, as far as it is known by now."""
        return self._snapshot.get(kind, name, namespace)

    def take(self, wanted: Wanted, changes: Sequence[Change], whole: bool) -> None:
        if whole:
            there = {key for _, key, _ in changes}
            gone = [key for key in self._snapshot.all(wanted.kind) if key not in there and wanted.means(key)]
            changes = [*changes, *((wanted.kind, key, None) for key in gone)]
            self._missing.discard(wanted)
            self._told.add(wanted)
        self._revision += 1
        self._snapshot = self._snapshot.changed(changes, self._revision)

    def knows(self, wanted: Wanted) -> bool:
        """Whether it has been told of once."""
        return wanted in self._told

    def waits_for(self, wanted: Wanted) -> None:
        """Nothing is known until this is told of, too."""
        if wanted not in self._told:
            self._missing.add(wanted)
