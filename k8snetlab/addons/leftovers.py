"""What is left of programs: files that nobody wants, and processes that a killed kubelet has not ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from k8snetlab.api.workload import LOGS
from k8snetlab.errors import KernelError
from k8snetlab.kernel import cgroups, fault, processes

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for what is in no control group."""


def end(directory: Path, group: str, namespaces: Iterable[str]) -> None:
    """Ends the programs whose files are in `directory` or below: those in the control group, and, without one, those
    in these network namespaces that write their logs there. Raises KernelError, NotFoundError."""
    if group and not cgroups.end(Path(group)):
        raise KernelError("a process of it cannot be ended", f"{group}/cgroup.procs names it")
    processes.terminate(processes.with_environment(namespaces, f"{LOGS}={directory}", below=True), GRACE)


def delete(path: Path) -> None:
    """Takes a file or a directory away, whichever it is. Raises OSError."""
    fault.point()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
