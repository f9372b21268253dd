"""graph: the lab as a picture."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    Form,
    LabOption,
    ScenarioFilesOption,
    client_of,
    example,
    form_of,
    print_json,
    write,
)

if TYPE_CHECKING:
    from k8snetlab.api.meta import Object
    from k8snetlab.api.snapshot import Snapshot
    from k8snetlab.client.client import Client
    from k8snetlab.errors import K8sNetLabError
    from k8snetlab.messages.diagnose import DiagnosisEvent, ReportedFinding
    from k8snetlab.render.picture_boxes import Alarm, Picture

FORMS = ("svg", "mermaid", "dot", "json")


def register(app: typer.Typer) -> None:
    app.command(epilog=example("graph -o lab.svg"))(graph)


def graph(
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FORM|FILE",
            help="svg, mermaid, dot or json; FILE.svg, .mmd or .dot writes FILE. Left out: mermaid.",
        ),
    ] = None,
    filename: ScenarioFilesOption = None,
    lab: LabOption = None,
) -> None:
    """Draw the lab: nodes, bridges, pods, addresses, tunnels, Services. With -f no lab needs to run."""
    form = form_of(output, FORMS) if output else Form("mermaid")
    client = None if filename else client_of(lab)
    looked = _begun(client) if client else ()
    snapshot = _running(client) if client else _settled(filename or [])
    from k8snetlab.render.picture import picture

    drawn = picture(snapshot, _alarms(looked, client.lab) if client else ())
    if form.name == "json":
        print_json(drawn)
        return
    text = _text(drawn, form.name)
    if form.file:
        write(form.file, text)
    else:
        typer.echo(text, nl=False)


def _text(drawn: Picture, form: str) -> str:
    if form == "svg":
        from k8snetlab.render.picture_svg import svg

        return svg(drawn)
    from k8snetlab.render.picture_text import dot, mermaid

    return dot(drawn) if form == "dot" else mermaid(drawn)


def _begun(client: Client) -> Iterable[DiagnosisEvent]:
    """What `diagnose` tells without sending a packet: it looks while this process reads objects and loads what
    draws."""
    from k8snetlab.errors import K8sNetLabError
    from k8snetlab.messages.diagnose import DIAGNOSE, DiagnosisQuestion

    try:
        return client.begin(DIAGNOSE, DiagnosisQuestion(predictOnly=True))
    except K8sNetLabError as error:
        _undrawn(error)
        return ()


def _alarms(looked: Iterable[DiagnosisEvent], lab: str) -> list[Alarm]:
    """What is broken: each thing that is in the picture."""
    from k8snetlab.cli import progress
    from k8snetlab.errors import K8sNetLabError
    from k8snetlab.messages.diagnose import DiagnosisDone

    found: list[Alarm] = []
    try:
        with progress.patient("looking for what is broken"):
            for event in looked:
                if isinstance(event, DiagnosisDone):
                    found = [alarm_of(finding, lab) for finding in event.findings]
    except K8sNetLabError as error:
        _undrawn(error)
    return found


def _undrawn(error: K8sNetLabError) -> None:
    screen.say(f"warning: what is broken is not drawn: {error.message}", err=True)


def alarm_of(finding: ReportedFinding, lab: str) -> Alarm:
    """Where a finding of `diagnose` is in the picture: a device by the namespace that its command looks into."""
    from k8snetlab.render.picture_boxes import Alarm

    message, node, named = finding.message, finding.node, finding.object
    if finding.kind in ("pod", "service"):
        return Alarm(message, node, object=named)
    namespace = re.search(r"(?: -n | netns exec )(\S+)", f" {finding.show}")
    inside = namespace[1].removeprefix(f"{lab}.") if namespace else ""
    if inside and inside != node and "." in inside:
        space, _, pod = inside.partition(".")
        return Alarm(message, node, object=f"{space}/{pod}")
    device = named if finding.kind == "link" else ""
    if not device and (stands := re.search(r"\bdev (\S+)", finding.show)):
        device = stands[1]
    drawn = finding.kind == "link" or device.startswith(("eth", "cni", "flannel", "en"))
    return Alarm(message, node, device if drawn else "")


def _settled(paths: list[str]) -> Snapshot:
    from k8snetlab.cli import manifests

    objects = manifests.load(paths, "graph")
    from k8snetlab.lab.render import settle

    return settle(objects)


def _running(client: Client) -> Snapshot:
    import msgspec

    from k8snetlab.api.core import Node, Pod, Service
    from k8snetlab.api.discovery import EndpointSlice
    from k8snetlab.api.lab import Lab
    from k8snetlab.api.snapshot import Snapshot

    kinds: dict[str, type[Object]] = {"labs": Lab, "nodes": Node, "pods": Pod, "services": Service}
    kinds["endpointslices"] = EndpointSlice
    held = zip(kinds.values(), client.lists(kinds), strict=True)
    return Snapshot.of(msgspec.convert(obj, type_) for type_, objects in held for obj in objects)
