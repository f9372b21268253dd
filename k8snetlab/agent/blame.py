"""Which manager's part of a node's dataplane the kernel has refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from k8snetlab.dataplane.links import Device
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.errors import K8sNetLabError


def manager_of(refusal: K8sNetLabError, parts: Mapping[str, NodeDataplane]) -> str:
    """The name of the manager whose part has what was refused: the very entry or device, else the device that it is
    about. The first manager's where nobody's part has it.
    """
    line = f" {getattr(refusal, 'operation', '') or refusal.message} ".replace("=", " ")
    for name, part in parts.items():
        if any(f" {pod.name} " in line for pod in part.pods):
            return name
    for words in (_own, _devices):
        for name, part in parts.items():
            if any(f" {word} " in line for word in words(part.node)):
                return name
    return next(iter(parts))


def _own(node: Netns) -> Iterator[str]:
    for entries in (node.addresses, node.routes, node.neighbours, node.fdb):
        yield from (entry.words() for entry in entries)
    yield from node.sysctls
    yield from (f"link {verb} {link.name}" for link in node.links for verb in ("add", "set", "del"))


def _devices(node: Netns) -> Iterator[str]:
    """Without a node's own, which others use as well."""
    yield from (f"dev {link.name}" for link in node.links if not isinstance(link, Device))
