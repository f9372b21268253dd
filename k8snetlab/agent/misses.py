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

import msgspec

from k8snetlab.agent.miss_queue import Ear
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.resolution import Found, Resolution, Resolutions
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import netns
from k8snetlab.kernel.misses import Miss, Misses, MissesLost
from k8snetlab.supervision import Supervisor

log = logging.getLogger(__name__)
RETRY = 1.0
"""Seconds after which a node whose sockets failed is looked at again."""
BATCH = 128
"""Misses of one node that are looked at before it is the others' turn."""
REST = 0.01
"""Seconds that a node is left alone after a whole batch that could not be answered: a flood gets no core of ours."""


class Answer(msgspec.Struct, frozen=True):
    """What the kernel asked (`miss` is L3 or L2) and was told: `lladdr` and `dst` as in the store at `key`.

    Without `key` nobody knows the address, and nothing was told. `state` is that of the entry that was asked about,
    `microseconds` the time from hearing the question to having answered it, `time` in epoch seconds; `error` is why
    the kernel refused the answer.
    """

    time: float
    node: str
    device: str
    miss: str
    address: str
    state: str = ""
    lladdr: str = ""
    dst: str = ""
    key: str = ""
    microseconds: float = 0.0
    error: str = ""


class MissResponder:
    """Answers the misses of those nodes that it attends to. Every method may be called from any thread."""

    def __init__(self, supervisor: Supervisor | None = None) -> None:
        self._supervisor = supervisor or Supervisor()
        self._lock = threading.Lock()
        self._ears: dict[str, Ear] = {}
        self._muted: set[str] = set()
        self._listeners: list[Callable[[Answer], None]] = []
        self._poll: select.epoll | None = None
        self._bell = -1
        self._thread: threading.Thread | None = None

    def attend(self, node: str, desired: Netns) -> None:
        """From now on the node's misses are answered from `desired.resolutions`, and from nothing older.

        A namespace without a device that raises misses is left alone. Raises NotFoundError.
        """
        devices = desired.asking
        if not devices:
            self.leave(node)
            return
        inode = netns.inode(desired.name)
        with self._lock:
            ear = self._ears.get(node)
            if node in self._muted or (ear and ear.inode == inode and ear.resolutions == desired.resolutions):
                return
            self._start()
            if ear is None or ear.inode != inode:
                self._drop(node)
                ear = self._ears[node] = Ear(node, inode, Misses(desired.name))
                self._register(ear)
            ear.devices, ear.resolutions = devices, desired.resolutions
            ear.known = Resolutions(desired.resolutions)
            ear.unknown.clear()
            ear.due = 0.0
        self._ring()

    def leave(self, node: str) -> None:
        """The node's misses are heard no more; what they were answered with stays."""
        with self._lock:
            self._drop(node)

    def mute(self, node: str) -> None:
        """As `leave`, and whoever wants to `attend` to it is not heeded until `unmute`."""
        with self._lock:
            self._muted.add(node)
            self._drop(node)

    def unmute(self, node: str) -> None:
        with self._lock:
            self._muted.discard(node)

    @contextlib.contextmanager
    def listening(self, listener: Callable[[Answer], None]) -> Iterator[None]:
        """`listener` is told of every answer, in the responder's thread: it must be quick and must not raise."""
        self._listeners = [*self._listeners, listener]
        try:
            yield
        finally:
            self._listeners = [other for other in self._listeners if other is not listener]

    def close(self) -> None:
        """Ends the thread; what the kernel was told stays."""
        with self._lock:
            thread, self._thread = self._thread, None
            for node in list(self._ears):
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
            for ear in list(self._ears.values()):
                if ear.fd in ready:
                    self._guarded(self._hear, ear)
            return self._overdue()

    def _overdue(self) -> float | None:
        """What is to be done by the clock; the seconds until there is more of it."""
        now, waits = time.monotonic(), []
        for ear in list(self._ears.values()):
            if ear.due is not None and ear.due <= now:
                ear.due = None
                self._guarded(self._resync, ear)
            if ear.resting is not None and ear.resting <= now:
                ear.resting = None
                self._register(ear)
            waits += [at for at in (ear.due, ear.resting) if at is not None]
        return max(min(waits) - now, 0.0) if waits else None

    def _guarded(self, work: Callable[[Ear], None], ear: Ear) -> None:
        """One node's trouble is not the others'."""
        try:
            work(ear)
        except (K8sNetLabError, OSError) as error:
            log.warning("misses of %s: %s", ear.node, error)
            ear.due = time.monotonic() + RETRY
        except Exception:
            log.exception("misses of %s", ear.node)
            ear.due = time.monotonic() + RETRY

    def _hear(self, ear: Ear) -> None:
        answered = False
        for _ in range(BATCH):
            try:
                miss = ear.misses.hear()
            except MissesLost:
                ear.lost()
                continue
            if miss is None:
                break
            answered = self._consider(ear, miss) or answered
        else:
            if not answered:
                self._unregister(ear)
                ear.resting = time.monotonic() + REST
        ear.forget()

    def _resync(self, ear: Ear) -> None:
        """Looks for itself instead of listening: at what waits, and at whether what was told still holds."""
        ear.looked = time.monotonic()
        vteps = set()
        for entry in ear.misses.entries():
            if entry.state in ("INCOMPLETE", "PROBE"):
                self._consider(ear, entry)
            elif entry.lladdr:
                vteps.add((entry.ifindex, entry.lladdr))
        for ifindex, lladdr in vteps:
            if found := ear.known.vtep(ear.misses.device(ifindex), lladdr):
                ear.misses.answer(Miss("L2", ifindex, lladdr, ""), found.lladdr, found.dst)
        ear.misses.refusal()  # a device that went meanwhile has taken its entries along
        ear.forget()

    def _consider(self, ear: Ear, miss: Miss) -> bool:
        """Answers where there is an answer; whether there was."""
        began = time.perf_counter_ns()
        device = ear.misses.device(miss.ifindex)
        if device not in ear.devices:
            return False
        find = ear.known.address if miss.kind == "L3" else ear.known.vtep
        found = find(device, miss.address)
        if found is None:
            if ear.wonders(miss):
                self._tell(ear, device, miss)
            ear.note(f"{device} asks for {_text(miss.address)}, which no node has")
            return False
        if not ear.repeated(miss):
            ear.misses.answer(miss, found.lladdr, found.dst)
            took = (time.perf_counter_ns() - began) / 1000
            error = ear.misses.refusal()
            self._tell(ear, device, miss, found, took, error)
            if error:
                ear.note(f"{device} asks for {_text(miss.address)} and refuses the answer: {error}")
        return True

    def _tell(
        self, ear: Ear, device: str, miss: Miss, found: Found | None = None, microseconds: float = 0.0, error: str = ""
    ) -> None:
        if not self._listeners:
            return
        address, known = _text(miss.address), found.resolution if found else Resolution("", "", "", "", "")
        answer = Answer(
            time=time.time(),
            node=ear.node,
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

    def _register(self, ear: Ear) -> None:
        assert self._poll is not None
        self._poll.register(ear.fd, select.EPOLLIN)

    def _unregister(self, ear: Ear) -> None:
        assert self._poll is not None
        if ear.resting is None:
            self._poll.unregister(ear.fd)

    def _drop(self, node: str) -> None:
        if ear := self._ears.pop(node, None):
            self._unregister(ear)
            ear.misses.close()

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)


def _text(address: bytes) -> str:
    """172.30.9.0, fd00::, or 96:8f:2d:49:c5:31."""
    return ":".join(f"{byte:02x}" for byte in address) if len(address) == 6 else str(ip_address(address))
