"""The process of a lab that answers names."""

from __future__ import annotations

from pathlib import Path

from k8snetlab.testing import Lab


def pid_of(lab: Lab) -> int:
    """The machine's name server, a child of the kubelet."""
    kubelet = lab.pids()["kubelet"]
    children = Path(f"/proc/{kubelet}/task/{kubelet}/children").read_text().split()
    (found,) = (pid for pid in children if b"k8snetlab.nameserver" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return int(found)
