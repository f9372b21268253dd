"""The daemon's line to the kubelet: starts it where it does not run, has it run and stop pods, receives its news."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial

import msgspec
from msgspec.structs import replace

from k8snetlab.api.workload import HealthWork, KubeletRequest, KubeletResponse, PodState, PodWork
from k8snetlab.errors import DaemonError
from k8snetlab.state.ledger import Ledger, let_begin
from k8snetlab.state.paths import LabPaths
from k8snetlab.supervision import Supervisor

log = logging.getLogger(__name__)
GRACE = 2.0
"""Seconds that a kubelet gets between SIGTERM and SIGKILL."""
START = 60.0
"""Seconds that a kubelet may take to answer; `up.START` is a daemon's."""


def started(paths: LabPaths, ledger: Ledger, names: str = "") -> subprocess.Popen[bytes] | None:
    """The kubelet's process, which begins, with the name server of the lab `names`; None where one is alive."""
    if ledger.alive("kubelet") is not None:
        return None
    paths.kubelet_socket.unlink(missing_ok=True)
    with paths.kubelet_log.open("ab") as log:
        command = [sys.executable, "-m", "k8snetlab.kubelet.main", "--socket", str(paths.kubelet_socket)]
        process = subprocess.Popen(
            [*command, "--names", names] if names else command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    let_begin(process, ledger, "kubelet")
    return process


class KubeletLink:
    """`states` holds the last word on each pod, by uid; it is a new dict whenever the line breaks or comes back.
    `changed` is called with what the kubelet reports unasked.

    `problems` tells what keeps a node's health checks from being answered, by the node's namespace.
    """

    def __init__(
        self,
        paths: LabPaths,
        ledger: Ledger,
        changed: Callable[[tuple[PodState, ...]], None],
        supervisor: Supervisor,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        """`process` is the kubelet, where this process has started it already."""
        self._paths, self._ledger, self._changed, self._supervisor = paths, ledger, changed, supervisor
        self._process = process
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[KubeletResponse]] = {}
        self._health: dict[str, HealthWork] = {}
        self._ids = itertools.count(1)
        self._connected = asyncio.Event()
        self.states: dict[str, PodState] = {}
        self.problems: dict[str, str] = {}

    @property
    def pid(self) -> int | None:
        process = self._ledger.alive("kubelet")
        return process.pid if process is not None else None

    def start(self) -> None:
        """Starts the process where none is alive; what an earlier one ran is gone with it."""
        if self._process is not None:
            self._process.poll()
        self._process = started(self._paths, self._ledger) or self._process

    async def run(self) -> None:
        """Keeps the line up, starting the kubelet anew when it has died. Raises DaemonError for one that ends at once.

        One that an earlier version has left, and that says what this one cannot read, is replaced.
        """
        began = asyncio.get_running_loop().time()
        answered: subprocess.Popen[bytes] | None = None
        while True:
            self.start()
            try:
                reader, self._writer = await asyncio.open_unix_connection(self._paths.kubelet_socket, limit=1 << 26)
            except OSError:
                await asyncio.sleep(0.005)
                own = self._process
                if own is not None and own is not answered and own.poll() is not None:
                    raise DaemonError(f"the kubelet ended with {own.returncode} before it answered") from None
                if asyncio.get_running_loop().time() - began > START:
                    raise DaemonError(f"the kubelet does not answer after {START:.0f} s") from None
                continue
            answered, ending = self._process, False
            try:
                with contextlib.suppress(ConnectionError):
                    await self._listen(reader)
                log.warning("the kubelet went away; it is started again")
            except msgspec.MsgspecError as error:
                log.warning("the kubelet is another version's (%s); it is replaced, and its pods begin anew", error)
                if process := self._ledger.alive("kubelet"):
                    await asyncio.to_thread(process.stop, GRACE)
            except asyncio.CancelledError:
                ending = True
                raise
            finally:
                self._hang_up(ending)
            began = asyncio.get_running_loop().time()

    async def request(
        self,
        op: str,
        pods: Iterable[PodWork] = (),
        uids: Iterable[str] = (),
        *,
        keep: bool = False,
        grace: float | None = None,
        most: float | None = None,
        lab: str = "",
    ) -> tuple[PodState, ...]:
        """Runs or stops pods; returns their states. Waits for the line, raises DaemonError when it breaks."""
        await self._connected.wait()
        uids = tuple(uids)
        request = KubeletRequest(
            id=next(self._ids),
            op=op,  # type: ignore[arg-type]
            pods=tuple(pods),
            uids=uids,
            keep=keep,
            grace=grace,
            most=most,
            lab=lab,
        )
        answer = await self._send(request)
        if answer.error:
            log.warning("kubelet: %s: %s", op, answer.error)
        for uid in uids:
            self.states.pop(uid, None)
        return answer.states

    def _note(self, states: Iterable[PodState]) -> None:
        """Keeps the states without what happened: that is told once, by the caller."""
        for state in states:
            self.states[state.uid] = replace(state, happened=())

    async def answer_health(self, work: HealthWork) -> None:
        """Has a node's healthCheckNodePorts answered so, from now on and by every later kubelet."""
        if self._health.get(work.netns, HealthWork(work.netns, {})) != work:
            self._health[work.netns] = work
            if self._connected.is_set():
                await self._send_health(work)

    async def forget_health(self, namespace: str) -> None:
        """Lets go of the sockets that the kubelet has in a node's namespace."""
        await self.answer_health(HealthWork(namespace, {}))
        self._health.pop(namespace, None)
        self.problems.pop(namespace, None)

    @property
    def health_namespaces(self) -> frozenset[str]:
        return frozenset(self._health)

    async def _send_health(self, work: HealthWork) -> None:
        answer = await self._send(KubeletRequest(id=next(self._ids), op="health", health=work))
        self.problems.pop(work.netns, None)
        if answer.error:
            self.problems[work.netns] = answer.error
            self._supervisor.finish(f"health checks of {work.netns}", partial(self._try_again, work))

    async def _try_again(self, work: HealthWork) -> None:
        """Another program may let go of the port."""
        await asyncio.sleep(1)
        if self._health.get(work.netns) == work and self._connected.is_set():
            await self._send_health(work)

    async def _send(self, request: KubeletRequest) -> KubeletResponse:
        assert self._writer is not None
        answer: asyncio.Future[KubeletResponse] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = answer
        self._writer.write(msgspec.json.encode(request) + b"\n")
        return await answer

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        decode = msgspec.json.Decoder(KubeletResponse).decode
        first = asyncio.create_task(self._introduce())
        first.add_done_callback(self._introduced)
        try:
            while line := await reader.readline():
                response = decode(line)
                self._note(response.states)  # here, in the order in which they were sent: who asked may be woken later
                if response.id:
                    answer = self._waiting.pop(response.id, None)
                    if answer is not None and not answer.done():
                        answer.set_result(response)
                else:
                    self._changed(response.states)
        finally:
            first.cancel()
            with contextlib.suppress(asyncio.CancelledError, DaemonError):
                await first

    def _introduced(self, first: asyncio.Task[None]) -> None:
        """What went wrong with it is raised by `_listen`, which has nothing more to receive."""
        if not first.cancelled() and first.exception() is not None and self._writer is not None:
            self._writer.close()

    async def _introduce(self) -> None:
        """Asks what runs already, which a restarted daemon adopts. A restarted kubelet is told the rest."""
        await self._send(KubeletRequest(id=next(self._ids), op="list"))
        self.states = dict(self.states)
        self._connected.set()
        for work in list(self._health.values()):
            await self._send_health(work)

    def _hang_up(self, ending: bool) -> None:
        """`ending`: it is this daemon that goes, and the pods run on; else they have gone with the kubelet."""
        self._connected.clear()
        gone = tuple(PodState(uid, ()) for uid in self.states)
        self.states = {}
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(DaemonError("the kubelet went away", "it is started again by itself"))
        self._waiting.clear()
        if not ending:
            self._changed(gone)
