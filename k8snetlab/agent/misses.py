"""The miss responder: answers what the kernel asks of a tunnel, as early flannel did, for all nodes of this machine.

It has a thread of its own, so that whatever else the daemon does, a first packet waits for nothing but its answer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from k8snetlab.agent.miss_queue import MissQueue
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.resolution import Found, Resolution, Resolutions
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import netns
from k8snetlab.kernel.misses import Miss, Misses, MissesLost
from k8snetlab.messages.nodes import AnsweredMiss
from k8snetlab.supervision import Supervisor

log = logging.getLogger(__name__)
RETRY = 1.0
"""Seconds after which a node whose sockets failed is looked at again."""
BATCH = 128
"""Misses of one node that are looked at before it is the others' turn."""
REST = 0.01
"""Seconds that a node is left alone after a whole batch that could not be answered: a flood gets no core of ours."""


class MissResponder:
    """Answers the misses of the nodes it attends to. Any thread may call any method."""

    def __init__(self, supervisor: Supervisor | None = None) -> None:
        self._supervisor = supervisor or Supervisor()
        self._lock = threading.Lock()
        self._queues: dict[str, MissQueue] = {}
        self._muted: set[str] = set()
        self._listeners: list[Callable[[AnsweredMiss], None]] = []
        self._poll: select.epoll | None = None
        self._bell = -1
        self._thread: threading.Thread | None = None

    def attend(self, node: str, desired: Netns) -> None:
        """Answers the node's misses from `desired.resolutions` from now on, and from nothing older.

        A namespace without a device that raises misses is left alone. Raises NotFoundError.
        """
        devices = desired.asking
        if not devices:
            self.leave(node)
            return
        inode = netns.inode(desired.name)
        with self._lock:
            queue = self._queues.get(node)
            if node in self._muted or (queue and queue.inode == inode and queue.resolutions == desired.resolutions):
                return
            self._start()
            if queue is None or queue.inode != inode:
                self._drop(node)
                queue = self._queues[node] = MissQueue(node, inode, Misses(desired.name))
                self._register(queue)
            queue.devices, queue.resolutions = devices, desired.resolutions
            queue.known = Resolutions(desired.resolutions)
            queue.unknown.clear()
            queue.due = 0.0
        self._ring()

    def attends(self, node: str) -> bool:
        """Whether the node's misses are received."""
        return node in self._queues and self._thread is not None and self._thread.is_alive()

    def leave(self, node: str) -> None:
        """Stops receiving the node's misses; the answers given stay."""
        with self._lock:
            self._drop(node)

    def mute(self, node: str) -> None:
        """As `leave`; and `attend` does nothing for the node until `unmute`."""
        with self._lock:
            self._muted.add(node)
            self._drop(node)

    def unmute(self, node: str) -> None:
        with self._lock:
            self._muted.discard(node)

    @contextlib.contextmanager
    def listening(self, listener: Callable[[AnsweredMiss], None]) -> Iterator[None]:
        """Calls `listener` with every answer, in the responder's thread: it must be quick and must not raise."""
        self._listeners = [*self._listeners, listener]
        try:
            yield
        finally:
            self._listeners = [other for other in self._listeners if other is not listener]

    def close(self) -> None:
        """Ends the thread; the answers given stay."""
        with self._lock:
            thread, self._thread = self._thread, None
            for node in list(self._queues):
                self._drop(node)
        if thread is not None and self._poll is not None:
            self._ring()
            thread.join()
            self._poll.close()
            os.close(self._bell)

    # --- the thread ---

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._poll, self._bell = select.epoll(), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._bell, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, args=(self._poll,), name="misses", daemon=True)
        self._thread.start()

    def _run(self, poll: select.epoll) -> None:
        wait: float | None = None
        while self._thread is threading.current_thread():
            try:
                wait = self._turn(poll, wait)
            except Exception as error:
                self._supervisor.note("miss responder", error)
                time.sleep(RETRY)
                wait = 0.0

    def _turn(self, poll: select.epoll, wait: float | None) -> float | None:
        ready = {fd for fd, _ in poll.poll(wait)}
        if self._bell in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)
        with self._lock:
            for queue in list(self._queues.values()):
                if queue.fd in ready:
                    self._guarded(self._receive, queue)
            return self._overdue()

    def _overdue(self) -> float | None:
        """Does what is due; returns the seconds until more is."""
        now, waits = time.monotonic(), []
        for queue in list(self._queues.values()):
            if queue.due is not None and queue.due <= now:
                queue.due = None
                self._guarded(self._resync, queue)
            if queue.resting is not None and queue.resting <= now:
                queue.resting = None
                self._register(queue)
            waits += [at for at in (queue.due, queue.resting) if at is not None]
        return max(min(waits) - now, 0.0) if waits else None

    def _guarded(self, work: Callable[[MissQueue], None], queue: MissQueue) -> None:
        """A failure in one node stops none of the others."""
        try:
            work(queue)
        except (K8sNetLabError, OSError) as error:
            log.warning("misses of %s: %s", queue.node, error)
            queue.due = time.monotonic() + RETRY
        except Exception:
            log.exception("misses of %s", queue.node)
            queue.due = time.monotonic() + RETRY

    def _receive(self, queue: MissQueue) -> None:
        answered = False
        for _ in range(BATCH):
            try:
                miss = queue.misses.receive()
            except MissesLost:
                queue.overrun()
                continue
            if miss is None:
                break
            answered = self._consider(queue, miss) or answered
        else:
            if not answered:
                self._unregister(queue)
                queue.resting = time.monotonic() + REST
        queue.forget()

    def _resync(self, queue: MissQueue) -> None:
        """Reads the tables instead of listening: what waits for an answer, and whether the answers given still hold."""
        queue.looked = time.monotonic()
        vteps = set()
        for entry in queue.misses.entries():
            if entry.state in ("INCOMPLETE", "PROBE"):
                self._consider(queue, entry)
            elif entry.lladdr:
                vteps.add((entry.ifindex, entry.lladdr))
        for ifindex, lladdr in vteps:
            if found := queue.known.vtep(queue.misses.device(ifindex), lladdr):
                queue.misses.answer(Miss("L2", ifindex, lladdr, ""), found.lladdr, found.dst)
        queue.misses.refusal()  # a device that has gone took its entries along
        queue.forget()

    def _consider(self, queue: MissQueue, miss: Miss) -> bool:
        """Answers if it can; returns whether it did."""
        began = time.perf_counter_ns()
        device = queue.misses.device(miss.ifindex)
        if device not in queue.devices:
            return False
        find = queue.known.address if miss.kind == "L3" else queue.known.vtep
        found = find(device, miss.address)
        if found is None:
            if queue.remember(miss):
                self._tell(queue, device, miss)
            queue.note(f"{device} asks for {_text(miss.address)}, which no node has")
            return False
        if not queue.repeated(miss):
            queue.misses.answer(miss, found.lladdr, found.dst)
            took = (time.perf_counter_ns() - began) / 1000
            error = queue.misses.refusal()
            self._tell(queue, device, miss, found, microseconds=took, error=error)
            if error:
                queue.note(f"{device} asks for {_text(miss.address)} and refuses the answer: {error}")
        return True

    def _tell(
        self,
        queue: MissQueue,
        device: str,
        miss: Miss,
        found: Found | None = None,
        *,
        microseconds: float = 0.0,
        error: str = "",
    ) -> None:
        if not self._listeners:
            return
        address, known = _text(miss.address), found.resolution if found else Resolution("", "", "", "", "")
        answer = AnsweredMiss(
            time=time.time(),
            node=queue.node,
            device=device,
            miss=miss.kind,
            address=address,
            state=miss.state,
            lladdr=known.lladdr,
            dst=known.dst,
            key=known.key,
            microseconds=microseconds,
            error=error,
        )
        for listener in self._listeners:
            listener(answer)

    def _register(self, queue: MissQueue) -> None:
        assert self._poll is not None
        self._poll.register(queue.fd, select.EPOLLIN)

    def _unregister(self, queue: MissQueue) -> None:
        assert self._poll is not None
        if queue.resting is None:
            self._poll.unregister(queue.fd)

    def _drop(self, node: str) -> None:
        if queue := self._queues.pop(node, None):
            self._unregister(queue)
            queue.misses.close()

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)


def _text(address: bytes) -> str:
    """172.30.9.0, fd00::, or 96:8f:2d:49:c5:31."""
    return ":".join(f"{byte:02x}" for byte in address) if len(address) == 6 else str(ip_address(address))
