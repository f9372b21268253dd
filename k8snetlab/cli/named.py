"""A target written as a name of DNS: looked up first, as who asks would, and the exchange shown."""

from __future__ import annotations

import re

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import client_of
from k8snetlab.cli.targets import split_target
from k8snetlab.errors import NotFoundError

_URL = re.compile(r"(https?)://([^/?#@]+)(?:[/?#].*)?")
_PORTS = {"http": 80, "https": 443}
_ADDRESS = re.compile(r"[0-9.]+")


def looked_up(lab: str | None, source: str, text: str, namespace: str, *, quiet: bool) -> tuple[str, int | None]:
    """Where to, and the port: of a URL, or of a name with a dot in it, its first address of `source`'s own family.

    All else names an object, and is left. Raises Exit(1) where the name is not found; `quiet`: nothing is printed.
    """
    url = _URL.fullmatch(text)
    name, port = split_target(url[2] if url else text)
    plain = not url and ("." not in name or "/" in name)
    if plain or ":" in name or _ADDRESS.fullmatch(name):
        return name, port or (_PORTS[url[1]] if url else None)
    from k8snetlab.cli import dug
    from k8snetlab.messages.dig import DIG, DigQuestion

    try:
        answer = client_of(lab).call(DIG, DigQuestion(source, name, namespace=namespace))
    except NotFoundError:
        if url:
            raise
        return name, port
    for line in () if quiet else (*dug.lines(answer), ""):
        screen.say(line)
    if not answer.addresses:
        if quiet:
            screen.say(f"error: {source} finds no address of {name}", err=True)
        raise typer.Exit(1)
    return answer.addresses[0], port or (_PORTS[url[1]] if url else None)
