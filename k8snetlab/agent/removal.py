"""Undoes what a lab has added to the host's network namespace, and nothing else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from k8snetlab.agent.additions import (
    AddedAddresses,
    AddedCounters,
    AddedDevice,
    AddedFile,
    AddedRoute,
    AddedRules,
    AddedSets,
    Addition,
    ChangedSysctl,
)
from k8snetlab.agent.journal import REDIRECTS
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES
from k8snetlab.dataplane.links import Bridge, Vxlan
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.errors import K8sNetLabError, KernelError
from k8snetlab.kernel import conntrack, fault, ipsets, iptables, nfacct, nftables, sysctl
from k8snetlab.kernel.execute import execute
from k8snetlab.kernel.netlink import Netlink
from k8snetlab.kernel.read import read

NAMESPACE_TIMEOUT = 2.0
"""Seconds that a deleted namespace may take to be gone: it lives as long as a process holds one of its sockets."""


def remove_cables(names: Sequence[str]) -> None:
    """Waits until these veths are gone: the kernel deletes them a moment after the namespace at their other end.

    Deletes those that are still there after NAMESPACE_TIMEOUT.
    """
    deadline = time.monotonic() + NAMESPACE_TIMEOUT
    with Netlink(HOST_NETNS) as netlink:
        while left := [name for name in names if netlink.index(name)]:
            if time.monotonic() > deadline:
                execute(ItemOperation("del", HOST_NETNS, link) for link in read(HOST_NETNS).links if link.name in left)
                return
            time.sleep(0.005)


def remove(additions: Sequence[Addition]) -> None:
    """Undoes all of them, but for what is undone already or was changed by others since.

    A failure does not stop the rest; the first one is raised at the end.
    """
    failures: list[K8sNetLabError] = []
    for undo in _steps(additions):
        fault.point()
        try:
            undo()
        except K8sNetLabError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _steps(additions: Sequence[Addition]) -> list[Callable[[], None]]:
    """One for each addition, ordered so that nothing is removed while it is in use."""
    return [partial(_UNDO[kind], one) for kind in _UNDO for one in reversed(additions) if type(one) is kind]


def _route(added: AddedRoute) -> None:
    held = read(HOST_NETNS).routes
    execute(ItemOperation("del", HOST_NETNS, r) for r in held if (r.dst, r.dev) == (added.dst, added.device))


def _device(added: AddedDevice) -> None:
    links = [link for link in read(HOST_NETNS).links if link.name == added.name and isinstance(link, Bridge | Vxlan)]
    execute(ItemOperation("del", HOST_NETNS, link) for link in links)


def _rules(added: AddedRules) -> None:
    for family in FAMILIES:
        nft = any(table[0] == family for table in nftables.read(HOST_NETNS)[0])
        if nft if added.variant == "nft" else iptables.legacy.tables(HOST_NETNS, family):
            iptables.open(HOST_NETNS, family, added.variant, iptables.LOCKFILE).remove(names.MACHINE_CHAINS)
    if added.variant == "nft":
        nftables.remove_idle(HOST_NETNS, added.tables, added.chains)


def _counters(added: AddedCounters) -> None:
    nfacct.delete(HOST_NETNS, added.names)


def _sets(_: AddedSets) -> None:
    """No rule of ours looks into them any more."""
    ipsets.destroy(HOST_NETNS, ipsets.held(HOST_NETNS, (*names.KUBE_ROUTER_SETS, names.TEMPORARY_SET)))


def _addresses(added: AddedAddresses) -> None:
    for family in FAMILIES:
        with contextlib.suppress(KernelError):  # a kernel without conntrack
            conntrack.forget_within(HOST_NETNS, family, added.networks)


def _sysctl(changed: ChangedSysctl) -> None:
    """Restores the value that was there before, unless others have changed the lab's since; likewise the values that
    the kernel changed along with it."""
    if sysctl.read(HOST_NETNS, [changed.key]).get(changed.key) != changed.value:
        return
    now = sysctl.read(HOST_NETNS, changed.along)
    sysctl.write(HOST_NETNS, {changed.key: changed.before})
    ours = {key: "0" if key == REDIRECTS else changed.value for key in changed.along}
    wanted = {key: changed.along[key] if value == ours[key] else value for key, value in now.items()}
    after = sysctl.read(HOST_NETNS, wanted)
    sysctl.write(HOST_NETNS, {key: value for key, value in wanted.items() if after.get(key) != value})


def _file(added: AddedFile) -> None:
    with contextlib.suppress(FileNotFoundError):
        Path(added.path).unlink()
    with contextlib.suppress(OSError):  # somebody else has a file there
        for directory in reversed(added.directories):
            Path(directory).rmdir()


_UNDO: dict[type, Callable[..., None]] = {
    AddedRoute: _route,
    AddedDevice: _device,
    AddedRules: _rules,
    AddedCounters: _counters,
    AddedSets: _sets,
    AddedAddresses: _addresses,
    ChangedSysctl: _sysctl,
    AddedFile: _file,
}
