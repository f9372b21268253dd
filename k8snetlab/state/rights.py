"""Whether this process may do what making a lab takes."""

from __future__ import annotations

import os

from k8snetlab.errors import UnsupportedError
from k8snetlab.kernel import capabilities


def need_capabilities() -> None:
    """Raises UnsupportedError, before anything is made or taken away, when namespaces cannot be."""
    if os.geteuid() != 0:
        raise UnsupportedError(
            "making network namespaces needs root", "use sudo; `k8snetlab render` and `--help` work without"
        )
    if missing := capabilities.missing(("CAP_NET_ADMIN", "CAP_SYS_ADMIN")):
        raise UnsupportedError(
            f"this root has no {' and no '.join(missing)}", "run the container with --privileged; `doctor` says more"
        )
