"""nginx-conf: what the Ingress controller's nginx serves by, with where each part of it was written."""

from __future__ import annotations

import msgspec

from k8snetlab.messages.verb import Call, Here


class NginxQuestion(msgspec.Struct, frozen=True):
    """Which part of nginx.conf is meant."""

    host: str = ""
    """A host that clients ask for; "" for the whole file."""


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


NGINX_CONF: Call[NginxQuestion, NginxConf] = Call(
    "nginx-conf", "GET", "nginx-conf", NginxQuestion, NginxConf, Here(), group=True
)
