"""Whether this process may do what labs are made of."""

from __future__ import annotations

import os
from pathlib import Path

from k8snetlab.errors import UnsupportedError

_NEEDED = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""Capability bits (linux/capability.h)."""


def need_capabilities() -> None:
    """Raises UnsupportedError, before anything is made or taken away, when namespaces cannot be."""
    if os.geteuid() != 0:
        raise UnsupportedError(
            "making network namespaces needs root", "use sudo; `k8snetlab render` and `--help` work without"
        )
    status = Path("/proc/self/status").read_text()
    held = int(status.partition("CapEff:")[2].split()[0], 16)
    missing = [name for name, bit in _NEEDED.items() if not held >> bit & 1]
    if missing:
        raise UnsupportedError(
            f"this root has no {' and no '.join(missing)}", "run the container with --privileged; `doctor` says more"
        )
