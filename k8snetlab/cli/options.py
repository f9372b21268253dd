"""Options that several verbs share, and what the shell completes for them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from k8snetlab.cli import screen
from k8snetlab.errors import InputError, UnsupportedError
from k8snetlab.wording import nearest

if TYPE_CHECKING:
    import msgspec

    from k8snetlab.client.client import Client


class Output(StrEnum):
    """What `-o` takes where there is one machine-readable form."""

    JSON = "json"


class ObjectOutput(StrEnum):
    """What `get -o` takes."""

    YAML = "yaml"
    JSON = "json"
    WIDE = "wide"
    NAME = "name"


class Wait(StrEnum):
    """What kubectl's --wait takes."""

    TRUE = "true"
    FALSE = "false"


class Protocol(StrEnum):
    """What a packet can be, as the API writes it; ICMP's is an echo request."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"
    ICMP = "ICMP"


class Form(NamedTuple):
    """What `-o` asks for: a form, and the file it goes into; None is standard output."""

    name: str
    file: Path | None = None


SUFFIXES = {
    ".svg": "svg",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
    ".json": "json",
    ".html": "html",
    ".csv": "csv",
    ".pcapng": "pcapng",
}
"""Which form a file's name asks for."""


def form_of(text: str, forms: Sequence[str]) -> Form:
    """`-o svg` prints that form, `-o lab.svg` writes it into a file: the one rule of every verb that draws."""
    if text.lower() in forms:
        return Form(text.lower())
    file = Path(text)
    if SUFFIXES.get(file.suffix.lower()) in forms:
        return Form(SUFFIXES[file.suffix.lower()], file)
    endings = ", ".join(suffix for suffix, form in SUFFIXES.items() if form in forms)
    raise InputError(
        f"-o {text}: neither a form nor a file of one",
        nearest(text, forms, f"forms: {', '.join(forms)}; or a FILE that ends in {endings}"),
    )


def write(file: Path, text: str) -> None:
    """Writes what `-o FILE` asks for, and says so."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}", "name a file in a directory that exists and is yours"
        ) from None
    screen.say(f"{file} written", err=True)


def example(command: str) -> str:
    """The line that ends a verb's help."""
    return f"Example: k8snetlab {command}"


def client_of(lab: str | None) -> Client:
    """The client of lab `lab`, or of the one that runs."""
    from k8snetlab.client.client import Client

    return Client.find(lab)


def need_root(verb: str) -> None:
    if os.geteuid() != 0:
        raise UnsupportedError(
            f"k8snetlab {verb} needs root, to make and enter network namespaces (this is uid {os.geteuid()})",
            f"sudo k8snetlab {verb} …",
        )


def print_json(value: Any) -> None:
    typer.echo(as_json(value, indent=2))


def as_json(value: Any, indent: int | None = None) -> str:
    """A message or builtins as `-o json` prints them: without the tag that tells which event of a stream it is."""
    import json

    import msgspec

    shown = untagged(value) if isinstance(value, msgspec.Struct) else msgspec.to_builtins(value)
    return json.dumps(shown, indent=indent, ensure_ascii=False)


def untagged(event: msgspec.Struct) -> dict[str, Any]:
    """A message as builtins, without the tag that tells which event of a stream it is."""
    import msgspec

    shown: dict[str, Any] = msgspec.to_builtins(event)
    if tag := event.__struct_config__.tag_field:
        del shown[tag]
    return shown


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|h|m|s)")


def duration(text: str | float) -> float:
    """Seconds of 2m, 90s, 1h30m, or of a number of them, as kubectl takes them. Raises BadParameter."""
    if isinstance(text, float):
        return text
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) == text and parts:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    elif re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        seconds = float(text)
    else:
        raise typer.BadParameter(f"{text[:40]!r} is no duration: 30s, 2m, 1h30m")
    if not 0 < seconds <= 7 * 86400:
        raise typer.BadParameter("more than 0, and a week at most; --wait=false does not wait at all")
    return seconds


# --- Completion: never an error, never a word on the terminal --------------------------------------------------------


def complete_lab(incomplete: str) -> list[str]:
    return _matching(_running, incomplete)


def complete_node(ctx: typer.Context, incomplete: str) -> list[str]:
    return _matching(lambda: _names(ctx, "nodes"), incomplete)


NodeArgument = Annotated[str, typer.Argument(metavar="NODE", autocompletion=complete_node)]


def complete_pod(ctx: typer.Context, incomplete: str) -> list[str]:
    return _matching(lambda: _names(ctx, "pods"), incomplete)


def complete_guest(ctx: typer.Context, incomplete: str) -> list[str]:
    return _matching(lambda: _of_kind(ctx, "guests"), incomplete)


def complete_namespace(ctx: typer.Context, incomplete: str) -> list[str]:
    return _matching(lambda: _of_kind(ctx, "namespaces"), incomplete)


def complete_logged(ctx: typer.Context, incomplete: str) -> list[str]:
    """A pod; after a kind and a slash what selects pods."""
    kind, slash, _ = incomplete.partition("/")
    if slash:
        return _matching(lambda: [f"{kind}/{name}" for name in _of_kind(ctx, kind)], incomplete)
    return _matching(lambda: [*_names(ctx, "pods"), "deploy/", "rs/", "svc/"], incomplete)


def complete_place(ctx: typer.Context, incomplete: str) -> list[str]:
    """Where a command can run or a packet can start: pods, nodes, the outside host."""
    return _matching(lambda: [*_names(ctx, "pods", "nodes", "hosts"), "outside"], incomplete)


def complete_point(ctx: typer.Context, incomplete: str) -> list[str]:
    """Where packets can be looked at: a place, and after a colon its devices."""
    place, colon, _ = incomplete.partition(":")
    if colon:
        return _matching(lambda: [f"{place}:{device}" for device in _devices(ctx, place)], incomplete)
    return _matching(lambda: [*_names(ctx, "pods", "nodes", "hosts"), "outside", "router"], incomplete)


def complete_target(ctx: typer.Context, incomplete: str) -> list[str]:
    """What a packet can be sent to: Services, pods, nodes."""
    return _matching(lambda: [*_names(ctx, "services", "pods", "nodes", "hosts"), "outside"], incomplete)


def complete_service(ctx: typer.Context, incomplete: str) -> list[str]:
    return _matching(lambda: _names(ctx, "services"), incomplete)


def complete_kind(incomplete: str) -> list[str]:
    return _matching(_kinds, incomplete)


def complete_object(ctx: typer.Context, incomplete: str) -> list[str]:
    """A kind, then the names of that kind; or KIND/NAME."""
    kind, slash, _ = incomplete.partition("/")
    if slash:
        return _matching(lambda: [f"{kind}/{name}" for name in _of_kind(ctx, kind)], incomplete)
    words = ctx.params.get("target") or []
    if not words:
        return complete_kind(incomplete)
    return _matching(lambda: _of_kind(ctx, words[0]), incomplete)


def complete_scenario(incomplete: str) -> list[str]:
    return _matching(_scenarios, incomplete)


def complete_lesson(incomplete: str) -> list[str]:
    return _matching(_lessons, incomplete)


def _matching(names: Any, incomplete: str) -> list[str]:
    try:
        found: Iterable[str] = names()
    except Exception:  # the user is typing a command: whatever is wrong, that command will say it
        return []
    return [name for name in found if name.startswith(incomplete)]


def _running() -> list[str]:
    from k8snetlab.state import labs

    return labs.running()


def _kinds() -> list[str]:
    from k8snetlab.api.scheme import RESOURCES

    return [*(resource.plural for resource in RESOURCES), "subnets"]


def _scenarios() -> list[str]:
    from k8snetlab.state import scenarios

    return scenarios.names()


def _lessons() -> list[str]:
    from k8snetlab.state import scenarios

    return [name.partition("/")[2] for name in scenarios.lessons()]


def _names(ctx: typer.Context, *groups: str) -> list[str]:
    """Names as the verb takes them: NAMESPACE/NAME outside default, or, where it has a -n, those of that namespace."""
    from k8snetlab.messages.places import NAMES
    from k8snetlab.messages.verb import Nothing

    names = client_of(_lab(ctx)).call(NAMES, Nothing())
    found = [name for group in groups for name in getattr(names, group)]
    default = next((parameter.default for parameter in ctx.command.params if parameter.name == "namespace"), "")
    namespace = ctx.params.get("namespace") or default
    if not namespace:
        return found
    asked = "" if namespace == "default" else namespace
    places = ((name, *name.rpartition("/")) for name in found)
    return [short for name, space, _, short in places if space == asked or name in names.nodes]


def _devices(ctx: typer.Context, place: str) -> list[str]:
    from k8snetlab.kernel.capture import devices
    from k8snetlab.messages.places import RESOLVE, Resolve

    return devices(client_of(_lab(ctx)).call(RESOLVE, Resolve(place)).netns)


def _of_kind(ctx: typer.Context, kind: str) -> list[str]:
    from k8snetlab.api.scheme import BY_NAME

    resource = BY_NAME["nodes" if kind.lower() in ("subnet", "subnets") else kind.lower()]
    namespace = (ctx.params.get("namespace") or "default") if resource.type.namespaced else None
    return [obj["metadata"]["name"] for obj in client_of(_lab(ctx)).list(resource.kind, namespace)]


def _lab(ctx: typer.Context) -> str | None:
    lab: str | None = ctx.params.get("lab") or ctx.find_root().params.get("lab")
    return lab


# --- The options themselves ------------------------------------------------------------------------------------------


def _or_global(ctx: typer.Context, value: str | None) -> str | None:
    """`k8snetlab --lab NAME VERB` and `k8snetlab VERB --lab NAME` mean the same; the verb's own wins."""
    return value or _lab(ctx)


SelectorOption = Annotated[
    str,
    typer.Option("-l", "--selector", metavar="LABELS", help="Those with these labels: app=web,tier in (a,b),!old."),
]
FieldSelectorOption = Annotated[
    str,
    typer.Option("--field-selector", metavar="FIELDS", help="Only those with these fields: status.phase!=Running."),
]
LabOption = Annotated[
    str | None,
    typer.Option(
        "--lab", metavar="NAME", callback=_or_global, autocompletion=complete_lab, help="The lab, where several run."
    ),
]
NamespaceOption = Annotated[
    str, typer.Option("-n", "--namespace", autocompletion=complete_namespace, help="The Kubernetes namespace.")
]
OutputOption = Annotated[Output | None, typer.Option("-o", "--output", help="For machines.")]
AnyNamespaceOption = Annotated[
    str,
    typer.Option(
        "-n",
        "--namespace",
        autocompletion=complete_namespace,
        help="The Kubernetes namespace of names without one; left out: default's first, then any other's.",
    ),
]
ProtocolOption = Annotated[
    Protocol | None, typer.Option("-p", "--protocol", case_sensitive=False, help="TCP where left out.")
]
OldProtocolOption = Annotated[Protocol | None, typer.Option("--proto", case_sensitive=False, hidden=True)]
"""What `--protocol` was called in `trace`."""
FilesOption = Annotated[
    list[str] | None,
    typer.Option("-f", "--filename", metavar="FILE", help="A manifest, a directory of them, or - for stdin."),
]
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout", metavar="DURATION", parser=duration, help="How long to wait at most: 30s, 2m, 1h30m."),
]
WaitOption = Annotated[Wait, typer.Option("--wait", help="Whether to wait until the kernels have it.")]
ScenarioFilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "-f",
        "--filename",
        metavar="SCENARIO|DIR|FILE",
        autocompletion=complete_scenario,
        help="A manifest, a directory of them, a scenario's name, or - for stdin.",
    ),
]
STORE_HELP = "The etcd that the lab's machines share, e.g. https://192.168.56.11:2379."
OPEN_STORE = "is open: whoever reaches it can write Pods whose commands run as root"
InsecureOption = Annotated[
    bool,
    typer.Option("--insecure", help="Plain http: whoever reaches the store can run commands as root."),
]
IfaceOption = Annotated[
    str, typer.Option("--iface", metavar="INTERFACE", help="This machine's device (or address) towards the others.")
]
CaOption = Annotated[str, typer.Option("--ca", metavar="FILE", help="Who signed the store's certificate.")]
CertOption = Annotated[str, typer.Option("--cert", metavar="FILE", help="The certificate to show to the store.")]
KeyOption = Annotated[str, typer.Option("--key", metavar="FILE", help="That certificate's key.")]
