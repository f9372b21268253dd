"""What a Gateway serves, before it is nginx' configuration: servers, and in each the matches in their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from k8snetlab.api.gateway import HTTPHeaderFilter, HTTPPathModifier, HTTPRequestRedirectFilter
from k8snetlab.render.ingress.model import Origin, Problem, Upstream

Path = Literal["exact", "prefix"]


class Test(msgspec.Struct, frozen=True):
    """Something of a request beside its path: a variable of nginx', and the expression that it must match. `kind`,
    `name` and `wanted` say the same as the route does."""

    variable: str
    pattern: str
    kind: Literal["method", "header", "parameter"]
    name: str
    wanted: str


class Share(msgspec.Struct, frozen=True):
    """So many of the sum of all weights go to an upstream; without one they are answered with 500."""

    upstream: str
    weight: int


class Action(msgspec.Struct, frozen=True):
    """What becomes of the requests of a rule. `prefix` is the path that has matched, where the rule has just one.
    `trouble` says why they are all answered with 500. Seconds are 0 for none."""

    name: str
    origin: Origin
    trouble: str = ""
    shares: tuple[Share, ...] = ()
    redirect: HTTPRequestRedirectFilter | None = None
    host: str = ""
    path: HTTPPathModifier | None = None
    prefix: str = ""
    request_headers: HTTPHeaderFilter = HTTPHeaderFilter()
    response_headers: HTTPHeaderFilter = HTTPHeaderFilter()
    timeout: float = 0.0

    @property
    def total(self) -> int:
        return sum(one.weight for one in self.shares)


class Candidate(msgspec.Struct, frozen=True):
    """One match of a rule, and what then becomes of the request. `path` is decoded, and has no slash at its end unless
    it is exact or the root."""

    kind: Path
    path: str
    action: Action
    origin: Origin
    tests: tuple[Test, ...] = ()


class Server(msgspec.Struct, frozen=True):
    """A host at a port: `*.` and more for a wildcard, "" for all others. `certificate` names a file. Candidates stand
    in the order in which they are tried."""

    port: int
    secure: bool
    host: str
    listener: str
    origin: Origin
    certificate: str = ""
    candidates: tuple[Candidate, ...] = ()


class Choice(msgspec.Struct, frozen=True):
    """Where connections for a host go ("" for all others); without shares nowhere."""

    host: str
    origin: Origin
    shares: tuple[Share, ...] = ()

    @property
    def total(self) -> int:
        return sum(one.weight for one in self.shares)


class Stream(msgspec.Struct, frozen=True):
    """A port of which connections are passed on as they are; `by_name`: by the name that a client of TLS asks for."""

    port: int
    by_name: bool
    listener: str
    origin: Origin
    choices: tuple[Choice, ...]


class Site(msgspec.Struct, frozen=True):
    """All that one Gateway serves; its `files` (certificates) by name. Streams have upstreams of their own."""

    servers: tuple[Server, ...] = ()
    upstreams: Mapping[str, Upstream] = {}
    streams: tuple[Stream, ...] = ()
    passed: Mapping[str, Upstream] = {}
    files: Mapping[str, str] = {}
    problems: tuple[Problem, ...] = ()
    ipv6: bool = False

    @property
    def actions(self) -> tuple[Action, ...]:
        """Each once."""
        known = {one.action.name: one.action for server in self.servers for one in server.candidates}
        return tuple(known.values())
