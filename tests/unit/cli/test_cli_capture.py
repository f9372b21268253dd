"""What `capture` takes for a point, and what for its filter; and what it refuses before it looks."""

from __future__ import annotations

import os

import pytest
from scripted import ScriptedClient
from typer.testing import CliRunner

from k8snetlab.cli.capture import split
from k8snetlab.cli.main import app_of
from k8snetlab.errors import InputError


@pytest.mark.parametrize(
    ("words", "points", "expression"),
    [
        (["client"], ["client"], ""),
        (["node1", "node2:flannel.1", "default/client"], ["node1", "node2:flannel.1", "default/client"], ""),
        (["client", "tcp", "port", "80"], ["client"], "tcp port 80"),
        (["client", "tcp port 80 and host 10.1.2.3"], ["client"], "tcp port 80 and host 10.1.2.3"),
        (["client", "!arp"], ["client"], "!arp"),
        (["client", "(tcp", "or", "udp)"], ["client"], "(tcp or udp)"),
        (["client", "tcp[tcpflags]", "=", "2"], ["client"], "tcp[tcpflags] = 2"),
        (["default/tcp", "tcp"], ["default/tcp"], "tcp"),
        (["tcp"], [], "tcp"),
    ],
)
def test_the_filter_begins_with_its_own_words(words: list[str], points: list[str], expression: str) -> None:
    assert split(words) == (points, expression)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tcp"], "capture needs a place to look at"),
        (["client", "tcp", "port", "http"], "filter, column 10: 'http' is no port"),
        (["client", "-w", "x", "-o", "json"], "two forms of output"),
    ],
)
def test_what_is_wrong_is_said_first(
    lab: ScriptedClient, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(app_of(), ["capture", *words], catch_exceptions=False)
    assert said in caught.value.message and caught.value.hint
