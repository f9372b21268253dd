"""What the built-in stand-in can be asked, which answers on a container's ports in the place of an image.

It is no image: a program of MySQL's that a probe or a hook names is not there, and one of the machine's own of that
name would be about another MySQL. So nobody asks it that, and no hook of that kind is done.
"""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.api.core import Container
from k8snetlab.api.probes import LifecycleHandler, Probe
from k8snetlab.api.words import Path


def can(action: Probe | LifecycleHandler, container: Container) -> bool:
    """Whether a container can do what its probe or hook says. One with a command can; the stand-in has no programs,
    speaks neither TLS nor gRPC, and answers on each `containerPort`."""
    if container.argv:
        return True
    asked = action.httpGet or action.tcpSocket
    if (
        action.exec is not None
        or getattr(action, "grpc", None) is not None
        or (action.httpGet is not None and action.httpGet.scheme == "HTTPS")
    ):
        return False
    return asked is None or bool(asked.host) or asked.port in _ports(container)


def beyond(container: Container) -> Iterator[Path]:
    """The fields of a container that ask what it cannot do."""
    lifecycle = container.lifecycle
    actions = {
        ("livenessProbe",): container.livenessProbe,
        ("readinessProbe",): container.readinessProbe,
        ("startupProbe",): container.startupProbe,
        ("lifecycle", "postStart"): lifecycle.postStart if lifecycle else None,
        ("lifecycle", "preStop"): lifecycle.preStop if lifecycle else None,
    }
    return (path for path, action in actions.items() if action is not None and not can(action, container))


def _ports(container: Container) -> set[int | str]:
    tcp = [port for port in container.ports if port.protocol == "TCP"]
    return {port.containerPort for port in tcp} | {port.name for port in tcp if port.name}
