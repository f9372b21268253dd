"""What is to be served at the door, before it is nginx' configuration: servers, locations, upstreams.

Ingresses become these values, and so may any other kind that routes HTTP; `conf` writes them, and knows no kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from k8snetlab.api.words import Path

Protocol = Literal["HTTP", "HTTPS", "GRPC", "GRPCS"]
Match = Literal["exact", "prefix", "regex"]
Key = tuple[str, str]
"""A namespace and a name."""
CATCH_ALL = "_"
"""The name of the server that answers for hosts that no other has."""


REJECTED = "Rejected"
"""The reason of a problem for which a part of an object, or all of it, is left out."""


class Origin(msgspec.Struct, frozen=True):
    """Which object a part was written in, and which field of it."""

    kind: str
    key: Key
    path: Path = ()


class Problem(msgspec.Struct, frozen=True):
    """What of an object is not as it asks: `reason` is a word as Events have them. `fatal`: that part of it is left
    out."""

    kind: str
    key: Key
    reason: str
    message: str
    path: Path = ()
    fatal: bool = False


class Affinity(msgspec.Struct, frozen=True):
    """A cookie by which a client comes to the same endpoint again."""

    cookie: str = "INGRESSCOOKIE"
    path: str = "/"
    max_age: int | None = None


class Upstream(msgspec.Struct, frozen=True):
    """The endpoints of one port of a Service; `name` is nginx' word for it, `title` what $proxy_upstream_name says.
    Without `addresses` (address:port) there is nobody to answer."""

    name: str
    title: str
    service: Key
    port: str
    addresses: tuple[str, ...] = ()
    affinity: Affinity | None = None


class Canary(msgspec.Struct, frozen=True):
    """Who of a location's clients comes to another upstream: those that say so, else so many of `total`."""

    upstream: str
    header: str = ""
    value: str = ""
    pattern: str = ""
    cookie: str = ""
    weight: int = 0
    total: int = 100


class Cors(msgspec.Struct, frozen=True):
    origins: tuple[str, ...] = ("*",)
    methods: str = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
    headers: str = (
        "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
    )
    expose: str = ""
    credentials: bool = True
    max_age: int = 1728000


class Auth(msgspec.Struct, frozen=True):
    """HTTP's basic authentication by a file of nginx', "" where there is none."""

    file: str
    realm: str


class Options(msgspec.Struct, frozen=True):
    """How requests of a location are treated; the defaults are ingress-nginx'."""

    rewrite: str = ""
    regex: bool = False
    ssl_redirect: bool = True
    force_ssl_redirect: bool = False
    body_size: str = "1m"
    connect_timeout: int = 5
    send_timeout: int = 60
    read_timeout: int = 60
    protocol: Protocol = "HTTP"
    affinity: Affinity | None = None
    cors: Cors | None = None
    allow: tuple[str, ...] = ()
    auth: Auth | None = None
    rps: int = 0
    rpm: int = 0
    burst: int = 5
    vhost: str = ""
    redirect: str = ""
    redirect_code: int = 301
    errors: tuple[int, ...] = ()
    service_upstream: bool = False


class Location(msgspec.Struct, frozen=True):
    """Where requests of one path go. `path` is what was written, `origin` where. Without an `upstream` it is 404;
    `fallback` answers the errors that `options.errors` names."""

    path: str
    match: Match
    origin: Origin
    upstream: str = ""
    service: str = ""
    port: str = ""
    options: Options = Options()
    canary: Canary | None = None
    fallback: str = ""

    @property
    def namespace(self) -> str:
        return self.origin.key[0]

    @property
    def ingress(self) -> str:
        return self.origin.key[1]


class Server(msgspec.Struct, frozen=True):
    """One host: its name, or `*.` and the rest of one, or CATCH_ALL. `certificate` names a file, "" for the default
    one; only with one of its own is plain HTTP sent to HTTPS."""

    host: str
    locations: tuple[Location, ...] = ()
    certificate: str = ""
    origin: Origin | None = None
    certificate_origin: Origin | None = None


class Site(msgspec.Struct, frozen=True):
    """All that is served. `files` are those beside nginx.conf (certificates, passwords), by name; `ipv6`: it listens at
    both families' addresses."""

    servers: tuple[Server, ...] = ()
    upstreams: Mapping[str, Upstream] = {}
    files: Mapping[str, str] = {}
    problems: tuple[Problem, ...] = ()
    ipv6: bool = False


class Refused(msgspec.Struct, frozen=True):
    """What nginx does not take, and why: objects, by kind, namespace and name, and files beside its own."""

    objects: Mapping[tuple[str, str, str], str] = {}
    files: Mapping[str, str] = {}


NOTHING_REFUSED = Refused()
