"""Whether anything was mounted or unmounted: a name of a namespace is a bind mount, and of such no netlink event tells.

Source: proc_pid_mounts(5): a poll of the file ends with POLLERR and POLLPRI when the table of mounts has changed.
"""

from __future__ import annotations

import os
import select
import weakref


class Mounts:
    """Watches the table of mounts of this process."""

    def __init__(self) -> None:
        fd = os.open("/proc/self/mounts", os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, fd)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLPRI)
        self._asked = False

    def changed(self) -> bool:
        """Whether it changed since this was asked last; true the first time. One system call."""
        first, self._asked = not self._asked, True
        return bool(self._poll.poll(0)) or first

    def close(self) -> None:
        """More than once, too; one that nobody holds any more is closed by itself."""
        self._close()
