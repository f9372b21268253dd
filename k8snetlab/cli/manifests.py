"""From `-f` and SCENARIO words to the objects that are sent to the lab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from k8snetlab.errors import InputError


def load(paths: Sequence[str] | None, verb: str) -> list[dict[str, Any]]:
    """The objects in files, directories or "-", as JSON-like builtins; warnings go to stderr."""
    from k8snetlab.lab import scenarios

    if not paths:
        raise InputError(f"{verb}: which manifest?", f"k8snetlab {verb} -f FILE (a directory and - for stdin are fine)")
    return of(scenarios.read_all(paths))


def of(files: list[tuple[str, str]]) -> list[dict[str, Any]]:
    from k8snetlab.api import load as manifest
    from k8snetlab.api import scheme

    loaded = manifest.load(files)
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    return [scheme.to_dict(obj) for obj in loaded.objects]
