"""Fixtures of the tests that need no root."""

from __future__ import annotations

import pytest
from scripted import ScriptedClient


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    """The one lab that the verbs find."""
    from k8snetlab.lab import client

    scripted = ScriptedClient()

    def find(name: str | None = None) -> ScriptedClient:
        scripted.asked.append(("find", name))
        return scripted

    monkeypatch.setattr(client.Client, "find", staticmethod(find))
    return scripted
