"""The Lab of a lab with a control plane of its own, as its files said last: all that is known before the store is."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from k8snetlab.api.lab import Lab
from k8snetlab.dataplane.names import ROUTER, node_netns
from k8snetlab.kernel import netns
from k8snetlab.state.paths import LabPaths, write_private

FILE = "lab.json"


def write(paths: LabPaths, lab: Lab) -> None:
    """Under the name that the lab has here, whatever its files call it (`up --lab`)."""
    lab = replace(lab, metadata=replace(lab.metadata, name=paths.lab))
    paths.plane.mkdir(mode=0o700, exist_ok=True)
    write_private(paths.plane / FILE, msgspec.json.encode(lab))


def read(paths: LabPaths) -> Lab | None:
    try:
        return msgspec.json.decode((paths.plane / FILE).read_bytes(), type=Lab)
    except (OSError, msgspec.MsgspecError):
        return None


def opener(lab: str) -> Callable[[int], socket.socket]:
    """Opens sockets in the underlay of the lab. Raises OSError where there is none."""

    def opened(family: int) -> socket.socket:
        name = node_netns(lab, ROUTER)
        if not netns.exists(name):
            raise OSError(f"there is no network namespace named {name}")
        with netns.inside(name):
            return socket.socket(family, socket.SOCK_STREAM)

    return opened
