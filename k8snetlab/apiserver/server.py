"""The daemon's socket, and the protocol at it, which knows who is at the other end of each connection."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any

from k8snetlab.apiserver.access import Caller, User, group_id
from k8snetlab.apiserver.protocol import Protocol
from k8snetlab.state.paths import LabPaths, root


class PeerProtocol(Protocol):
    """HTTP over a unix socket; a request's `client` (ASGI) is (uid, gid) of the process that sent it, in decimal."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        _, uid, gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.client = (str(uid), gid)


def caller_of(scope: dict[str, Any]) -> Caller | User | None:
    """Who asks; None where the request came through the store, from another machine's daemon."""
    user = scope.get("state", {}).get("user")
    if isinstance(user, User):
        return user
    client = scope.get("client")
    return Caller(int(client[0]), client[1]) if client else None


def listen(paths: LabPaths) -> socket.socket:
    """The REST socket, for root and the group of `access`. It appears under its name when it is ready to answer."""
    listener = socket.socket(socket.AF_UNIX)
    fresh = paths.socket.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    listener.bind(str(fresh))
    fresh.chmod(0o600)
    group = group_id()
    if group is not None:
        for place, mode in ((root(), 0o750), (paths.directory, 0o710), (fresh, 0o660)):
            os.chown(place, -1, group)
            place.chmod(mode)
    listener.listen(128)
    fresh.rename(paths.socket)
    return listener
