"""From `-f` and SCENARIO words to the objects that are sent to the lab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from k8snetlab.errors import InputError

if TYPE_CHECKING:
    from k8snetlab.api.meta import Object


def load(paths: Sequence[str] | None, verb: str) -> list[Object]:
    """The objects in files, directories or "-"; warnings go to stderr. None where all are of kinds that no lab has."""
    from k8snetlab.lab import scenarios

    if not paths:
        raise InputError(f"{verb}: which manifest?", f"k8snetlab {verb} -f FILE (a directory and - for stdin are fine)")
    drawn = verb in ("render", "graph")
    files = [file for path in paths for file in scenarios.find(path)] if drawn else scenarios.read_all(paths)
    return of(files, whole=drawn, others=verb in ("apply", "delete"))


def of(files: list[tuple[str, str]], whole: bool = True, machines: bool = False, others: bool = False) -> list[Object]:
    """The objects in (name, text) pairs; `whole` where they are all there will be, and not an addition to a lab;
    `machines` where the nodes are to be machines whatever the Lab says; `others` where objects of kinds that no lab
    has are reason enough for a manifest."""
    from k8snetlab.api.load import load

    loaded = load(files, whole, machines)
    if not loaded.objects and not (others and loaded.others):
        raise InputError(f"{', '.join(name for name, _ in files)}: no object in it", "a manifest has a kind")
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if not loaded.objects:
        typer.echo("nothing was changed: no object here is of a kind that a lab has", err=True)
    return list(loaded.objects)


def builtins(objects: Sequence[Object]) -> list[dict[str, Any]]:
    """The objects as the JSON-like values that the lab's API takes."""
    from k8snetlab.api.scheme import to_dict

    return [to_dict(obj) for obj in objects]
