"""`python -m k8snetlab.apiserver`: the API alone, over any store, until SIGTERM or SIGINT.

What a real kube-apiserver is: objects are kept, checked, given addresses, listed and watched. What else a cluster does
with them (controllers, a scheduler, kubelets), others do. Several may share one etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from k8snetlab.api.core import Namespace
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.apiserver.access import ROOT
from k8snetlab.apiserver.application import ObjectApi
from k8snetlab.apiserver.asked import Asked, read
from k8snetlab.apiserver.authentication import Authentication
from k8snetlab.apiserver.connections import Connections
from k8snetlab.apiserver.freshness import Freshness
from k8snetlab.apiserver.listener import CONNECTIONS, Listener, bind, shown
from k8snetlab.apiserver.objects import ObjectRoutes
from k8snetlab.apiserver.pages import NoPages
from k8snetlab.apiserver.protocol import Protocol
from k8snetlab.apiserver.server import PeerProtocol
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.controllers import namespaces
from k8snetlab.errors import AlreadyExistsError, ConflictError, InputError, K8sNetLabError
from k8snetlab.state.paths import write_private
from k8snetlab.store.informer import Informer
from k8snetlab.store.keys import Keys
from k8snetlab.store.open import open_store
from k8snetlab.store.protocol import Store
from k8snetlab.supervision import Supervisor

GRACE = 1.0
"""Seconds that requests have to their end."""
REAL = b"k8s\0"
"""What the values of a real API server begin with."""


class OpenProtocol(Protocol):
    """HTTP for whoever is there: all may do everything."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "user": ROOT}


async def serve(asked: Asked) -> None:
    """Raises InputError, StoreError, ConflictError."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as held:
        keys = Keys(asked.keys or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="k8snetlab-api-"))))
        supervisor = Supervisor()
        store = open_store(asked.store, asked.file, patience=asked.patience)
        held.push_async_callback(store.close)
        informer = Informer(store, begin=supervisor.keep)
        await informer.start()
        held.push_async_callback(informer.close)
        held.push_async_callback(supervisor.close)
        await _refuse_a_real_one(store, asked)
        shared = asked.store.type == "etcd"
        cluster = Cluster(store, informer, shared=shared)
        held.push_async_callback(cluster.close)
        if not asked.plain:
            await keys.share(store)
        await _begin(cluster)
        objects = ObjectRoutes(cluster, Authentication(cluster, keys))
        api = ObjectApi(objects, Freshness(store, informer) if shared else None)
        server, user = await held.enter_async_context(_listening(asked, keys, api))
        if asked.kubeconfig:
            _write(asked.kubeconfig, server, user)
        sys.stderr.write(f"serving at {server}\n")
        sys.stderr.flush()
        await stop.wait()


async def _refuse_a_real_one(store: Store, asked: Asked) -> None:
    for entry in (await store.list("/registry/")).entries:
        if entry.value.startswith(REAL):
            raise ConflictError(
                f"the store at {', '.join(asked.store.endpoints) or asked.file} holds {entry.key} as a real "
                "kube-apiserver writes it",
                "nothing was touched; use an etcd of its own (`k8snetlab store serve`)",
            )


async def _begin(cluster: Cluster) -> None:
    """What no other server of the store has made yet."""
    for name in namespaces.SYSTEM:
        if cluster.snapshot.get(Namespace, name) is None:
            with contextlib.suppress(AlreadyExistsError):
                metadata = ObjectMeta(name=name, labels={"kubernetes.io/metadata.name": name})
                await cluster.create(Namespace(metadata=metadata))


@contextlib.asynccontextmanager
async def _listening(asked: Asked, keys: Keys, api: ObjectApi) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Where, and what a kubeconfig says of it. Raises InputError."""
    if asked.plain:
        bound = _at_socket(asked.socket) if asked.socket else bind(asked.host, asked.port)
        with bound:
            where = f"unix:{asked.socket}" if asked.socket else f"http://{shown(asked.host, _port(bound, asked))}"
            app, protocol = (api, PeerProtocol) if asked.socket else (NoPages(api), OpenProtocol)
            connections = Connections(app, protocol, CONNECTIONS)
            await connections.open(bound)
            try:
                yield where, {"cluster": {"server": where}, "user": {}}
            finally:
                await connections.close(GRACE)
                if asked.socket:
                    asked.socket.unlink(missing_ok=True)
        return
    listener = Listener(keys, asked.names)
    listener.app = api
    with bind(asked.host, asked.port) as tried:
        port = _port(tried, asked)
    await listener.open(shown(asked.host, port))
    try:
        pair, ca = listener.pair("admin"), listener.authority.pem
        cluster = {"server": f"https://{listener.reached_at}", "certificate-authority-data": _text(ca)}
        user = {
            "client-certificate-data": _text(pair.cert.read_bytes()),
            "client-key-data": _text(pair.key.read_bytes()),
        }
        yield cluster["server"], {"cluster": cluster, "user": user}
    finally:
        await listener.close()


def _port(bound: socket.socket, asked: Asked) -> int:
    """Raises InputError where another one was taken than was asked for."""
    port: int = bound.getsockname()[1]
    if asked.port not in (0, port):
        bound.close()
        raise InputError(
            f"--listen {shown(asked.host, asked.port)}: another program listens there", "another port; 0 is a free one"
        )
    return port


def _at_socket(path: Path) -> socket.socket:
    """For this user alone, and the group of `access`. One that nobody listens at is taken away first."""
    made = socket.socket(socket.AF_UNIX)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX) as other:
                if other.connect_ex(str(path)) == 0:
                    raise InputError(f"--listen unix:{path}: another program listens there", "choose another path")
            path.unlink()
        mask = os.umask(0o177)
        try:
            made.bind(str(path))
        finally:
            os.umask(mask)
        made.listen(128)
    except OSError as error:
        made.close()
        raise InputError(f"--listen unix:{path}: {error.strerror}", "a path in a directory of yours") from error
    except InputError:
        made.close()
        raise
    return made


def _write(file: Path, server: str, held: dict[str, Any]) -> None:
    """The kubeconfig, as JSON, which is YAML. Raises InputError."""
    name = "k8snetlab-apiserver"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": held["cluster"]}],
        "users": [{"name": "admin", "user": held["user"]}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}}],
        "current-context": name,
    }
    try:
        write_private(file, json.dumps(config, indent=1).encode() + b"\n")
    except OSError as error:
        raise InputError(
            f"--kubeconfig {file}: {error.strerror}", f"a file in a directory of yours; {server} is up no more"
        ) from error


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def main(words: Sequence[str] | None = None) -> int:
    """Its exit code: 0 ended by a signal, 1 what was asked for is not so, 2 wrong input."""
    try:
        asked = read(sys.argv[1:] if words is None else words)
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        gc.set_threshold(10_000)
        asyncio.run(serve(asked))
    except K8sNetLabError as error:
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        return error.exit_code
    return 0
