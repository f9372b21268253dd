"""Fixtures of the tests that need no root."""

from __future__ import annotations

import pytest
from hypothesis import settings
from scripted import ScriptedClient

# No test asserts a time: on a busy machine an example takes as long as it takes.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    """The one lab that the verbs find."""
    from k8snetlab.client import client

    scripted = ScriptedClient()

    def find(name: str | None = None) -> ScriptedClient:
        scripted.asked.append(("find", name))
        return scripted

    monkeypatch.setattr(client.Client, "find", staticmethod(find))
    return scripted
