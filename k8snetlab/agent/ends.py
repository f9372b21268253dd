"""The other ends of a namespace's veths: do they lead where they should?"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator, Mapping

import msgspec

from k8snetlab.dataplane.links import Device, Veth
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation, Operation
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import netns
from k8snetlab.kernel.execute import execute
from k8snetlab.kernel.monitors import Monitors
from k8snetlab.kernel.netlink import Netlink
from k8snetlab.kernel.read import peers


class Ends:
    """Asks by the sockets of `monitors`, in namespaces that have one."""

    def __init__(self, monitors: Monitors) -> None:
        self._monitors = monitors

    def cut(self, state: Netns, ends: Mapping[str, int], present: Container[str]) -> list[str]:
        """The veths to create again: their other ends are elsewhere, or have another name. `ends` are those that the
        kernel names."""
        veths = [link for link in state.links if isinstance(link, Veth) and link.name in present]
        found = [(veth.name, self._index(veth.peer_netns, veth.peer)) for veth in veths]
        return [name for name, index in found if index is not None and index != ends.get(name)]

    def with_room(self, plan: Iterable[Operation]) -> Iterator[Operation]:
        """The plan; where a new veth's other end is to be, what has its name goes first."""
        for operation in plan:
            if isinstance(operation, ItemOperation) and operation.verb == "add" and isinstance(operation.item, Veth):
                veth = operation.item
                if self._index(veth.peer_netns, veth.peer):
                    yield ItemOperation("del", veth.peer_netns, Device(veth.peer))
            yield operation

    def _index(self, name: str, device: str) -> int | None:
        """Of a device in any of the lab's namespaces, 0 where there is none; None where there is no such namespace."""
        monitor = self._monitors.get(name)
        if monitor is not None and monitor.number == netns.number(name):
            return monitor.index(device)
        try:
            with Netlink(name) as netlink:
                return netlink.index(device)
        except NotFoundError:
            return None


def unplug(name: str) -> None:
    """Deletes a namespace's veths, which go with it only when nothing is left in it: a process may be, or a socket."""
    with contextlib.suppress(NotFoundError), Netlink(name) as netlink:
        execute((ItemOperation("del", name, Device(end)) for end in peers(netlink)), {name: netlink}.get)


def without(outer: Netns, inner: Container[str]) -> Netns:
    """`outer` without the veths to these namespaces."""
    links = tuple(link for link in outer.links if not (isinstance(link, Veth) and link.peer_netns in inner))
    return outer if len(links) == len(outer.links) else msgspec.structs.replace(outer, links=links)
