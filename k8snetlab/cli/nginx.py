"""nginx-conf: the Ingress controller's nginx.conf, with the line of a manifest that each part follows from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import LabOption, OutputOption, client_of, example, print_json

if TYPE_CHECKING:
    from k8snetlab.messages.ingress import NginxConf


def register(app: typer.Typer) -> None:
    app.command(name="nginx-conf", epilog=example("nginx-conf shop.example"))(nginx_conf)


def nginx_conf(
    host: Annotated[
        str | None, typer.Argument(metavar="HOST", help="A host of an Ingress or a route; all if left out.")
    ] = None,
    gateway: Annotated[str | None, typer.Option(metavar="NAME", help="Of this Gateway, [NAMESPACE/]NAME.")] = None,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Show the nginx.conf that follows from Ingresses or a Gateway, and which manifest's line each part is of."""
    from k8snetlab.messages.ingress import NGINX_CONF, NginxQuestion

    found = client_of(lab).call(NGINX_CONF, NginxQuestion(host or "", gateway or ""))
    if output:
        print_json(found)
        return
    screen.say(text(found))
    for one in found.problems:
        screen.say(f"warning: {one.written + ': ' if one.written else ''}{one.object}: {one.message}", err=True)
    if not found.inUse:
        screen.say("warning: no nginx of this machine serves by it: it is what the objects ask for", err=True)


def text(found: NginxConf) -> str:
    """nginx' own text; a comment before each part says what it follows from."""
    lines: list[str] = []
    before = ("", "")
    for line in found.lines:
        origin = line.object, line.written
        if origin != before and line.object and line.text.strip():
            indent = line.text[: len(line.text) - len(line.text.lstrip("\t"))]
            lines.append(f"{indent}# {line.object}{', ' + line.written if line.written else ''}")
        if line.text.strip():
            before = origin
        lines.append(line.text)
    return "\n".join(lines).expandtabs(2)
