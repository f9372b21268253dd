"""exec and shell: this process becomes the command, as with `ip netns exec`, or another machine runs it for us."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from msgspec.structs import replace

from k8snetlab.dataplane.names import is_host
from k8snetlab.errors import DaemonError, InputError, NotFoundError
from k8snetlab.messages.places import EXEC, RESOLVE, Execute, Exit, Resolve, Resolved, Stdout

if TYPE_CHECKING:
    from k8snetlab.client.client import Client
    from k8snetlab.exec.channels import Terminal


def enter(client: Client, place: str, namespace: str, argv: Sequence[str] = ()) -> NoReturn:
    """Replace this process by `argv`, run inside the namespaces of `place`: a pod, a node, "router" or "outside".

    Where the place is on another machine, the daemon there runs `argv`, at a terminal if this process has one, and this
    process ends with the same exit code. Without `argv` a shell runs: the user's own here, root's there.
    """
    found = client.call(RESOLVE, Resolve(place, namespace))
    if found.machine:
        sys.exit(_elsewhere(client, place, namespace, argv))
    _become(found, place, argv or [os.environ.get("SHELL") or "/bin/sh"])


def _elsewhere(client: Client, place: str, namespace: str, argv: Sequence[str]) -> int:
    """Runs it at a terminal if this process has one, unless its output is redirected, which needs plain pipes."""
    typed = sys.stdin is not None and sys.stdin.isatty()
    if not typed or (argv and not sys.stdout.isatty()):
        piped = () if typed or sys.stdin is None else _read(sys.stdin.fileno())
        return _answer(client, place, namespace, argv, body=piped)
    from k8snetlab.exec.terminal import OwnTerminal

    with OwnTerminal(sys.stdin.fileno()) as own:
        return _answer(client, place, namespace, argv, body=own.pieces(), terminal=own.described())


def _answer(
    client: Client,
    place: str,
    namespace: str,
    argv: Sequence[str],
    *,
    body: Iterable[bytes],
    terminal: Terminal | None = None,
) -> int:
    asked = Execute(place, namespace, tuple(argv))
    if terminal:
        size = terminal.size
        asked = replace(asked, tty=True, rows=size.rows, columns=size.columns, term=terminal.kind)
    for event in client.converse(EXEC, asked, body):
        if isinstance(event, Exit):
            return event.code
        output = sys.stdout.buffer if isinstance(event, Stdout) else sys.stderr.buffer
        output.write(event.data)
        output.flush()
    raise DaemonError(f"{place}: the command's answer broke off", "`k8snetlab status` says what is the matter there")


def _read(descriptor: int) -> Iterator[bytes]:
    while data := os.read(descriptor, 65536):
        yield data


def _become(found: Resolved, place: str, argv: Sequence[str]) -> NoReturn:
    from k8snetlab.kernel import launch
    from k8snetlab.state import held

    setting = launch.Setting(
        found.netns,
        found.hostname,
        flannel=found.flannel,
        cgroup=found.cgroup,
        held=not is_host(found.netns) or bool(found.cgroup),
        account=found.account,
        etc=found.etc,
        process=found.process,
    )
    if setting.held and not setting.cgroup:
        held.note(Path(found.held))
    try:
        launch.become(setting, list(argv), dict(os.environ))
    except FileNotFoundError:
        raise NotFoundError(
            f"{place}: no command {argv[0]!r} on this machine",
            "a pod sees the files of this machine: install the command here",
        ) from None
    except PermissionError:
        raise InputError(f"{place}: {argv[0]!r} cannot be executed", "name a program, not a directory") from None
