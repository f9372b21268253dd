"""What a lab needs of others: programs that it runs, and IP in IP of the kernel. Asked by `up` before anything is
built."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from k8snetlab.addons import nginx, plane
from k8snetlab.addons.balancing import HAPROXY
from k8snetlab.addons.routing import PACKAGES
from k8snetlab.api.lab import Lab
from k8snetlab.errors import UnsupportedError
from k8snetlab.gateways.names import STREAMS
from k8snetlab.kernel.features import Feature, has_ipip


def needed(lab: Lab) -> None:
    """Raises UnsupportedError for what the lab asks for and this machine does not have."""
    for field, program, package in _asked(lab):
        if shutil.which(program) is None:
            raise UnsupportedError(f"{field} needs {program}, which is not installed", f"apt-get install {package}")
    number = next((n for n, pool in enumerate(lab.spec.network.ipPools) if pool.tunnel == "ipip"), None)
    if number is not None and lab.spec.network.calico and not has_ipip():
        raise UnsupportedError(
            f"spec.network.ipPools[{number}].ipipMode needs IP in IP, and this kernel has no module ipip",
            f"ipipMode: Never with vxlanMode: {lab.spec.network.ipPools[number].mode}, or another kernel",
        )


def features(lab: Lab) -> Iterator[Feature]:
    """One for each program that the lab asks for."""
    for field, program, package in _asked(lab):
        there = shutil.which(program) is not None
        yield Feature(
            f"{program} is installed",
            there,
            f"labs with {field}: `up` refuses them",
            f"apt-get install {package}",
            needed=False,
        )
    if lab.spec.gateway.controller == "nginx":
        yield Feature(
            "nginx has its stream module",
            nginx.stream_module() is not None,
            "Gateways' listeners of TLS and TCP: they are not accepted",
            f"apt-get install {STREAMS}",
            needed=False,
        )


def _asked(lab: Lab) -> Iterator[tuple[str, str, str]]:
    """What asks for a program, the program, and Debian's package of it."""
    if lab.spec.daemon:
        needs = f"network.backend {lab.spec.network.backend}" if lab.spec.network.routed else "loadBalancer.mode bgp"
        yield needs, *PACKAGES[lab.spec.daemon]
    if lab.spec.ingress.controller == "nginx":
        yield "ingress.controller nginx", nginx.PROGRAM, nginx.PACKAGE
    if lab.spec.gateway.controller == "nginx":
        yield "gateway.controller nginx", nginx.PROGRAM, nginx.PACKAGE
    if lab.spec.loadBalancer.mode == "cloud":
        yield "loadBalancer.mode cloud", HAPROXY, HAPROXY
    for program, package in plane.PACKAGES if lab.spec.controlPlane.etcd else ():
        yield "spec.controlPlane", program, package
