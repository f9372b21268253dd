"""The REST face over a real cluster in memory, asked as uvicorn asks it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest

from k8snetlab.apiserver.access import User
from k8snetlab.apiserver.authentication import Authentication
from k8snetlab.apiserver.listener import Listener
from k8snetlab.apiserver.objects import ObjectRoutes
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.lab.app import Api
from k8snetlab.lab.operations.attaching import Attaching
from k8snetlab.lab.operations.changing import Changing
from k8snetlab.lab.operations.control_plane import ControlPlaneState
from k8snetlab.lab.operations.drilling import Drilling
from k8snetlab.lab.operations.explaining import Explaining
from k8snetlab.lab.operations.faulting import Faulting
from k8snetlab.lab.operations.following import Following
from k8snetlab.lab.operations.guests import Guests
from k8snetlab.lab.operations.ingresses import IngressesShown
from k8snetlab.lab.operations.linking import Linking
from k8snetlab.lab.operations.machine import ThisMachine
from k8snetlab.lab.operations.pausing import Pausing
from k8snetlab.lab.operations.places import Places
from k8snetlab.lab.operations.powering import Powering
from k8snetlab.lab.operations.processes import Processes
from k8snetlab.lab.operations.reaching import Reaching
from k8snetlab.lab.operations.scheduling import Scheduling
from k8snetlab.lab.operations.snapshotting import Snapshotting
from k8snetlab.lab.operations.standing import Standing
from k8snetlab.lab.operations.tables import Tables
from k8snetlab.lab.table import Table
from k8snetlab.machines.leases import Leases
from k8snetlab.machines.membership import Membership
from k8snetlab.running.agents import Agents
from k8snetlab.running.doors import Doors
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.running.overflows import Overflows
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer
from k8snetlab.store.keys import Keys
from k8snetlab.supervision import Supervisor

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
LAB = {
    "apiVersion": "k8snetlab/v1alpha1",
    "kind": "Lab",
    "metadata": {"name": "l"},
    "spec": {"nodes": 1},
}


class Said:
    """A response: its code, headers and the pieces of its body."""

    def __init__(self) -> None:
        self.code, self.headers, self.pieces = 0, list[tuple[bytes, bytes]](), list[bytes]()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.json["items"]]


class Face:
    def __init__(self, cluster: Cluster, api: Api) -> None:
        self.cluster, self.api = cluster, api

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str | None = None,
        accept: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        query: str | None = None,
        client: tuple[str, int] | None = None,
        user: User | None = None,
        patience: float | None = None,
        until: Callable[[Said], bool] = lambda said: False,
    ) -> Said:
        """`until`: whoever asks goes away once this is true of what has come, or after `patience` seconds; `body`:
        bytes as they are, else JSON; `query`: as it is on the wire; `user`: who asks over TLS."""
        said, gone, given = Said(), asyncio.Event(), False
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if query is None:
            path, _, words = path.partition("?")
            query = quote(words, safe="=&%,!()<>;+/ ").replace(" ", "%20")
        for name, value in ((b"content-type", content_type), (b"accept", accept)):
            headers += ((name, value.encode()),) if value is not None else ()

        async def receive() -> dict[str, Any]:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": data, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said.code, said.headers = message["status"], message["headers"]
            else:
                said.pieces.append(message["body"])
            if until(said):
                gone.set()

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": list(headers),
            "client": client,
            **({"state": {"user": user}} if user else {}),
        }
        leaving = asyncio.get_running_loop().call_later(patience, gone.set) if patience is not None else None
        async with asyncio.timeout(30):
            await self.api(scope, receive, send)
        if leaving:
            leaving.cancel()
        return said

    async def patch(self, path: str, body: Any) -> Said:
        return await self.ask("PATCH", path, body, content_type="application/merge-patch+json")


@asynccontextmanager
async def face_of(whole: bool = False, keys: Keys | None = None) -> AsyncIterator[Face]:
    """A lab in memory, without a kernel; `whole`: its own verbs are answered, in the directory of K8SNETLAB_RUN, where
    its keys are too unless there are others. Where that is not set it is a directory that goes with the face."""
    with _own_directory():
        store = EmbeddedStore(":memory:")
        informer = Informer(store)
        await informer.start()
        cluster = Cluster(store, informer)
        listener = Listener(keys or Keys(LabPaths("l").api_pki))
        table = (
            _table(store, cluster, listener)
            if whole
            else Table(*(object.__new__(answering) for answering in ANSWERING))
        )
        face = Face(cluster, Api(ObjectRoutes(cluster, Authentication(cluster, listener.keys)), table))
        assert (await face.ask("POST", "/apis/k8snetlab/v1alpha1/labs", LAB)).code == 201
        yield face
        await listener.close()
        await cluster.close()
        await informer.close()
        await store.close()


@contextmanager
def _own_directory() -> Iterator[None]:
    """No test writes where this machine's labs are."""
    if "K8SNETLAB_RUN" in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="face-") as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("K8SNETLAB_RUN", directory)
        yield


ANSWERING = (
    Attaching,
    Changing,
    ControlPlaneState,
    Drilling,
    Explaining,
    Faulting,
    Guests,
    IngressesShown,
    Linking,
    Pausing,
    Powering,
    Places,
    Processes,
    Reaching,
    Snapshotting,
    Scheduling,
    Following,
    IngressesShown,
    Standing,
    Tables,
    ThisMachine,
)
"""Whose methods answer verbs."""


def _table(store: EmbeddedStore, cluster: Cluster, listener: Listener) -> Table:
    paths = LabPaths("l")
    paths.create()
    ledger, supervisor = Ledger(paths.ledger), Supervisor()
    kubelet = KubeletLink(paths, ledger, lambda states: None, supervisor)
    agents = Agents(cluster, ledger, paths, lambda task, report: None, supervisor)
    leases = Leases(store, cluster, None, paths, ledger)
    return Table(
        Attaching(cluster, ledger),
        Linking(cluster, agents),
        changing := Changing(cluster, agents, leases, None, doors := Doors(cluster, paths, kubelet)),
        IngressesShown(cluster, doors),
        Pausing(cluster, agents),
        Explaining(cluster, agents, paths, remote=None, supervisor=supervisor, troubles=dict, overflows=Overflows()),
        Guests(cluster, agents, paths),
        Faulting(cluster, agents, leases, paths, listener.keys),
        Places(cluster, agents, paths),
        Reaching(cluster, listener, paths),
        Snapshotting(cluster, agents, paths, changing.writing),
        Processes(cluster, agents, paths, kubelet),
        ControlPlaneState(cluster, agents, paths),
        Scheduling(cluster),
        Following(cluster, agents),
        Standing(cluster, agents, paths, kubelet=kubelet, leases=leases, supervisor=supervisor),
        Tables(cluster, agents, leases, paths, None),
        ThisMachine(Membership(cluster, agents, leases, None), lambda: None),
    )


def with_face(test: Callable[[Face], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with face_of() as face:
            await test(face)

    asyncio.run(run())


def pod(name: str, **labels: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], "selector": {"app": name}, **spec},
    }
