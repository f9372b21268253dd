"""API servers of the lab's own, asked whether they are ready, from inside its underlay. Blocking."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

PATIENCE = 1.0
"""Seconds that one has to answer."""
_ASKS = b"GET /readyz HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\n\r\n"


def problem(opened: Callable[[int], socket.socket], address: str, ca: Path) -> str:
    """Why the server at `address` (ADDRESS:PORT) is not ready, "" where it says that it is."""
    host, _, port = address.rpartition(":")
    try:
        context = ssl.create_default_context(cafile=str(ca))
        with opened(socket.AF_INET6 if ":" in host else socket.AF_INET) as line:
            line.settimeout(PATIENCE)
            line.connect((host.strip("[]"), int(port)))
            with context.wrap_socket(line, server_hostname=host.strip("[]")) as secure:
                secure.sendall(_ASKS)
                said = secure.recv(4096).split(b"\r\n", 1)[0].decode(errors="replace")
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "" if " 200" in said else f"it says {said[:60]!r}"
