"""The limits that a large lab meets: how much of each it takes, how much there is, and what lifts it.

Sources: proc_sys_fs(5), proc_sys_kernel(5), proc_sys_user(5), arp(7), Documentation/networking/nf_conntrack-sysctl.rst,
and docs/kernel-facts.md for what a pod costs.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from k8snetlab.dataplane.rules import Family
from k8snetlab.kernel import netns
from k8snetlab.kernel.neighbours import lifting

FILES_OF_A_NODE, FILES_OF_A_PROCESS = 20, 100
"""Descriptors that an agent has for its node, and what daemon and kubelet have anyway."""
PIDS_OF_A_COMMAND = 2
NEIGHBOURS_OF_A_POD = 2
"""The pod in its node's table, and the node in the pod's; all namespaces share one limit."""
CONNECTIONS_OF_A_POD = 64
"""That a node remembers, before the next one pushes an old one out."""
KIB_OF_A_POD = 400


class Size(msgspec.Struct, frozen=True):
    """What is to be made: `commands` are containers that run one, `listeners` ports that the kubelet answers on.
    `crowd` is how many pods a node has, at most. `held` and `running` are the pods and commands that are there already:
    they count where the machine does not tell how much is taken. `families` are those of the pods' addresses."""

    pods: int
    nodes: int
    commands: int = 0
    listeners: int = 0
    crowd: int = 0
    held: int = 0
    running: int = 0
    families: tuple[Family, ...] = ("ipv4",)


class Limit(msgspec.Struct, frozen=True):
    """`wanted` more than the `taken` of something of which there are `most`; `lift` is what to type or change.
    `refuses`: what is beyond it cannot be made; else packets are lost."""

    name: str
    taken: int
    wanted: int
    most: int
    lift: str
    refuses: bool = True

    @property
    def enough(self) -> bool:
        return self.taken + self.wanted <= self.most


Read = Callable[[str], str]
"""A file's text. Raises OSError."""


def limits(size: Size, read: Read = lambda file: Path(file).read_text()) -> list[Limit]:
    """Each that this machine tells; what cannot be read is left out."""
    found = []
    for one in _ALL:
        try:
            found += list(one(size, read))
        except (OSError, ValueError):
            continue
    return found


def _files(size: Size, read: Read) -> Iterator[Limit]:
    wanted = max(size.held + size.pods + FILES_OF_A_NODE * size.nodes, size.listeners) + FILES_OF_A_PROCESS
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = hard if hard != resource.RLIM_INFINITY else int(read("/proc/sys/fs/nr_open"))
    raised = f"ulimit -n {wanted} before `up` (a container: --ulimit nofile={wanted})"
    more = f"sysctl -w fs.nr_open={wanted}, and " if wanted > int(read("/proc/sys/fs/nr_open")) else ""
    yield Limit("open files of a process", 0, wanted, most, more + raised)


def _mounts(size: Size, read: Read) -> Iterator[Limit]:
    taken, wanted = read("/proc/self/mountinfo").count("\n"), size.pods + size.nodes
    lift = f"sysctl -w fs.mount-max={2 * (taken + wanted)}"
    yield Limit("mounts", taken, wanted, int(read("/proc/sys/fs/mount-max")), lift)


def _namespaces(size: Size, read: Read) -> Iterator[Limit]:
    taken, wanted = len(netns.names()), size.pods + size.nodes
    lift = f"sysctl -w user.max_net_namespaces={2 * (taken + wanted)}"
    yield Limit("network namespaces", taken, wanted, int(read("/proc/sys/user/max_net_namespaces")), lift)


def _pids(size: Size, read: Read) -> Iterator[Limit]:
    wanted = PIDS_OF_A_COMMAND * size.commands
    taken = int(read("/proc/loadavg").split()[3].split("/")[1])
    lift = f"sysctl -w kernel.pid_max={2 * (taken + wanted)}"
    yield Limit("processes", taken, wanted, int(read("/proc/sys/kernel/pid_max")), lift)


def _pids_of_container(size: Size, read: Read) -> Iterator[Limit]:
    wanted, most = PIDS_OF_A_COMMAND * size.commands, read("/sys/fs/cgroup/pids.max").strip()
    if most != "max":
        taken = int(read("/sys/fs/cgroup/pids.current"))
        lift = f"give the container --pids-limit {2 * (taken + wanted)}"
        yield Limit("processes of this container", taken, wanted, int(most), lift)


def _inotify(size: Size, read: Read) -> Iterator[Limit]:
    wanted = size.running + size.commands
    lift = f"sysctl -w fs.inotify.max_user_watches={2 * wanted}"
    most = int(read("/proc/sys/fs/inotify/max_user_watches"))
    yield Limit("inotify watches", 0, wanted, most, lift, refuses=False)


def _neighbours(size: Size, read: Read) -> Iterator[Limit]:
    wanted = NEIGHBOURS_OF_A_POD * (size.held + size.pods)
    for family in size.families:
        most = int(read(f"/proc/sys/net/{family}/neigh/default/gc_thresh3"))
        yield Limit(f"{family} neighbours", 0, wanted, most, lifting(family, 2 * wanted), refuses=False)


def _connections(size: Size, read: Read) -> Iterator[Limit]:
    wanted = CONNECTIONS_OF_A_POD * size.crowd
    lift = f"sysctl -w net.netfilter.nf_conntrack_max={2 * wanted}"
    most = int(read("/proc/sys/net/netfilter/nf_conntrack_max"))
    yield Limit("connections of a node", 0, wanted, most, lift, refuses=False)


def _memory(size: Size, read: Read) -> Iterator[Limit]:
    told = dict(line.split(":", 1) for line in read("/proc/meminfo").splitlines())
    total, free = (int(told[key].split()[0]) // 1024 for key in ("MemTotal", "MemAvailable"))
    lift = "fewer pods, or a machine with more memory"
    yield Limit("memory in MiB", total - free, KIB_OF_A_POD * size.pods // 1024, total, lift, refuses=False)


_ALL = (_files, _mounts, _namespaces, _pids, _pids_of_container, _inotify, _neighbours, _connections, _memory)
