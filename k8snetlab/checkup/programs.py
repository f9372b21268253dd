"""Programs of others that a lab runs: are they installed? Asked by `up` before anything is built."""

from __future__ import annotations

import shutil

from k8snetlab.addons import nginx
from k8snetlab.addons.routing import PACKAGES
from k8snetlab.api.lab import Lab
from k8snetlab.errors import UnsupportedError


def needed(lab: Lab) -> None:
    """Raises UnsupportedError for a program that the lab asks for and this machine does not have."""
    if lab.spec.ingress.controller == "nginx" and shutil.which(nginx.PROGRAM) is None:
        said = f"ingress.controller nginx needs {nginx.PROGRAM}, which is not installed"
        raise UnsupportedError(said, f"apt-get install {nginx.PACKAGE}")
    if not lab.spec.daemon:
        return
    program, package = PACKAGES[lab.spec.daemon]
    if shutil.which(program) is None:
        field = f"network.backend {lab.spec.network.backend}"
        raise UnsupportedError(f"{field} needs {program}, which is not installed", f"apt-get install {package}")
