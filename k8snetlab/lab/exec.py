"""A command inside a pod or node: this process becomes it, as with `ip netns exec`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from k8snetlab.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from k8snetlab.lab.client import Client


def enter(client: Client, place: str, namespace: str, argv: Sequence[str]) -> NoReturn:
    """Replace this process by `argv`, run inside the namespaces of `place`: a pod, a node, "router" or "outside"."""
    from k8snetlab.kernel import netns

    found = client.resolve(place, namespace)
    try:
        netns.enter_and_exec(found["netns"], found["hostname"], list(argv), dict(os.environ))
    except FileNotFoundError:
        raise NotFoundError(
            f"{place}: no command {argv[0]!r} on this machine",
            "a pod sees the files of this machine: install the command here",
        ) from None
    except PermissionError:
        raise InputError(f"{place}: {argv[0]!r} cannot be executed", "name a program, not a directory") from None


def own_shell() -> list[str]:
    """The user's own shell."""
    return [os.environ.get("SHELL") or "/bin/sh"]
