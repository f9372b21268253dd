"""nginx-conf: what the Ingress controller's nginx serves by, with where each part of it was written."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.trace import Trace
from k8snetlab.messages.verb import Call, Here, OfPlace


class NginxQuestion(msgspec.Struct, frozen=True):
    """Which part of nginx.conf is meant."""

    host: str = ""
    """A host that clients ask for; "" for the whole file."""
    gateway: str = ""
    """NAMESPACE/NAME, or NAME in default, of a Gateway; "" for the Ingress controller's, or whoever has the host."""


class NginxLine(msgspec.Struct, frozen=True):
    """A line of nginx.conf."""

    text: str
    """As it is there."""
    object: str = ""
    """What it follows from, such as Ingress default/shop; "" for the controller's own."""
    written: str = ""
    """Where that was written, as file:line, or the field where no file is known; "" for the controller's own."""


class IngressProblem(msgspec.Struct, frozen=True):
    """What of an object is not as it asks."""

    object: str
    """Which one, such as Ingress default/shop."""
    reason: str
    """A word, as its Event has it."""
    message: str
    """What it is."""
    written: str = ""
    """Where that was written, as file:line, or the field."""


class NginxConf(msgspec.Struct, frozen=True):
    """nginx.conf, or the block of one host."""

    inUse: bool
    """Whether an nginx of this machine's serves by it; false: it is what the objects ask for."""
    servers: tuple[str, ...]
    """The hosts that are shown: as they are written, _ for all others."""
    lines: tuple[NginxLine, ...]
    """In their order."""
    problems: tuple[IngressProblem, ...] = ()
    """What is not as the objects ask."""
    gateway: str = ""
    """NAMESPACE/NAME of the Gateway whose nginx it is, "" for the Ingress controller's."""


NGINX_CONF: Call[NginxQuestion, NginxConf] = Call(
    "nginx-conf", "GET", "nginx-conf", NginxQuestion, NginxConf, Here(), group=True
)


class HttpQuestion(msgspec.Struct, frozen=True, rename={"source": "from"}):
    """Which request is to be followed."""

    source: str
    """A pod, a node, router or outside."""
    url: str
    """http:// or https://, a host and a path."""
    namespace: str = ""
    """That of a pod whose name does not say its own."""


class HttpRoute(msgspec.Struct, frozen=True):
    """Where nginx' configuration leads a request."""

    server: str
    """The host whose server it comes to; _ is that of all others."""
    location: str = ""
    """As nginx.conf has it; "" where nothing is for that path."""
    ingress: str = ""
    """NAMESPACE/NAME of the Ingress that the location is of."""
    gateway: str = ""
    """NAMESPACE/NAME of the Gateway whose nginx it is, "" for that of the Ingress controller."""
    listener: str = ""
    """The Gateway's listener that the server is of, "" where none is for that host."""
    route: str = ""
    """NAMESPACE/NAME of the HTTPRoute whose match the request fits first."""
    written: str = ""
    """Where its path was written, as file:line, or the field."""
    service: str = ""
    """NAMESPACE/NAME:PORT that it leads to."""
    endpoints: tuple[str, ...] = ()
    """The addresses and ports of which nginx chooses one."""
    expected: int = 0
    """The status that nginx gives itself, 0 where it passes on a pod's."""


class HttpAnswer(msgspec.Struct, frozen=True):
    """What became of a real request."""

    status: int = 0
    """Of the answer, 0 for none."""
    redirect: str = ""
    """Where the answer sends the client, or ""."""
    controller: str = ""
    """The pod whose nginx took it, "" where that is not known."""
    client: str = ""
    """The address that nginx saw as the client's, which it tells the pod as X-Real-IP and X-Forwarded-For."""
    upstream: str = ""
    """The endpoint that nginx asked, "" for none."""
    upstreamStatus: int = 0
    """What that answered, 0 for nothing."""
    pod: str = ""
    """NAMESPACE/NAME of the pod with that address."""
    podSees: str = ""
    """The address that the pod saw, where it is one that tells."""
    logged: str = ""
    """nginx' line in the access log."""
    error: str = ""
    """Why there was no answer, or ""."""


class HttpTrace(msgspec.Struct, frozen=True, rename={"source": "from"}):
    """A request's way: a connection to nginx, and another one from it to a pod."""

    source: str
    """The place that sends it."""
    url: str
    """What is asked for."""
    address: str
    """Where the Ingress controller or the Gateway is reached."""
    port: int
    """Its port there."""
    first: Trace
    """The connection from the client to nginx."""
    route: HttpRoute
    """What nginx does with it."""
    answer: HttpAnswer
    """What became of it."""
    second: Trace | None
    """The connection from nginx to the pod, null where none was made."""
    verdict: str
    """All of it in a sentence."""

    @property
    def good(self) -> bool:
        """Whether a pod answered, or nginx as its configuration has it, and packets went as predicted."""
        seen = [one.observed for one in (self.first, self.second) if one is not None]
        return not self.answer.error and 0 < self.answer.status < 400 and all(one is None or one.agrees for one in seen)


HTTP_TRACE: Call[HttpQuestion, HttpTrace] = Call(
    "trace of a URL", "POST", "trace/http", HttpQuestion, HttpTrace, OfPlace("source"), group=True, silence=LONG
)
