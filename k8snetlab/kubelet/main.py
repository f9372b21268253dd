"""The kubelet: the process that holds the pods' responders and supervises their commands.

It is a process of its own so that a killed or restarted daemon never breaks an answer. The daemon talks to it over a
unix socket, one JSON line each way (`workload.KubeletRequest`, `workload.KubeletResponse`); any number of daemons may
come and go.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from k8snetlab.api.workload import ADDON, HealthWork, KubeletRequest, KubeletResponse, PodState, PodWork
from k8snetlab.kubelet.ending import LEAST
from k8snetlab.kubelet.health import HealthChecks
from k8snetlab.kubelet.instance import KILLED
from k8snetlab.kubelet.names import NamesOutside
from k8snetlab.kubelet.nameserver import NameServer
from k8snetlab.kubelet.rotation import LogKeeper
from k8snetlab.kubelet.runner import PodRunner
from k8snetlab.supervision import Supervisor

log = logging.getLogger(__name__)

LOOK = 2.0
"""Seconds between two looks at the socket's file: when it is gone, the lab is gone, and the kubelet ends."""


class Kubelet:
    """All pods of one lab on this machine, by uid."""

    def __init__(self) -> None:
        self._pods: dict[str, PodRunner] = {}
        self._stopping: dict[str, PodRunner] = {}
        self._health: dict[str, HealthChecks] = {}
        self._names: dict[str, NamesOutside] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._told: set[asyncio.StreamWriter] = set()
        """Those that are told what changes by itself."""
        self._connections: set[asyncio.Task[Any]] = set()
        self._logs = LogKeeper()
        self._nameserver = NameServer()
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(KubeletRequest).decode

    async def serve(self, path: Path, stop: asyncio.Event, names: str = "") -> None:
        """Until `stop`, or until the socket is gone. The name server of the lab `names` begins at once."""
        if names:
            with contextlib.suppress(OSError):  # who needs it is told why it cannot begin
                self._nameserver.prepare(names)
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._connection, path, limit=1 << 26)
        path.chmod(0o600)
        while not stop.is_set() and path.exists():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK)
        server.close()
        await self._end()
        await self._nameserver.close()
        self._logs.close()
        for writer in self._writers:
            writer.close()
        if self._connections:  # they notice and end; cancelling them would log an error for each
            await asyncio.wait(self._connections, timeout=1)

    async def _end(self) -> None:
        """Ends all pods, in haste, and waits for those that are being stopped already."""
        for pod in self._stopping.values():
            pod.signal(signal.SIGKILL)
        stopping = (pod.stop(grace=min(LEAST, pod.grace), hasty=True) for pod in self._pods.values())
        await asyncio.gather(*stopping, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILLED):
                while self._stopping:
                    await asyncio.sleep(0.02)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if connection := asyncio.current_task():
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                request = self._decode(line)
                if request.op == "stop":
                    # Stopping takes as long as the pods' grace; the next request must not wait for it.
                    task = asyncio.create_task(self._reply(writer, request))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                else:
                    await self._reply(writer, request)
        except (ConnectionError, asyncio.IncompleteReadError, msgspec.MsgspecError):
            pass
        finally:
            self._writers.discard(writer)
            self._told.discard(writer)
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, request: KubeletRequest) -> None:
        error, states = "", tuple[PodState, ...]()
        try:
            match request.op:
                case "run":
                    if request.lab:
                        self._nameserver.prepare(request.lab)
                    run = await asyncio.gather(*(self._run(work) for work in request.pods))
                    states = tuple(pod.take() for pod in run)  # now: what has been told meanwhile is not older
                case "stop":
                    states = tuple(
                        await asyncio.gather(
                            *(self._stop(uid, request.keep, request.grace, request.most) for uid in request.uids)
                        )
                    )
                case "health":
                    error = await self._answer_health(request.health)
                case "list":
                    self._told.add(writer)
                    states = tuple(pod.state for uid, pod in self._pods.items() if not uid.startswith(ADDON))
                case "addons":
                    begin = request.uids or ADDON
                    states = tuple(pod.state for uid, pod in self._pods.items() if uid.startswith(begin))
                case "signal":
                    for uid in request.uids:
                        self._pods[uid].signal(signal.Signals(request.signal), request.container)
        except Exception as problem:  # the asker is told, and the next request is served
            log.exception("%s", request.op)
            error = f"{type(problem).__name__}: {problem}"
        self._send(writer, KubeletResponse(id=request.id, states=states, error=error))

    async def _answer_health(self, work: HealthWork | None) -> str:
        if work is None:
            return ""
        checks = self._health.setdefault(work.netns, HealthChecks())
        names = self._names.setdefault(work.netns, NamesOutside())
        problems = await checks.update(work) + await names.update(work.netns, work.names)
        if not work.ports:
            self._health.pop(work.netns).close()
        if not work.names:
            self._names.pop(work.netns).close()
        return "; ".join(problems)

    async def _run(self, work: PodWork) -> PodRunner:
        """Starts the pod; one that runs already is left as it is."""
        pod = self._pods.get(work.uid)
        if pod is None:
            pod = self._pods[work.uid] = PodRunner(work, self._logs, self._changed, self._nameserver)
            try:
                await pod.start()
            except Exception:
                log.exception("pod %s/%s", work.namespace, work.name)
        return pod

    async def _stop(self, uid: str, keep: bool, grace: float | None, most: float | None) -> PodState:
        if grace is not None and (ending := self._stopping.get(uid)):
            await ending.hurry(grace)
        pod = self._pods.pop(uid, None)
        if pod is None:
            return PodState(uid, ())
        self._stopping[uid] = pod
        try:
            seconds = pod.grace if grace is None else grace
            await pod.stop(seconds if most is None else min(seconds, most), keep)
        except Exception:
            log.exception("pod %s", uid)
        finally:
            del self._stopping[uid]
        return pod.take()

    def _changed(self, pod: PodRunner) -> None:
        if self._pods.get(pod.uid) is not pod or pod.uid.startswith(ADDON):
            return  # it is being stopped: the answer to that request carries the rest
        state = pod.take() if self._told else pod.state
        for writer in self._told:
            self._send(writer, KubeletResponse(states=(state,)))

    def _send(self, writer: asyncio.StreamWriter, response: KubeletResponse) -> None:
        if not writer.is_closing():
            writer.write(self._encode(response) + b"\n")


async def _main(path: Path, names: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    loop.set_exception_handler(Supervisor().unseen)
    await Kubelet().serve(path, stop, names)


def main() -> None:
    """Starts once a byte arrives on standard input: the ledger then has this process."""
    parser = argparse.ArgumentParser(prog="k8snetlab-kubelet")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--names", default="", metavar="LAB")
    arguments = parser.parse_args()
    if not sys.stdin.buffer.read(1):
        return  # the daemon died before it could write this process into the ledger
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.freeze()  # what is imported stays: each look for garbage would go through all of it, for 9 ms
    os.umask(0o077)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )
    asyncio.run(_main(arguments.socket, arguments.names))


if __name__ == "__main__":
    main()
