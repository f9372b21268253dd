"""Who answers: pods asked over the network, all at once, until each has said its own name."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

from benchmarks.run import FailedError
from k8snetlab.kernel import netns

AT_ONCE = 200
"""Connections at a time: a process may have 1,024 open files."""
PATIENCE = 5.0
"""Seconds after which a pod that says nothing is asked anew."""


def all_answer(namespace: str, pods: Mapping[str, str], port: int = 8080, timeout: float = 120.0) -> float:
    """When the last of them had answered, on time.perf_counter()'s clock.

    `pods`: names by their addresses. They are asked from a namespace; raises FailedError where one does not answer, or
    another one answers for it.
    """
    waiting = list(pods)
    until = time.perf_counter() + timeout
    with netns.inside(namespace), selectors.DefaultSelector() as selector:
        while waiting or selector.get_map():
            if time.perf_counter() > until:
                missing = waiting + [key.data[0] for key in selector.get_map().values()]
                raise FailedError(f"{len(missing)} of {len(pods)} pods do not answer, {pods[missing[0]]} among them")
            while waiting and len(selector.get_map()) < AT_ONCE:
                _ask(selector, waiting.pop(), port)
            for key, _ in selector.select(0.05):
                selector.unregister(key.fileobj)
                if not _read(key.fileobj, pods[key.data[0]]):  # type: ignore[arg-type]
                    waiting.append(key.data[0])
            _give_up(selector, waiting)
    return time.perf_counter()


def _ask(selector: selectors.BaseSelector, address: str, port: int) -> None:
    asking = socket.socket()
    asking.setblocking(False)
    with suppress(OSError):  # what cannot connect at all is seen when it is read
        asking.connect((address, port))
    selector.register(asking, selectors.EVENT_WRITE, (address, time.perf_counter()))


def _read(asking: socket.socket, name: str) -> bool:
    """Whether it answered, and with its own name: it is connected, so the answer is but a moment away."""
    with asking:
        try:
            asking.settimeout(PATIENCE)
            asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
            said = b""
            while piece := asking.recv(4096):
                said += piece
            answer = json.loads(said.partition(b"\r\n\r\n")[2])["pod"]
        except (OSError, ValueError, KeyError):
            return False
    if answer != name:
        raise FailedError(f"pod {answer} answers for {name}")
    return True


def _give_up(selector: selectors.BaseSelector, waiting: list[str]) -> None:
    """Those who have kept us waiting are asked anew."""
    late = time.perf_counter() - PATIENCE
    for key in [key for key in selector.get_map().values() if key.data[1] < late]:
        selector.unregister(key.fileobj)
        key.fileobj.close()  # type: ignore[union-attr]
        waiting.append(key.data[0])
