"""The name server as a thread of the kubelet, as it is in a seat of a class."""

from __future__ import annotations

import asyncio
import importlib
import signal
import socket
import threading
from pathlib import Path

import pytest

from k8snetlab.api.workload import NAMESERVER, NameService
from k8snetlab.kubelet import nameserver
from k8snetlab.kubelet.instance import Exit
from k8snetlab.kubelet.nameserver import NameServer

GONE = NameService("small", ("127.0.0.1",), "small.node1.nothing")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(nameserver.SMALL, "1")
    monkeypatch.setenv("K8SNETLAB_RUN", str(tmp_path))


def test_it_begins_answers_ends_and_begins_again() -> None:
    async def lives() -> None:
        server = NameServer()
        first = server.prepare("small")
        assert server.prepare("small") is first
        assert "small.node1.nothing" in await first.ask("pod", GONE)
        await first.end()
        assert first.ended.result() == Exit(0)
        assert server.prepare("small") is not first
        await server.close()

    asyncio.run(lives())


def test_one_that_does_not_end_is_waited_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()

    def stands_still(_: str, line: socket.socket) -> None:
        with line:
            stuck.wait(60)

    monkeypatch.setattr(importlib.import_module(f"{NAMESERVER}.main"), "within", stands_still)
    monkeypatch.setattr(nameserver, "END", 0.05)

    async def lives() -> None:
        process = NameServer().prepare("small")
        await process.end()
        assert process.ended.result() == Exit(128 + signal.SIGKILL, signal.SIGKILL)
        stuck.set()

    asyncio.run(lives())
