"""Which server and which match a request comes to, as the written configuration has it chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from k8snetlab.gateways.attaching import ANY, covers, specific
from k8snetlab.render.gateway.model import Candidate, Choice, Server, Site, Stream
from k8snetlab.render.gateway.places import places


def server(site: Site, port: int, host: str) -> Server | None:
    """None where no listener of the port is for the host."""
    name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and ":" in host else host.lower()
    those = [one for one in site.servers if one.port == port and (one.host == ANY or covers(one.host, name))]
    return min(those, key=lambda one: (one.host == ANY, one.host.startswith("*"), -len(one.host)), default=None)


def choice(stream: Stream, host: str) -> Choice | None:
    """Where connections for a host go; None where the stream is not by name, or nothing is for it."""
    found = (one for one in stream.choices if one.host == ANY or covers(one.host, host.lower()))
    return min(found, key=lambda one: specific(one.host), default=None) if stream.by_name else None


def candidate(
    found: Server, method: str, target: str, headers: Mapping[str, str]
) -> tuple[tuple[str, str], Candidate | None]:
    """Of a request's target (path and parameters): nginx' location (exact or prefix, and its path) and the match; None
    where none fits: 404."""
    path, _, args = target.partition("?")
    uri = re.sub("//+", "/", unquote(path)) or "/"
    held = {"request_method": method, "args": args}
    held |= {"http_" + name.lower().replace("-", "_"): text for name, text in headers.items()}
    known = places(found)
    spots = [("exact", uri), *(("prefix", uri[:end]) for end in range(len(uri), 0, -1))]
    spot = next((one for one in spots if one in known), ("prefix", "/"))
    for one in known.get(spot, ()):
        if all(re.search(test.pattern, held.get(test.variable, "")) for test in one.tests):
            return spot, one
    return spot, None
