"""Sysctls of a network namespace.

/proc/sys/net shows the namespace of the thread that opens it (proc_sys_net(5)), so each file is opened inside.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from k8snetlab.dataplane.names import is_host
from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import netns


def path(key: str) -> Path:
    """The file of a key; a dot inside a part is written as a slash, as in sysctl(8): net.ipv4.conf.flannel/1.x."""
    return Path("/proc/sys", *(part.replace("/", ".") for part in key.split(".")))


def read(namespace: str, keys: Iterable[str]) -> dict[str, str]:
    """The values of the keys that exist. Raises NotFoundError when there is no such namespace."""
    values = {}
    with netns.inside(namespace):
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                values[key] = _value(_file(key))
    return values


@functools.lru_cache(maxsize=65536)
def _file(key: str) -> str:
    return str(path(key))


def _value(file: str) -> str:
    """A file of /proc in three system calls; each agent looks at a dozen every second."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096).decode().strip()
    finally:
        os.close(fd)


def matching(namespace: str, pattern: str) -> dict[str, str]:
    """The values of all keys that a pattern ("net.ipv4.conf.*.forwarding") stands for. Raises NotFoundError."""
    before, _, after = pattern.partition("*")
    with netns.inside(namespace):
        parts = [place.name for place in path(before.rstrip(".")).iterdir()]
    return read(namespace, [f"{before}{part.replace('.', '/')}{after}" for part in sorted(parts)])


def write(namespace: str, values: Mapping[str, str]) -> None:
    """Set them in order. Raises KernelError (UnsupportedError where the machine has no such key or forbids it)."""
    with netns.inside(namespace):
        for key, value in values.items():
            try:
                path(key).write_text(value)
            except OSError as error:
                raise _refused(namespace, key, value, error) from error


def _refused(namespace: str, key: str, value: str, error: OSError) -> KernelError | UnsupportedError:
    where = "" if is_host(namespace) else f" in {namespace}"
    if error.errno == errno.ENOENT:
        hint = (
            "load the kernel module: modprobe br_netfilter"
            if key.startswith("net.bridge.")
            else "the device or the kernel feature it belongs to is missing"
        )
        return UnsupportedError(f"there is no sysctl {key}{where}", hint)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "run as root; in a container, run it privileged or with /proc/sys writable"
        return UnsupportedError(f"sysctl {key}={value}{where}: {error.strerror}", hint)
    return KernelError(f"sysctl {key}={value}{where}: {error.strerror}", operation=f"sysctl -w {key}={value}")
