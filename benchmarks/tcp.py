"""What TCP brings from one namespace to another, measured in two ways.

`rates` are those of a sender and a receiver at work at the same time, as users have them. They swing by a tenth and
more on one and the same path: on two cores packets overtake each other, and TCP sends some anew. Hence many short runs,
and the median of neighbours' ratios: of 150 it is good to 0.015.

`rates_of_a_core` are of one thread that sends and receives in turns, and only its processor time counts: all that the
path does is done within its calls. Builds of one path are within 0.01, also on a busy machine.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import NamedTuple

from k8snetlab.kernel import netns

SECONDS = 0.03
OPENING = 0.02
"""Seconds in which a connection's window opens, before it is measured."""
SENDS = 100
PAYLOAD = bytes(60_000)
"""What the kernel takes through the path as one packet."""
MEGABYTE = memoryview(bytes(1 << 20))


class Way(NamedTuple):
    """From namespace `client` to an address that leads to port `listening` of namespace `server`."""

    client: str
    server: str
    address: str
    port: int
    listening: int


def rates(ways: Sequence[Way], times: int) -> list[list[float]]:
    """Of each way: megabits a second that arrive while another process sends."""
    return in_turns([partial(rate, way) for way in ways], times)


def rates_of_a_core(ways: Sequence[Way], times: int) -> list[list[float]]:
    """Of each way: megabits in a second of processor time, sending and receiving and all between."""
    with ExitStack() as stack:
        return in_turns([stack.enter_context(_thread(way)) for way in ways], times)


def in_turns(measures: Sequence[Callable[[], float]], times: int) -> list[list[float]]:
    """What each found; forwards and backwards by turns, so that none is always the first."""
    found: list[list[float]] = [[] for _ in measures]
    for number in range(times):
        both = list(zip(measures, found, strict=True))
        for measure, values in both[::-1] if number % 2 else both:
            values.append(measure())
    return found


def joined(rounds: Sequence[Sequence[Sequence[float]]]) -> list[tuple[float, ...]]:
    """Of each way, what all rounds found."""
    return [tuple(chain.from_iterable(each)) for each in zip(*rounds, strict=True)]


def rate(way: Way) -> float:
    sender, receiver = _connected(way)
    child = os.fork()
    if not child:
        receiver.close()
        try:
            while True:
                sender.send(MEGABYTE)
        except OSError:
            os._exit(0)
    sender.close()
    with receiver:
        buffer = bytearray(1 << 20)
        until = time.perf_counter() + OPENING
        while time.perf_counter() < until:
            receiver.recv_into(buffer)
        began, count = time.perf_counter(), 0
        while (now := time.perf_counter()) < began + SECONDS:
            count += receiver.recv_into(buffer)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    os.waitpid(child, 0)
    return count * 8 / 1e6 / (now - began)


@contextmanager
def _thread(way: Way) -> Iterator[Callable[[], float]]:
    sender, receiver = _connected(way)
    buffer = bytearray(len(PAYLOAD))

    def measured() -> float:
        began = time.thread_time()
        for _ in range(SENDS):
            sender.sendall(PAYLOAD)
            left = len(PAYLOAD)
            while left:
                left -= receiver.recv_into(buffer, left)
        return SENDS * len(PAYLOAD) * 8 / 1e6 / (time.thread_time() - began)

    with sender, receiver:
        measured()  # its window opens
        yield measured


def _connected(way: Way) -> tuple[socket.socket, socket.socket]:
    """Both ends, the client's first."""
    with netns.inside(way.server):
        listener = socket.create_server(("", way.listening))
    with listener, ExitStack() as stack:
        with netns.inside(way.client):
            sender = stack.enter_context(socket.socket())
        sender.settimeout(10)
        sender.connect((way.address, way.port))
        sender.settimeout(None)
        receiver, _ = listener.accept()
        stack.pop_all()
        return sender, receiver
