"""The wire between machines: a bridge in a namespace of its own. Nothing of it is in the machine's own network."""

from __future__ import annotations

import os
import secrets
import subprocess


class Network:
    """One L2 segment. A machine's second interface, eth1, is on it; `outside` runs a command as a host beside them."""

    def __init__(self, address: str = "192.168.56.1/24") -> None:
        self.netns = f"vm{os.getpid()}{secrets.token_hex(2)}"
        _ip("netns", "add", self.netns)
        self._in("link", "set", "lo", "up")
        self._in("link", "add", "br0", "type", "bridge")
        self._in("address", "add", address, "dev", "br0")
        self._in("link", "set", "br0", "up")

    def plug(self, tap: str) -> None:
        """A tap device, for QEMU to open from within the namespace."""
        self._in("tuntap", "add", "dev", tap, "mode", "tap")
        self._in("link", "set", tap, "master", "br0", "up")

    def unplug(self, tap: str) -> None:
        self._in("link", "delete", tap)

    def outside(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.netns, *command], capture_output=True, text=True, timeout=60, check=False
        )

    def delete(self) -> None:
        _ip("netns", "delete", self.netns)

    def _in(self, *words: str) -> None:
        _ip("-netns", self.netns, *words)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
