"""The monitors of several namespaces, on one descriptor that outlives each of them.

Whoever waits in one thread while another makes and closes monitors must not wait for the monitors themselves: a number
that one thread closes is given to something else before the other has stopped to watch it. The epoll that is waited
for here forgets what is closed by itself (epoll(7), Q6).
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping

from k8snetlab.kernel.watch import Kind, Monitor, Watch, crowded


class Monitors(Mapping[str, Monitor]):
    """The monitors by namespace. `changed` may be called from one thread while another adds and drops."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._held: dict[str, Monitor] = {}
        self._names: dict[int, str] = {}

    def __getitem__(self, name: str) -> Monitor:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._held))

    def __len__(self) -> int:
        return len(self._held)

    def fileno(self) -> int:
        """Readable when there is something that `changed` has not told yet. Only `close` may close it."""
        return self._poll.fileno()

    def add(self, name: str, begun: Watch | None = None) -> Monitor:
        """`begun` where the namespace has just been made. Raises NotFoundError when there is no such namespace."""
        monitor = Monitor(name, begun)
        self._held[name] = monitor
        self._names[monitor.fileno()] = name
        self._poll.register(monitor.fileno(), select.EPOLLIN)
        return monitor

    def drop(self, name: str) -> None:
        """Lets go of a namespace, if it is held."""
        monitor = self._held.pop(name, None)
        if monitor is not None:
            self._names.pop(monitor.fileno(), None)
            monitor.close()

    def crowded(self, pods: int) -> bool:
        """As `watch.crowded`."""
        return crowded(pods)

    @property
    def silent(self) -> list[str]:
        """The namespaces that nothing is heard of yet. From any thread."""
        return [name for name, monitor in list(self._held.items()) if not monitor.hears]

    def readable(self) -> list[str]:
        """The namespaces of which `changed` has something to tell, or some noise. From any thread."""
        return [name for fd, _ in self._poll.poll(0) if (name := self._names.get(fd)) is not None]

    def changed(self) -> dict[str, frozenset[Kind]]:
        """The namespaces in which something changed since this was asked last, and the kinds of what did."""
        readable = (self._names.get(fd) for fd, _ in self._poll.poll(0))
        monitors = [(name, self._held.get(name)) for name in readable if name is not None]
        return {name: kinds for name, monitor in monitors if monitor is not None and (kinds := monitor.drain())}

    def close(self) -> None:
        """To be called when nothing waits for `fileno` any more."""
        for name in self:
            self.drop(name)
        self._poll.close()
