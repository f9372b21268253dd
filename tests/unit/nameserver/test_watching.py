"""Watches of objects, a thread each."""

from __future__ import annotations

import threading
from typing import Any, cast

import msgspec
import pytest

from k8snetlab.client.client import Client
from k8snetlab.nameserver.watching import Wanted, Watching


class Noting:
    """A field's type that notes when msgspec looks into it."""

    asked = False

    @property
    def __supertype__(self) -> type:
        self.asked = True
        return int


def test_what_a_kind_is_made_of_is_known_before_its_thread_converts_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    noting, known = Noting(), list[bool]()
    kind: Any = msgspec.defstruct("Kind", [("a", noting)], namespace={"KIND": "Kind"})
    monkeypatch.setattr(threading.Thread, "start", lambda thread: known.append(noting.asked))
    watching = Watching(cast(Client, None), lambda *_: None)
    watching.begin(Wanted(kind))
    watching.begin(Wanted(kind))
    assert known == [True]
