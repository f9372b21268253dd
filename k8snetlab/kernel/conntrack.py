"""Forgetting connections, as kube-proxy does when an endpoint or a Service goes.

A UDP "connection" lives on as long as packets come, and keeps its old translation; kube-proxy deletes those (its
pkg/proxy/conntrack). TCP's end by themselves.
"""

from __future__ import annotations

import subprocess

from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import netns


def flush(
    namespace: str,
    protocol: str = "udp",
    destination: str = "",
    port: int = 0,
    endpoint: str = "",
    family: str = "ipv4",
) -> int:
    """Delete the entries first sent to `destination` (a cluster, external or load balancer IP) and `port` (also a node
    port alone), of those only the ones that were translated to `endpoint`; returns how many there were.

    Raises UnsupportedError when the conntrack program is missing, NotFoundError when the namespace is.
    """
    argv = ["conntrack", "-D", "-f", family, "-p", protocol.lower()]
    argv += ["--orig-dst", destination] if destination else []
    argv += ["--orig-port-dst", str(port)] if port else []
    argv += ["--reply-src", endpoint] if endpoint else []
    try:
        with netns.inside(namespace):
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise UnsupportedError("there is no conntrack on this machine", "apt-get install conntrack") from None
    with process:
        out, err = process.communicate()
    if process.returncode and "0 flow entries" not in err:
        raise KernelError(f"{' '.join(argv)}: {err.strip()}", operation=" ".join(argv))
    return len(out.splitlines())
