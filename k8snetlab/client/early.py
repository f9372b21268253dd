"""What a verb asks of its lab's daemon, asked while the command line that reads the verb is still being loaded.

That takes 45 ms, in which the daemon is at work already. It is done for command lines alone that are whole as they
stand, with nothing to be refused, filled in or asked before: `cli` asks in the same words, and finds its question on
its way. Whatever else it asks, it asks as ever.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from k8snetlab.api import scaled

if TYPE_CHECKING:
    from k8snetlab.client.wire import Exchange

CONNECTING = 0.05
"""Seconds that it may take to be let in; who waits longer asks later, and says so."""
_COMPLETING = "_K8SNETLAB_COMPLETE"
"""With this in its environment a command line tells what may follow its words, and does nothing."""
_BASE = "/apis/k8snetlab/v1alpha1"
_NAME = re.compile(r"[a-z0-9][-.a-z0-9]*")
_NUMBER = re.compile(r"[0-9]{1,6}")


class Request(NamedTuple):
    """One request of HTTP."""

    method: str
    target: str
    body: bytes = b""


def _diagnose(predict_only: str) -> Request:
    return Request("POST", f"{_BASE}/diagnose", b'{"node":"","predictOnly":%s}' % predict_only.encode())


_LOOK = _diagnose("true")
_WHOLE: dict[tuple[str, ...], tuple[Request, ...]] = {
    ("status",): (Request("GET", f"{_BASE}/status"),),
    ("diagnose",): (_diagnose("false"),),
    ("diagnose", "--predict-only"): (_LOOK,),
    ("graph",): (
        _LOOK,
        Request("GET", f"{_BASE}/labs"),
        *(Request("GET", f"/api/v1/{plural}") for plural in ("nodes", "pods", "services")),
        Request("GET", "/apis/discovery.k8s.io/v1/endpointslices"),
    ),
}
"""By the command line's words, but for `-o FORM`."""
_asked: dict[tuple[str, Request], Exchange] = {}
"""By the socket that was asked."""


def ask(words: Sequence[str]) -> None:
    """Asks what the command line of these words will. Where that cannot be done, nothing is: the verb will say why."""
    if _COMPLETING in os.environ or not (requests := requests_of(words)):
        return
    if None in (sys.stdin, sys.stdout, sys.stderr):
        return  # a connection would be in the place of a stream that is closed
    from k8snetlab.client.wire import Exchange, WireError
    from k8snetlab.errors import K8sNetLabError
    from k8snetlab.state import labs
    from k8snetlab.state.paths import LabPaths

    try:
        path = str(LabPaths(labs.choose(os.environ.get("K8SNETLAB_LAB") or None)).socket)
        for request in requests:
            exchange = Exchange(path, CONNECTING)
            exchange.ask(*request)
            _asked[path, request] = exchange
    except (K8sNetLabError, OSError, WireError):
        pass  # it asks once more, and fails likewise


def requests_of(words: Sequence[str]) -> tuple[Request, ...]:
    """In the order in which the verb asks them; none where the verb might refuse the words."""
    match words:
        case ["graph", "-o", _] | [_, *_, "-o", "json"]:
            words = words[:-2]
    match words:
        case ["tables", name] if _NAME.fullmatch(name):
            return (Request("GET", f"{_BASE}/tables/{name}?namespace=default&table="),)
        case ["scale", target, "--replicas", number] if _NUMBER.fullmatch(number):
            return _scale(target, int(number))
    return _WHOLE.get(tuple(words), ())


def _scale(target: str, replicas: int) -> tuple[Request, ...]:
    found = scaled.target([target])
    if found is None or not _NAME.fullmatch(found[1]):
        return ()
    from k8snetlab.client import paths

    path = paths.path(found[0], "default", found[1])
    return (Request("PUT", f"{path}/scale", b'{"spec":{"replicas":%d}}' % replicas),)


def taken(path: str, method: str, target: str, body: bytes, silence: float | None) -> Exchange | None:
    """The exchange in which this has been asked; nothing may come for `silence` seconds from now on."""
    exchange = _asked.pop((path, Request(method, target, body)), None)
    if exchange is not None:
        exchange.set_silence(silence)
    return exchange


def untaken() -> list[Request]:
    """What nobody has taken yet."""
    return [request for _, request in _asked]


def has_changed() -> bool:
    """Whether something was asked for that changes the lab, and nobody has said so yet."""
    return any(request.method == "PUT" for request in untaken())
