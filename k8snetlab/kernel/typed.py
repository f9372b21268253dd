"""Commands as a person types them, run inside a namespace: ip, bridge, tc, iptables, conntrack, nft, sysctl."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from k8snetlab.dataplane.names import HOST_NETNS, is_host
from k8snetlab.errors import InputError, KernelError, UnsupportedError
from k8snetlab.kernel import fault, netns, sysctl

PATIENCE = 60.0
"""Seconds that one command may take."""


def run(namespace: str, argv: Sequence[str], lockfile: Path, directory: Path | None = None) -> None:
    """Runs one, in `directory` where that is given. `lockfile` takes the place of /run/xtables.lock.

    Raises KernelError with what the program says, UnsupportedError where there is none of that name, InputError for the
    machine's own namespace.
    """
    if is_host(namespace):
        raise InputError(f"{' '.join(argv)}: not in the machine's own network namespace")
    _run(namespace, argv, {"XTABLES_LOCKFILE": str(lockfile)}, directory)


def run_here(argv: Sequence[str]) -> None:
    """As `run`, in the machine's own namespace: where a node is all of the machine."""
    _run(HOST_NETNS, argv, {})


def _run(namespace: str, argv: Sequence[str], more: Mapping[str, str], directory: Path | None = None) -> None:
    fault.point()
    if argv[0] == "sysctl":
        key, _, value = argv[-1].partition("=")
        sysctl.write(namespace, {key: value})
        return
    environment = {**os.environ, **more, "LC_ALL": "C"}
    words = " ".join(argv)
    where = "" if is_host(namespace) else f" in {namespace}"
    try:
        with netns.inside(namespace):
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,
                cwd=directory,
            )
        said = process.communicate(timeout=PATIENCE)[0].decode(errors="replace")
    except FileNotFoundError:
        raise UnsupportedError(
            f"there is no {argv[0]} on this machine", "`k8snetlab doctor` says how to get it"
        ) from None
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # a shell's commands too
        process.communicate()
        raise KernelError(f"{words}{where}: not done after {PATIENCE:g} s", operation=words) from None
    if process.returncode:
        reason = next((line.strip() for line in said.splitlines() if line.strip()), "it failed without a word")
        raise KernelError(f"{words}{where}: {reason}", operation=words)
