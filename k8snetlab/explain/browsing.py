"""Requests from outside to the Ingress controller, as a browser sends them; and what nginx wrote of others'.

Blocking. Time for all of it is bounded, however slow pods are.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.diagnose.doors import Reply
from k8snetlab.diagnose.refused_requests import OWN as OWN_AGENT
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain import requested
from k8snetlab.explain.places import find_place
from k8snetlab.kernel import netns
from k8snetlab.state.paths import LabPaths

CONNECT = 3.0
"""Seconds for an answer."""
ASKING = 5.0
"""Seconds for all requests of a diagnosis."""
OWN = b"<center>nginx</center>"
"""Stands in the pages that nginx writes itself."""
TAIL = 1 << 18
"""Octets of an access log that are read."""


class Browsing:
    """Requests one after the other, for a while in all."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot, self._until = snapshot, time.monotonic() + ASKING

    def ask(self, url: str) -> Reply | None:
        """None where nobody answered, and where the time is over."""
        if time.monotonic() > self._until:
            return None
        try:
            asked = urlsplit(url)
            secure, host = asked.scheme == "https", asked.hostname or ""
            place, door = find_place(self._snapshot, names.OUTSIDE), requested.door(self._snapshot, secure, asked.port)
            with netns.inside(place.netns):
                raw = socket.create_connection((door.address, door.port), timeout=CONNECT)
            connection = http.client.HTTPConnection(door.address, timeout=CONNECT)
            connection.sock = requested.secured(raw, host) if secure else raw
            with contextlib.closing(connection):
                path = (asked.path or "/") + (f"?{asked.query}" if asked.query else "")
                connection.request("GET", path, headers={"Host": asked.netloc, "User-Agent": OWN_AGENT})
                response = connection.getresponse()
                own = OWN in response.read(requested.SHOWN)
                return Reply(response.status, own, response.headers.get("Location", ""))
        except (OSError, http.client.HTTPException, ValueError, K8sNetLabError):
            return None


def logged(snapshot: Snapshot, paths: LabPaths) -> Iterator[str]:
    """The last lines of the access logs of controllers on this machine."""
    for pod in requested.controllers(snapshot):
        for file in sorted(paths.logs_of(pod).glob("*/*.log")):
            with contextlib.suppress(OSError), file.open("rb") as log:
                log.seek(max(0, file.stat().st_size - TAIL))
                yield from log.read().decode(errors="replace").splitlines()
