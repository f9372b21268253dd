"""How much TCP carries from one network namespace to another."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from ipaddress import ip_address

from k8snetlab.kernel import netns

PATIENCE = 3.0
"""Seconds that the connection may take to stand, and its first octets to come."""
OPENING = 0.1
"""Seconds that the connection's window gets to open, which are not counted."""
PIECE = 1 << 20
ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: what is still to be sent is dropped at the end."""


def rate(source: str, target: str, address: str, seconds: float) -> float | None:
    """Megabits of one connection in a second, from namespace `source` to `address`, which is in namespace `target`, on
    a port that is free there. None where none stands, or nothing arrives. Raises NotFoundError."""
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    with netns.inside(target):
        listener = socket.create_server((address, 0), family=family)
    with listener:
        listener.settimeout(PATIENCE)
        with netns.inside(source):
            sender = socket.socket(family)
        with sender:
            sender.settimeout(PATIENCE)
            try:
                sender.connect((address, listener.getsockname()[1]))
                receiver, _ = listener.accept()
            except OSError:
                return None
            with receiver:
                return _measured(sender, receiver, seconds)


def _measured(sender: socket.socket, receiver: socket.socket, seconds: float) -> float | None:
    filling = threading.Thread(target=_fill, args=(sender,), daemon=True)
    filling.start()
    receiver.settimeout(PATIENCE)
    buffer = bytearray(PIECE)
    try:
        began, count = time.perf_counter(), 0
        while time.perf_counter() < began + OPENING:
            receiver.recv_into(buffer)
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            count += receiver.recv_into(buffer)
    except OSError:
        return None
    finally:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        receiver.close()
        filling.join()
    return count * 8 / 1e6 / (now - began)


def _fill(sender: socket.socket) -> None:
    """Sends until the other end is gone."""
    data = memoryview(bytes(PIECE))
    with contextlib.suppress(OSError):
        while True:
            sender.send(data)
