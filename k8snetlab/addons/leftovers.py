"""What is left of programs: files that nobody wants, processes that a killed kubelet has not ended, and routes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from k8snetlab.api.workload import LOGS
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.errors import KernelError
from k8snetlab.kernel import cgroups, execute, fault, netns, processes, read

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for what is in no control group."""
_ROUTES: Mapping[str, tuple[int, ...]] = {"bird": (12,), "zebra": (11, 186, 188, 189)}
"""The protocols of the routes that a program writes. Source: linux/rtnetlink.h."""


def end(directory: Path, group: str, namespaces: Iterable[str]) -> None:
    """Ends the programs whose files are in `directory` or below: those in the control group, and, without one, those
    in these network namespaces that write their logs there. Raises KernelError, NotFoundError."""
    if group and not cgroups.end(Path(group)):
        raise KernelError("a process of it cannot be ended", f"{group}/cgroup.procs names it")
    processes.terminate(processes.with_environment(namespaces, f"{LOGS}={directory}", below=True), GRACE)


def routes(program: str, namespace: str) -> None:
    """Takes away what a routing daemon that has ended left in the kernel: BIRD leaves all with `persist`, and any does
    that was killed. Raises KernelError."""
    if program in _ROUTES and not is_host(namespace) and netns.exists(namespace):
        held = read.learned(namespace, _ROUTES[program])
        execute.execute(ItemOperation("del", namespace, route) for route in held)


def delete(path: Path) -> None:
    """Takes a file or a directory away, whichever it is. Raises OSError."""
    fault.point()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
