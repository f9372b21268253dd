"""A command inside a pod or node: this process becomes it, as with `ip netns exec`, or another machine runs it."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from k8snetlab.errors import DaemonError, InputError, NotFoundError

if TYPE_CHECKING:
    from k8snetlab.lab.client import Client


def enter(client: Client, place: str, namespace: str, argv: Sequence[str], terminal: bool = False) -> NoReturn:
    """Replace this process by `argv`, run inside the namespaces of `place`: a pod, a node, "router" or "outside".

    On another machine its daemon runs `argv`, and this process ends with the same exit code; raises InputError where a
    `terminal` is needed, which the daemon cannot give.
    """
    found = client.resolve(place, namespace)
    if found["machine"] and terminal:
        raise InputError(
            f"{place} is on another machine, {found['machine']}: a shell there needs a terminal of that machine",
            f"ssh {found['machine'].partition(' ')[0]}, then `k8snetlab shell {place}`; "
            f"`k8snetlab exec {place} -- CMD` works from here",
        )
    if found["machine"]:
        sys.exit(_elsewhere(client, place, namespace, argv))
    _become(found, place, argv)


def _elsewhere(client: Client, place: str, namespace: str, argv: Sequence[str]) -> int:
    """What is typed at a terminal is not sent: there is none on the other side."""
    stdin = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.fileno()
    outputs = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    for event in client.execute(place, namespace, argv, stdin):
        if event["type"] == "exit":
            code: int = event["code"]
            return code
        output = outputs[event["type"]]
        output.write(base64.b64decode(event["data"]))
        output.flush()
    raise DaemonError(f"{place}: the command's answer broke off", "`k8snetlab status` says what is the matter there")


def _become(found: Mapping[str, str], place: str, argv: Sequence[str]) -> NoReturn:
    from k8snetlab.kernel import netns

    try:
        netns.enter_and_exec(found["netns"], found["hostname"], list(argv), dict(os.environ), found["flannel"])
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
