"""The process of a lab that answers names."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from k8snetlab.testing import Lab


def pid_of(lab: Lab) -> int:
    """The machine's name server, a child of the kubelet."""
    (found,) = pids_of(lab)
    return found


def pids_of(lab: Lab) -> list[int]:
    """None, while there is none."""
    kubelet = lab.pids()["kubelet"]
    found = []
    for pid in Path(f"/proc/{kubelet}/task/{kubelet}/children").read_text().split():
        with suppress(FileNotFoundError):
            if b"k8snetlab.nameserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found
