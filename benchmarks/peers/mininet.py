"""Mininet's hosts, in network and process namespaces of their own: whatever happens to it, nothing of it stays."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks import machine
from benchmarks.floors.pods import PORTS, Made, stand

PYTHON = "/usr/bin/python3"
HOSTS = Path(__file__).with_name("mininet_hosts.py")


def missing() -> str:
    """Why it cannot be measured here; "" where it can."""
    for tool in ("unshare", "mnexec", "brctl", "ping"):
        if shutil.which(tool) is None:
            return f"no {tool} here (make bench-peers)"
    if subprocess.run([PYTHON, "-c", "import mininet"], capture_output=True).returncode:
        return "not installed (make bench-peers)"
    return ""


def make(hosts: int) -> Made:
    """Makes hosts and stops them. Raises FailedError."""
    # Its bridges are made where it runs; its hosts are processes, which end with the first of their namespace.
    apart = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        return stand([*apart, PYTHON, "-I", str(HOSTS), str(hosts), str(PORTS)])
    finally:
        machine.emptied()
