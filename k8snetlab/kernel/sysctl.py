"""Sysctls of a network namespace.

/proc/sys/net shows the namespace of the thread that opens it (proc_sys_net(5)), so each file is opened inside.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from k8snetlab.dataplane.names import is_host
from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import netns, syscalls


def path(key: str) -> Path:
    """The file of a key; a dot inside a part is written as a slash, as in sysctl(8): net.ipv4.conf.flannel/1.x."""
    return Path("/proc", _below_proc(key))


@lru_cache(4096)
def _below_proc(key: str) -> str:
    return "/".join(("sys", *(part.replace("/", ".") for part in key.split("."))))


def read(namespace: str, keys: Iterable[str]) -> dict[str, str]:
    """The values of the keys that exist. Raises NotFoundError when there is no such namespace."""
    values = {}
    with netns.inside(namespace):
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                fd = _procfs.open(key, os.O_RDONLY)
                try:
                    values[key] = _whole(fd)
                finally:
                    os.close(fd)
    return values


class Watched:
    """Some keys of a namespace, read again and again. Their files stay open: to find one takes the kernel up to 1 ms
    where there are a thousand namespaces, to read it 1 µs."""

    def __init__(self, namespace: str, keys: Iterable[str]) -> None:
        self._namespace, self._files = namespace, dict[str, int]()
        self.keys = tuple(keys)

    def read(self) -> dict[str, str]:
        """As `read`. Raises NotFoundError once the kernel has taken the namespace apart."""
        values = {}
        for key, fd in list(self._files.items()):
            try:
                values[key] = _whole(fd)
            except OSError:  # its device has gone, or all of the namespace
                os.close(self._files.pop(key))
        missing = [key for key in self.keys if key not in self._files]
        if missing:
            with netns.inside(self._namespace):
                for key in missing:
                    with contextlib.suppress(FileNotFoundError):
                        self._files[key] = _procfs.open(key, os.O_RDONLY)
                        values[key] = _whole(self._files[key])
        return values

    def close(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])


class _Procfs:
    """Finds files below /proc/sys by an instance of procfs of its own, a new one after some uses.

    In an instance `net/ipv6` stands for another directory in each namespace. The kernel passes by all that were ever
    looked up there, which takes 1 ms where there are a thousand namespaces, and 30 µs in an instance that is new.
    """

    _USES = 64

    def __init__(self) -> None:
        self._lock, self._root, self._uses = threading.Lock(), -1, 0

    def open(self, key: str, flags: int) -> int:
        """In the calling thread's namespace. Raises OSError."""
        file = _below_proc(key)
        with self._lock:
            if self._uses % self._USES == 0:
                self._renew()
            self._uses += 1
            return os.open(file, flags | os.O_CLOEXEC, dir_fd=self._root)

    def _renew(self) -> None:
        """The machine's own where no other can be had, or where that one is not to be written: in containers.

        The last one goes in a thread that nobody waits for: to close it takes 0.1 ms, or up to 8 while another thread
        goes through conntrack's table.
        """
        if self._root >= 0:
            try:
                _thread.start_new_thread(os.close, (self._root,))
            except RuntimeError:  # no thread can be had
                os.close(self._root)
        try:
            protected = os.statvfs("/proc/sys").f_flag & os.ST_RDONLY
            self._root = -1 if protected else syscalls.procfs()
        except OSError:
            self._root = -1
        if self._root < 0:
            self._root = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


_procfs = _Procfs()


def _whole(fd: int) -> str:
    return os.pread(fd, 4096, 0).decode().strip()


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
                fd = _procfs.open(key, os.O_WRONLY | os.O_TRUNC)
                try:
                    os.write(fd, value.encode())
                finally:
                    os.close(fd)
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
