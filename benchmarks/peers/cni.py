"""Pods by the CNI plugin bridge, called as a container runtime calls it, one after another."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import machine
from benchmarks.run import FailedError
from k8snetlab.kernel import netns

PLUGINS = Path("/usr/lib/cni")


def missing() -> str:
    """Why it cannot be measured here; "" where it can."""
    if not (PLUGINS / "bridge").exists() or not (PLUGINS / "host-local").exists():
        return "not installed (make bench-peers)"
    return ""


def make(pods: int) -> tuple[float, float]:
    """Seconds to make pods (a namespace, ADD), and to take them away (DEL)."""
    with machine.namespace() as node, tempfile.TemporaryDirectory(prefix="k8snetlab-bench-") as directory:
        names = [f"{node}.pod{number}" for number in range(pods)]
        with _removed(names):
            began = time.perf_counter()
            for name in names:
                netns.create(name)
                _plugin("ADD", node, name, directory)
            up = time.perf_counter() - began
            began = time.perf_counter()
            for name in names:
                _plugin("DEL", node, name, directory)
                netns.delete(name)
            down = time.perf_counter() - began
    machine.emptied()
    return up, down


@contextmanager
def _removed(names: list[str]) -> Iterator[None]:
    try:
        yield
    finally:
        for name in names:
            netns.delete(name)


def _plugin(command: str, node: str, name: str, directory: str) -> None:
    ipam = {"type": "host-local", "dataDir": directory, "subnet": "10.100.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}
    config = {
        "cniVersion": "0.4.0",
        "name": "bench",
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipam": ipam,
    }
    environment = {
        **os.environ,
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": name,
        "CNI_NETNS": str(netns.path(name)),
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(PLUGINS),
    }
    with netns.inside(node):
        done = subprocess.run(
            [PLUGINS / "bridge"], env=environment, input=json.dumps(config), capture_output=True, text=True
        )
    if done.returncode:
        raise FailedError(f"CNI plugin bridge, {command}: {(done.stdout or done.stderr).strip()}")
