"""`python -m k8snetlab.nameserver`: the server of all DNS pods of a lab on this machine, or of one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from k8snetlab.api.config import ConfigMap
from k8snetlab.api.core import Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.snapshot import Change
from k8snetlab.api.workload import NameService, NamesRequest, NamesResponse
from k8snetlab.client.client import Client
from k8snetlab.dns import addon
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import syscalls
from k8snetlab.nameserver.pod import PodServer
from k8snetlab.nameserver.settings import Settings, read
from k8snetlab.nameserver.watching import PODS, WANTED, Wanted, Watching, World, corefile

log = logging.getLogger(__name__)


class Server:
    """The pods that are served, by key, and the objects that all of them answer from. `failed` is told of a pod that is
    served no more, and why."""

    def __init__(self, lab: str) -> None:
        self.failed: Callable[[str, str], None] = lambda key, why: None
        self._loop = asyncio.get_running_loop()
        self._world = World(*WANTED)
        self._pods: dict[str, PodServer] = {}
        self._watching = Watching(Client(lab), self._told)
        self._watching.begin(*WANTED)

    async def serve(self, key: str, names: NameService) -> None:
        """From now on. Raises OSError where a port cannot be had, K8sNetLabError where the namespace is gone."""
        self.leave(key)
        pod = self._pods[key] = PodServer(key, names, lambda: self._world.snapshot, partial(self._fail, key))
        wanted = corefile(names.config)
        self._watching.begin(wanted)
        if self._world.knows(wanted):
            self._configure(pod)
        try:
            await pod.open()
        except BaseException:
            self.leave(key)
            raise

    def _fail(self, key: str, why: str) -> None:
        self.leave(key)
        self.failed(key, why)

    def leave(self, key: str) -> None:
        if pod := self._pods.pop(key, None):
            pod.close()

    def close(self) -> None:
        self._watching.close()
        for key in list(self._pods):
            self.leave(key)

    def _told(self, wanted: Wanted, changes: Sequence[Change], whole: bool) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and this process has not
            self._loop.call_soon_threadsafe(self._take, wanted, changes, whole)

    def _take(self, wanted: Wanted, changes: Sequence[Change], whole: bool) -> None:
        self._world.take(wanted, changes, whole)
        if whole or wanted.kind in (ConfigMap, Service):
            for pod in self._pods.values():
                if self._world.knows(corefile(pod.config)):
                    self._configure(pod)
        if wanted.kind is EndpointSlice:
            for pod in self._pods.values():
                pod.follow()

    def _configure(self, pod: PodServer) -> None:
        pod.take(self._world.get(ConfigMap, pod.config, addon.NAMESPACE))
        if pod.verifies_pods:
            self._world.waits_for(PODS)
            self._watching.begin(PODS)


async def _controlled(server: Server, control: int) -> None:
    """Pods come and go, a line each, until who sends them is gone."""
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=control))
    decode = msgspec.json.Decoder(NamesRequest).decode

    def send(response: NamesResponse) -> None:
        writer.write(msgspec.json.encode(response) + b"\n")

    server.failed = lambda key, why: send(NamesResponse(0, why, key))
    try:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                request, error = decode(line), ""
                try:
                    if request.names:
                        await server.serve(request.key, request.names)
                    else:
                        server.leave(request.key)
                except (OSError, K8sNetLabError) as problem:
                    error = _words(problem)
                except Exception as problem:  # one pod's trouble is none of the others'
                    log.exception("%s", request.key)
                    error = f"{type(problem).__name__}: {problem}"
                send(NamesResponse(request.id, error))
    finally:
        writer.close()


def _words(error: OSError | K8sNetLabError) -> str:
    return error.message if isinstance(error, K8sNetLabError) else error.strerror or str(error)


def within(lab: str, control: socket.socket) -> None:
    """Serves in a thread of another process, until its line ends."""
    asyncio.run(_within(lab, control))


async def _within(lab: str, control: socket.socket) -> None:
    server = Server(lab)
    try:
        await _controlled(server, control.detach())
    finally:
        server.close()


async def _main(settings: Settings) -> None:
    """Until SIGTERM or SIGINT, or until there is nobody any more who could have it serve a pod."""
    server, stop = Server(settings.lab), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    failures: list[str] = []

    def failed(key: str, why: str) -> None:
        failures.append(why)
        stop.set()

    if settings.alone:
        server.failed = failed
        await server.serve("", settings.alone)
    else:
        controlled = asyncio.create_task(_controlled(server, settings.control))
        controlled.add_done_callback(lambda _: stop.set())
    await stop.wait()
    server.close()
    if failures:
        sys.exit(1)


def main() -> None:
    settings = read()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if not settings.alone:
        syscalls.end_with_parent(signal.SIGKILL)
    gc.freeze()
    try:
        asyncio.run(_main(settings))
    except (OSError, K8sNetLabError) as error:
        sys.exit(f"error: {_words(error)}")
