"""What of this machine a lab could have made, or could be taken for a lab's: looked at, never changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from k8snetlab.dataplane.families import FAMILIES
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.kernel import iptables, netns

Kind = Literal["namespace", "mount", "process", "device", "chain", "cgroup", "file", "module", "sysctl"]
_DAEMONS = ("k8snetlab.lab.main", "k8snetlab.kubelet.main", "k8snetlab.nameserver")
_FORMER = ("k8snetlab.lab.daemon", "k8snetlab.agent.kubelet")
"""What they were called in 0.1.0."""
_SYSCTLS = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/all/route_localnet")
_DEPTH = 4
"""How far below a hierarchy's mount a container's own groups may be."""
_LOCK = Path("/run/xtables.lock")


class Thing(msgspec.Struct, frozen=True):
    """A thing of a kind that labs are made of."""

    kind: Kind
    """What it is."""
    name: str
    """What tells it from others of its kind."""
    of: str = ""
    """What it hangs on: a process's network namespace ("" for the machine's own), a device's or a mount's kind, a
    sysctl's value."""


def namespaces() -> Iterator[Thing]:
    for name in netns.names():
        yield Thing("namespace", name, "" if netns.exists(name) else "an empty file")


def mounts() -> Iterator[Thing]:
    """Those on /run/netns and below, in this process's mount namespace."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        at = line.split()[4]
        if at == str(netns.DIRECTORY) or at.startswith(f"{netns.DIRECTORY}/"):
            yield Thing("mount", at, line.partition(" - ")[2].split()[0])


def processes() -> Iterator[Thing]:
    """Daemons, kubelets and name servers, and whatever runs in a network namespace that has a name. What is in another
    user namespace, as a student's lab in a class, is none of this machine's."""
    own, users = os.getpid(), Path("/proc/self/ns/user").stat().st_ino
    inodes = {}
    for name in netns.names():
        with contextlib.suppress(OSError, Exception):
            inodes[netns.inode(name)] = name
    inodes.pop(netns.inode(HOST_NETNS), None)
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda place: int(place.name)):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            where = inodes.get((entry / "ns/net").stat().st_ino, "")
            known = where or any(word in (*_DAEMONS, *_FORMER) for word in words)
            if known and int(entry.name) != own and (entry / "ns/user").stat().st_ino == users:
                yield Thing("process", f"{entry.name} {' '.join(words).strip()[:200]}", where)


def devices() -> Iterator[Thing]:
    """Of the machine's own namespace, but for its hardware's."""
    for entry in sorted(Path("/sys/class/net").iterdir()):
        if not (entry / "device").exists() and entry.name != "lo":
            yield Thing("device", entry.name, _attribute(entry / "uevent", "DEVTYPE"))


def chains(prefixes: tuple[str, ...]) -> Iterator[Thing]:
    """User chains of the machine's own namespace that begin so, of both families and variants."""
    for family in FAMILIES:
        tool = "iptables" if family == "ipv4" else "ip6tables"
        for variant in ("nft", "legacy"):
            text = iptables.held(HOST_NETNS, family, variant, _LOCK)
            table = ""
            for line in text.splitlines():
                if line.startswith("*"):
                    table = line[1:]
                elif line.startswith(":") and line[1:].startswith(prefixes):
                    yield Thing("chain", f"{tool}-{variant} {table} {line[1:].split()[0]}")


def cgroups(parent: str) -> Iterator[Thing]:
    """The groups called `parent` in every hierarchy that is mounted, and those of labs in them."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, at, kind, *_ = line.split(" ")
        if kind in ("cgroup", "cgroup2"):
            above = [Path(at)]
            for _ in range(_DEPTH):
                for place in (one / parent for one in above if (one / parent).is_dir()):
                    yield Thing("cgroup", str(place))
                    yield from (Thing("cgroup", str(one)) for one in _groups(place))
                above = [below for one in above for below in _groups(one)]


def _groups(directory: Path) -> list[Path]:
    """Those right below; none where it has gone meanwhile, as groups of others do at any time."""
    try:
        return sorted(one for one in directory.iterdir() if one.is_dir())
    except OSError:
        return []


def files(*directories: Path) -> Iterator[Thing]:
    """What is directly in these directories, and they themselves."""
    for directory in directories:
        with contextlib.suppress(OSError):
            yield from (Thing("file", str(entry)) for entry in sorted(directory.iterdir()))
            yield Thing("file", str(directory))


def settings() -> Iterator[Thing]:
    """Of the machine's own namespace: what a lab on the machine itself changes, and br_netfilter."""
    for key in _SYSCTLS:
        with contextlib.suppress(OSError):
            yield Thing("sysctl", key.replace("/", "."), Path("/proc/sys", key).read_text().strip())
    if Path("/sys/module/br_netfilter/refcnt").exists():  # a module, not built in
        yield Thing("module", "br_netfilter")


def parent(pid: int) -> int:
    """The process that a process is a child of, 0 where it has gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def environment(pid: int, name: str) -> str:
    """A variable that a process was started with, "" where it has none or cannot be asked."""
    with contextlib.suppress(OSError):
        for setting in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if setting.startswith(f"{name}=".encode()):
                return setting.decode(errors="replace").partition("=")[2]
    return ""


def _attribute(file: Path, key: str) -> str:
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(f"{key}="):
                return line.partition("=")[2]
    return ""
