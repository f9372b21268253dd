"""What a kubelet posts of its node: that it is ready, and what machine it is."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

from msgspec.structs import replace

from k8snetlab import __version__
from k8snetlab.api.core import Condition, Node, NodeSystemInfo
from k8snetlab.api.machines import is_machine

VERSION = "v1.36.0-k8snetlab"
"""The release of Kubernetes whose behaviour a lab has."""
ALLOCATABLE = {"cpu": "256", "ephemeral-storage": f"{16 << 30}Ki", "memory": f"{1 << 30}Ki"}
"""What pods may request of a node: 2 processors and 8Gi for each of 110 pods. Nobody holds containers to what they
request, and those without a command need nothing, so that it has nothing to do with what the machine has."""
_HEALTHY = (
    Condition(
        type="MemoryPressure",
        status="False",
        reason="KubeletHasSufficientMemory",
        message="kubelet has sufficient memory available",
    ),
    Condition(
        type="DiskPressure",
        status="False",
        reason="KubeletHasNoDiskPressure",
        message="kubelet has no disk pressure",
    ),
    Condition(
        type="PIDPressure",
        status="False",
        reason="KubeletHasSufficientPID",
        message="kubelet has sufficient PID available",
    ),
    Condition(type="Ready", status="True", reason="KubeletReady", message="kubelet is posting ready status"),
)

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i686": "386",
    "i386": "386",
    "armv7l": "arm",
    "armv6l": "arm",
    "loongarch64": "loong64",
}


def architecture() -> str:
    """This machine's, as Go and the label kubernetes.io/arch name it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def posted(node: Node, now: str, boot: str = "") -> Node:
    """The node with what this machine's kubelet says of it; the same one where that is said already. `now` is an
    RFC 3339 timestamp. With `boot` it has just been booted; a namespace keeps the boot id that it has, and has the
    machine's first. Nodes that are namespaces all have the one machine's processors and memory; pods may request
    ALLOCATABLE."""
    had = {condition.type: condition for condition in node.status.conditions}
    conditions = {**had}
    for condition in _HEALTHY:
        old = had.get(condition.type)
        since = old.lastTransitionTime if old and old.status == condition.status else None
        conditions[condition.type] = replace(condition, lastTransitionTime=since or now)
    status = replace(
        node.status,
        conditions=tuple(conditions.values()),
        capacity={**node.status.capacity, **capacity()},
        allocatable={**node.status.allocatable, **ALLOCATABLE},
        nodeInfo=_booted(node, boot),
    )
    return node if status == node.status else replace(node, status=status)


def _booted(node: Node, boot: str) -> NodeSystemInfo:
    found = info()
    known = "" if is_machine(node) else node.status.nodeInfo.bootID
    return replace(found, bootID=boot or known or found.bootID)


@functools.cache
def info() -> NodeSystemInfo:
    try:
        release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        release = ""
    machine = _text("/etc/machine-id")
    return NodeSystemInfo(
        architecture=architecture(),
        bootID=_text("/proc/sys/kernel/random/boot_id"),
        containerRuntimeVersion=f"k8snetlab://{__version__}",
        kernelVersion=platform.release(),
        kubeletVersion=VERSION,
        machineID=machine,
        operatingSystem="linux",
        osImage=release,
        systemUUID=_text("/sys/class/dmi/id/product_uuid") or machine,
    )


@functools.cache
def capacity() -> dict[str, str]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    disk = os.statvfs("/")
    storage = disk.f_blocks * disk.f_frsize // 1024
    return {"cpu": str(os.cpu_count() or 1), "ephemeral-storage": f"{storage}Ki", "memory": f"{memory}Ki"}


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
