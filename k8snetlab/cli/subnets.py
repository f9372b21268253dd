"""get subnet: which node holds which pod subnet, and what its /run/flannel/subnet.env says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import ObjectOutput, client_of, print_json
from k8snetlab.errors import InputError

if TYPE_CHECKING:
    from k8snetlab.messages.store import SubnetLease

NAMES = ("subnet", "subnets")
BEFORE = "which pod subnet a node holds is shown by `k8snetlab get subnet`"
"""For who asks for it as it was called before."""


def node_of(words: Sequence[str]) -> str | None:
    """The node that `get`'s words ask the subnet of, "" for all nodes; None where they ask for something else."""
    kind, slash, name = words[0].partition("/") if words else ("", "", "")
    if kind.lower() not in NAMES:
        return None
    if len(words) > 2 or (slash and len(words) > 1):
        raise InputError("get subnet takes one node, or none for all", "k8snetlab get subnet node1")
    return name if slash else words[1] if len(words) > 1 else ""


def show(lab: str | None, node: str, output: ObjectOutput | None) -> None:
    from k8snetlab.messages.store import LEASES, LeasesQuestion

    found = client_of(lab).call(LEASES, LeasesQuestion(node))
    items = found.items
    if output is ObjectOutput.JSON:
        print_json(items[0] if node else found)
    elif output is ObjectOutput.YAML:
        import msgspec
        import yaml

        shown = msgspec.to_builtins(items[0] if node else found)
        typer.echo(yaml.safe_dump(shown, sort_keys=False), nl=False)
    elif output is ObjectOutput.NAME:
        typer.echo("\n".join(f"subnet/{item.node}" for item in items))
    else:
        screen.say("\n\n".join(_text(item) for item in items))
    if not items:
        screen.say("No resources found", err=True)


def _text(item: SubnetLease) -> str:
    """subnet.env as it is, below a comment with the lease."""
    lines = [f"# {item.node}: {item.key}", f"# {_state(item)}"]
    return "\n".join([*lines, *(f"{name}={value}" for name, value in item.env.items())])


def _state(item: SubnetLease) -> str:
    from k8snetlab.api.ages import duration

    if not item.holder:
        return "nobody holds it: the lease has expired, or is not taken yet"
    if item.left is None:
        return f"held by {item.holder}; when it expires the store does not say"
    expires = datetime.fromtimestamp(time.time() + item.left, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"held by {item.holder} for another {duration(item.left)}, until {expires} unless renewed"
