"""The REST face over a real cluster in memory, asked as uvicorn asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

from k8snetlab.lab.cluster import Cluster
from k8snetlab.lab.rest.app import Api
from k8snetlab.lab.rest.objects import ObjectRoutes
from k8snetlab.lab.rest.verbs import VerbRoutes
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer

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
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        nothing = cast(Any, SimpleNamespace())
        self._api = Api(ObjectRoutes(cluster), VerbRoutes(cluster, nothing, nothing, nothing), nothing)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str | None = None,
        accept: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        until: Callable[[Said], bool] = lambda said: False,
    ) -> Said:
        """`until`: whoever asks goes away once this is true of what has come; `body`: bytes as they are, else JSON."""
        said, gone, given = Said(), asyncio.Event(), False
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
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
            "query_string": quote(query, safe="=&%,!()<>;+/ ").replace(" ", "%20").encode(),
            "headers": list(headers),
        }
        async with asyncio.timeout(30):
            await self._api(scope, receive, send)
        return said

    async def patch(self, path: str, body: Any) -> Said:
        return await self.ask("PATCH", path, body, content_type="application/merge-patch+json")


def with_face(test: Callable[[Face], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        store = EmbeddedStore(":memory:")
        informer = Informer(store)
        await informer.start()
        cluster = Cluster(store, informer)
        face = Face(cluster)
        assert (await face.ask("POST", "/apis/k8snetlab/v1alpha1/labs", LAB)).code == 201
        await test(face)
        await cluster.close()
        await informer.close()
        await store.close()

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
