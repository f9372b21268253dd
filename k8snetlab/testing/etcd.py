"""A real etcd on loopback, a proxy before it that can be slow, silent or cut, and patience with a watch."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from k8snetlab.store.protocol import Event
from k8snetlab.store.serve import EtcdProcess, Member, ServerTls, serve

_given: set[int] = set()


def free_port() -> int:
    """A TCP port of loopback, never the same twice: an etcd needs three before it listens on any. It is below those
    that the kernel gives to connections and to whoever asks for any port, so that nobody is given it meanwhile."""
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(min(10_000, ephemeral // 2), ephemeral)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def start_etcd(
    directory: Path,
    *,
    port: int = 0,
    name: str = "test",
    cluster: Mapping[str, str] | None = None,
    tls: ServerTls | None = None,
    quota: int = 0,
) -> EtcdProcess:
    scheme = "https" if tls else "http"
    return serve(
        directory,
        f"{scheme}://127.0.0.1:{port or free_port()}",
        metrics=f"http://127.0.0.1:{free_port()}",
        member=Member(name, cluster[name] if cluster else f"http://127.0.0.1:{free_port()}", cluster),
        tls=tls,
        quota=quota,
    )


async def take(watch: AsyncIterator[tuple[Event, ...]], count: int) -> list[Event]:
    """The next `count` events of a watch (the last batch may bring more)."""
    events: list[Event] = []
    async with asyncio.timeout(30):
        while len(events) < count:
            events += await anext(watch)
    return events


class Proxy:
    """A TCP relay to `port` of this machine that can be slow (`delay` seconds each way), silent, deaf or cut.

    Silent, it carries nothing; deaf, it carries requests and loses the answers.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.delay = 0.0
        self.silent = False
        self.deaf = False
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.port)
            self._writers.add(far)
            await asyncio.gather(self._relay(reader, far), self._relay(far_reader, writer, back=True))
        except OSError:
            pass
        finally:
            for end in (writer, far):
                if end:
                    self._writers.discard(end)
                    end.transport.abort()
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: bool = False) -> None:
        while data := await reader.read(65536):
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.silent or (self.deaf and back):
                continue
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
