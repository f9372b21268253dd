"""A target written as a name of DNS: looked up first, as who asks would, and the exchange shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from k8snetlab.cli import screen
from k8snetlab.cli.options import client_of
from k8snetlab.cli.targets import split_target
from k8snetlab.errors import NotFoundError

if TYPE_CHECKING:
    from k8snetlab.messages.dig import Dig

_URL = re.compile(r"(https?)://([^/?#@]+)(?:[/?#].*)?")
_PORTS = {"http": 80, "https": 443}
_ADDRESS = re.compile(r"[0-9.]+")


class Target(NamedTuple):
    """What is to be reached. `dns` is how its name was looked up, None where it is no name of DNS; without `name` that
    has found no address."""

    name: str
    port: int | None
    dns: Dig | None = None


def looked_up(lab: str | None, source: str, text: str, namespace: str, *, quiet: bool) -> Target:
    """Where to, and the port: of a URL, or of a name with a dot in it, its first address of `source`'s own family.

    All else names an object, and is left. The exchange is printed, unless `quiet`.
    """
    url = _URL.fullmatch(text)
    name, port = split_target(url[2] if url else text)
    port = port or (_PORTS[url[1]] if url else None)
    plain = not url and ("." not in name or "/" in name)
    if plain or ":" in name or _ADDRESS.fullmatch(name):
        return Target(name, port)
    from k8snetlab.cli import dug
    from k8snetlab.messages.dig import DIG, DigQuestion

    try:
        answer = client_of(lab).call(DIG, DigQuestion(source, name, namespace=namespace))
    except NotFoundError:
        if url:
            raise
        return Target(name, port)
    for line in () if quiet else (*dug.lines(answer), ""):
        screen.say(line)
    return Target(answer.addresses[0] if answer.addresses else "", port, answer)
