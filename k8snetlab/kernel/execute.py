"""Carry out a plan: operations become netlink requests, sent in batches per namespace."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TypeAlias

from k8snetlab.dataplane.links import Address, Bridge, Device, Ipip, Veth, Vxlan
from k8snetlab.dataplane.names import is_host
from k8snetlab.dataplane.operations import ItemOperation, NetnsOperation, Operation, SysctlOperation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.errors import K8sNetLabError, KernelError, NotFoundError
from k8snetlab.kernel import fault, netns, sysctl
from k8snetlab.kernel.messages import NetlinkRequest
from k8snetlab.kernel.netlink import Netlink, Refusal
from k8snetlab.kernel.requests import requests

_GONE = {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENXIO}
"""What the kernel says of a thing to delete that is not there: FDB entry, route, link, address."""
_OPEN_AT_ONCE = 200
"""Descriptors of namespaces held for pending veths; a process may have 1,024 by default."""


By: TypeAlias = Callable[[str], Netlink | None]
"""From a namespace to a socket in it, if there is one."""


def execute(operations: Iterable[Operation], by: By = lambda _: None) -> None:
    """`attempt`, and raises the first refusal afterwards."""
    if refused := attempt(operations, by):
        raise refused[0]


def attempt(operations: Iterable[Operation], by: By = lambda _: None) -> list[K8sNetLabError]:
    """Carry out the operations in their order; an operation whose effect is there already is no error.

    They are asked for `by` these sockets in the namespaces that have one there, and by new ones elsewhere.

    One that is refused stops none of the others. Returns the refusals: a KernelError that names the operation, or
    NotFoundError or UnsupportedError where a namespace or kernel feature is missing.
    """
    with _Execution(by) as execution:
        for operation in operations:
            try:
                execution.take(operation)
            except K8sNetLabError as error:
                execution.refused.append(error)
        try:
            execution.flush()
        except K8sNetLabError as error:
            execution.refused.append(error)
        return execution.refused


class _Execution:
    """One run. Requests for one namespace collect in `_pending` until something needs their effect."""

    def __init__(self, given: By) -> None:
        self.refused: list[K8sNetLabError] = []
        self._given = given
        self._sockets: dict[str, Netlink] = {}
        self._here = ""
        self._pending: list[tuple[ItemOperation, list[NetlinkRequest]]] = []
        self._unsettled: set[str] = set()
        """Devices that a pending request creates or deletes: their ifindex is not known yet."""
        self._descriptors: list[int] = []
        """Of the namespaces that pending veth peers go to."""

    def __enter__(self) -> _Execution:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._close_descriptors()
        for socket in self._sockets.values():
            socket.close()

    def take(self, operation: Operation) -> None:
        if fault.armed():
            self.flush()
        fault.point()
        match operation:
            case NetnsOperation():
                self.flush()
                if operation.verb == "add":
                    netns.create(operation.netns)
                else:
                    if socket := self._sockets.pop(operation.netns, None):
                        socket.close()
                    netns.delete(operation.netns)
            case SysctlOperation():
                self.flush()
                sysctl.write(operation.netns, {operation.key: operation.value})
            case ItemOperation():
                if operation.netns != self._here:
                    self.flush()
                    self._here = operation.netns
                self._queue(operation)

    def flush(self) -> None:
        """Send what is pending; what the kernel does not take of it is `refused`."""
        fault.point()
        pending, self._pending = self._pending, []
        self._unsettled.clear()
        if not pending:
            return
        socket = self._socket()
        refusals = iter(socket.batch([request for _, parts in pending for request in parts]))
        self._close_descriptors()
        for operation, parts in pending:
            refusal = next((r for r in [next(refusals) for _ in parts] if r), None)
            if refusal and not self._harmless(operation, refusal):
                words = str(operation)
                self.refused.append(KernelError(f"{words}: {refusal}", _hint(operation, refusal), operation=words))

    def _queue(self, operation: ItemOperation) -> None:
        item = operation.item
        try:
            descriptor = self._peer_namespace(operation, item) if isinstance(item, Veth) else -1
            parts = requests(operation.verb, item, self._index, descriptor)
        except _NoDevice as missing:
            if operation.verb == "del":
                return
            where = operation.netns or "this namespace"
            raise KernelError(
                f"{operation}: there is no device {missing} in {where}", operation=str(operation)
            ) from None
        self._pending.append((operation, parts))
        if isinstance(item, Bridge | Vxlan | Veth | Ipip) and operation.verb != "set":
            self._unsettled.add(item.name)

    def _index(self, device: str) -> int:
        if device in self._unsettled:
            self.flush()
        index = self._socket().index(device)
        if not index:
            self.flush()
            index = self._socket().index(device)
        if not index:
            raise _NoDevice(device)
        return index

    def _socket(self) -> Netlink:
        if given := self._given(self._here):
            return given
        if self._here not in self._sockets:
            self._sockets[self._here] = Netlink(self._here)
        return self._sockets[self._here]

    def _peer_namespace(self, operation: ItemOperation, veth: Veth) -> int:
        """A descriptor of where a new veth's other end goes; -1 when it stays here."""
        if operation.verb != "add" or veth.peer_netns == operation.netns:
            return -1
        if len(self._descriptors) == _OPEN_AT_ONCE:
            self.flush()
        if veth.master:
            self._index(veth.master)  # may flush, which closes descriptors
        file = "/proc/thread-self/ns/net" if is_host(veth.peer_netns) else netns.path(veth.peer_netns)
        try:
            self._descriptors.append(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            raise NotFoundError(f"{operation}: there is no network namespace named {veth.peer_netns}") from None
        return self._descriptors[-1]

    def _close_descriptors(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _harmless(self, operation: ItemOperation, refusal: Refusal) -> bool:
        """Whether the kernel only says that the effect is there already."""
        if operation.verb == "del":
            return refusal.errno in _GONE
        if refusal.errno != errno.EEXIST:
            return False
        match operation.item:
            case Address():
                return True
            case Bridge() | Veth() | Vxlan() | Ipip() if self._same_kind(operation.item):
                again = requests("set", operation.item, self._index)
                return not any(self._socket().batch(again))
            case _:
                return False

    def _same_kind(self, link: Bridge | Veth | Vxlan | Ipip) -> bool:
        return self._socket().kind(link.name) == type(link).__name__.lower()


class _NoDevice(Exception):
    """A request needs the ifindex of a device that is missing."""


def _next_hop(route: Route) -> str:
    device = route.dev or "any device"
    return f"next hop {route.via} cannot be reached: it is in no subnet of {device}" if route.via else "no next hop"


def _hint(operation: ItemOperation, refusal: Refusal) -> str:
    match operation.item, refusal.errno:
        case _, errno.EPERM:
            return "run as root (CAP_NET_ADMIN in that namespace)"
        case Bridge() | Veth() | Vxlan() | Ipip(), errno.EOPNOTSUPP:
            return f"load the kernel module: modprobe {type(operation.item).__name__.lower()}"
        case Bridge() | Veth() | Vxlan(), errno.EEXIST:
            return "another kind of device has this name, or another VXLAN device this VNI and port: delete one"
        case Veth(), errno.EXFULL:
            return "a bridge has at most 1,023 ports: spread the pods over more nodes"
        case Route(), errno.ENETUNREACH | errno.EINVAL:
            return f"{_next_hop(operation.item)}: give the device an address there, or set onlink"
        case Device() | Address() | Neighbour() | FdbEntry(), errno.ENODEV:
            return "the device went away in the meantime"
        case _:
            return ""
