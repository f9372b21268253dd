"""The daemon's REST face: Kubernetes' paths for objects, the lab's own operations below /apis/k8snetlab/v1alpha1.

Raw ASGI. Every error is a Kubernetes Status object.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs, quote

import msgspec

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.body import decode
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import RESOURCES, Resource, to_dict
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import DaemonError, InputError, K8sNetLabError, NotFoundError
from k8snetlab.lab.across.everywhere import Everywhere
from k8snetlab.lab.cluster import Cluster
from k8snetlab.lab.machines.membership import Membership
from k8snetlab.lab.operations import Operations, refuse_deletion
from k8snetlab.lab.status import status

log = logging.getLogger(__name__)
Json = dict[str, Any]
Send = Callable[[Json], Awaitable[None]]
Receive = Callable[[], Awaitable[Json]]
OWN_VERSION = "k8snetlab/v1alpha1"
OWN = f"/apis/{OWN_VERSION}"
MAX_BODY = 256 << 20
MAX_STDIN = 64 << 20


class Request(msgspec.Struct):
    """`target` is path and query as they came; `query` holds the last value of each parameter; `body` is decoded JSON
    or None. `alone`: another machine's daemon asks for what this one knows, and asks the others itself."""

    method: str
    path: str
    target: str
    query: dict[str, str]
    body: Any
    alone: bool = False


class Api:
    """The ASGI application."""

    def __init__(
        self, cluster: Cluster, operations: Operations, membership: Membership, everywhere: Everywhere | None = None
    ) -> None:
        self._cluster, self._operations = cluster, operations
        self._membership, self._everywhere = membership, everywhere

    async def __call__(self, scope: Json, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        try:
            if scope["path"].startswith((f"{OWN}/exec/", f"{OWN}/watch")):
                await self._converse(scope, answer, receive)
            else:
                await self._route(await _request(scope, receive), answer, receive)
        except K8sNetLabError as error:
            await answer.error(status(error), error.status)
        except msgspec.MsgspecError as error:
            await answer.error(status(InputError(f"the request's body is wrong: {error}")), 400)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("%s %s", scope.get("method"), scope.get("path"))
            bug = K8sNetLabError(f"{type(error).__name__}: {error}", "this is a bug; the daemon's log has it whole")
            await answer.error(status(bug), 500)

    async def _route(self, request: Request, answer: _Answer, receive: Receive) -> None:
        own = request.path.removeprefix(OWN + "/").split("/")
        result: Json | AsyncIterator[Any] | None = None
        if request.path.startswith(OWN + "/") and (OWN_VERSION, own[0]) not in _PATHS:
            everywhere = None if request.alone else self._everywhere
            what = (request.method, own, request.query, request.body)
            if everywhere and (node := everywhere.elsewhere(*what)):
                body = b"" if request.body is None else msgspec.json.encode(request.body)
                told = everywhere.forward(node, request.method, request.target, body)
                await _while_heard(answer.stream(told), receive())
                return
            leaders = everywhere.allocating(request.method, own, request.target, request.body) if everywhere else None
            if leaders and (begun := await _begun(leaders)):
                await answer.stream(begun)
                return
            result = await everywhere.answer(*what) if everywhere else None
            result = await self._own(request, own) if result is None else result
        else:
            result = await self._objects(request)
        if isinstance(result, AsyncIterator) and request.method == "GET":
            await _while_heard(answer.stream(result), receive())
        elif isinstance(result, AsyncIterator):
            await answer.stream(result)
        else:
            await answer.json(result, 201 if request.method == "POST" and "metadata" in result else 200)

    async def _converse(self, scope: Json, answer: _Answer, receive: Receive) -> None:
        """Requests whose body comes while they are answered already.

        POST exec/<place>?command=…&command=…&namespace=…: the body is the command's standard input.
        POST watch?namespace=…&port=…: it ends with the body.
        """
        target, query = _target(scope)
        body = _Body(receive)
        if scope["path"] == f"{OWN}/watch":
            ports = {int(port) for port in query.get("port", ())}
            watching = self._operations.watch(query.get("namespace", []), ports, body.pieces())
            await _while_heard(answer.stream(watching), body.read())
            return
        name = scope["path"].removeprefix(f"{OWN}/exec/")
        if scope["method"] != "POST" or not query.get("command"):
            raise InputError("exec is a POST with a command", "exec/<place>?command=ip&command=route")
        namespace = query.get("namespace", [""])[-1]
        everywhere = None if scope.get("alone") else self._everywhere
        node = everywhere.elsewhere("POST", ["exec", name], {"namespace": namespace}, None) if everywhere else ""
        events: AsyncIterator[Any]
        if everywhere and node:
            events = everywhere.forward(node, "POST", target, body.pieces())
        else:
            events = self._operations.execute(name, namespace, query["command"], body.pieces())
        await _while_heard(answer.stream(events), body.read())

    # --- the lab's own operations ---

    async def _own(self, request: Request, path: list[str]) -> Json | AsyncIterator[Any]:
        operations, body = self._operations, request.body or {}
        match (request.method, *path):
            case ("GET", "status"):
                return await operations.status()
            case ("GET", "names"):
                return operations.names()
            case ("GET", "resolve", *name):
                return operations.resolve("/".join(name), request.query.get("namespace", ""))
            case ("GET", "leases"):
                return {"items": await operations.leases(request.query.get("node", ""))}
            case ("POST", "up"):
                return operations.up(body["objects"])
            case ("POST", "apply"):
                return operations.apply(body["objects"])
            case ("POST", "delete"):
                return operations.delete(body["objects"])
            case ("GET", "misses"):
                return operations.misses(request.query.get("node", ""))
            case ("POST", "probe"):
                return await operations.probe(body)
            case ("POST", "trace"):
                return await operations.trace(body)
            case ("POST", "diagnose"):
                return operations.diagnose(body)
            case ("GET", "machine"):
                return await self._membership.joined()
            case ("POST", "leave"):
                await self._membership.leave()
                return {}
            case ("POST", "end"):
                return self._membership.end(float(body["patience"]))
            case ("POST", "nodes", node, ("pause" | "resume") as verb):
                return await operations.pause(node, verb == "pause")
            case ("GET", "pods", namespace, name, "log"):
                query = request.query
                follow, last = query.get("follow", "") == "true", int(query.get("tailLines", "-1"))
                return operations.logs(namespace, name, query.get("container", ""), follow, last)
            case ("GET", "rules"):
                query = request.query
                family = query.get("family", "ipv4")
                if not query.get("other"):
                    return await operations.rules(query.get("node", ""), query.get("service", ""), family)
                nodes = query.get("node", ""), query["other"]
                sides = (await operations.chains(nodes[0], family), await operations.chains(nodes[1], family))
                return await operations.difference(sides, query.get("service", ""), family)
            case ("GET", "agents"):
                return await operations.pace(int(request.query.get("revision", "0")))
            case ("GET", "survey"):
                query = request.query
                return operations.survey(query.get("namespace", ""), query.get("family", "ipv4"))
            case ("GET", "findings"):
                return operations.findings()
            case ("GET", "chains"):
                held = await operations.chains(request.query.get("node", ""), request.query.get("family", "ipv4"))
                return held.told()
            case ("GET", "tables", *name):
                query = request.query
                return await operations.tables("/".join(name), query.get("namespace", ""), query.get("table", ""))
            case ("GET", "store"):
                return operations.store_status()
            case ("GET", "store", "dump"):
                return self._cluster.dump(request.query.get("prefix", "/"))
            case ("POST", "stop"):
                return operations.stop()
        raise NotFoundError(f"{request.method} {request.path} is no operation of this lab")

    # --- objects ---

    async def _objects(self, request: Request) -> Json | AsyncIterator[Any]:
        if request.path in ("/version", "/version/"):
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.0-k8snetlab"}
        resource, namespace, name, subresource = _parse_path(request.path)
        if not name:
            match request.method:
                case "GET" if request.query.get("watch") in ("1", "true"):
                    return self._watch(resource, namespace)
                case "GET":
                    return self._list(resource, namespace, self._cluster.snapshot)
                case "POST":
                    return to_dict(await self._cluster.create(_decode(resource, namespace, "", request.body)))
        else:
            old = self._cluster.current(resource.type, name, namespace)
            if subresource == "scale":
                return await self._scale(request, old)
            match request.method:
                case "GET":
                    return to_dict(old)
                case "PUT":
                    return to_dict(await self._cluster.replace(_decode(resource, namespace, name, request.body)))
                case "PATCH":
                    patched = merge_patch(to_dict(old), request.body)
                    return to_dict(await self._cluster.replace(_decode(resource, namespace, name, patched)))
                case "DELETE":
                    refuse_deletion(old)
                    force = request.query.get("gracePeriodSeconds") == "0"
                    await self._cluster.delete(old, force)
                    return to_dict(old)
        raise NotFoundError(f"{request.method} is not possible on {request.path}")

    def _list(self, resource: Resource, namespace: str, snapshot: Snapshot) -> Json:
        items = [
            to_dict(obj)
            for obj in snapshot.all(resource.type).values()
            if not namespace or not resource.type.namespaced or obj.namespace == namespace
        ]
        return {
            "apiVersion": resource.type.API_VERSION,
            "kind": f"{resource.kind}List",
            "metadata": {"resourceVersion": str(snapshot.revision)},
            "items": items,
        }

    async def _watch(self, resource: Resource, namespace: str) -> AsyncIterator[Json]:
        """ADDED for what there is, then each change; one JSON line an event."""
        known: dict[tuple[str, str], Object] = {}
        async for snapshot in self._cluster.changes():
            now = {key: obj for key, obj in snapshot.all(resource.type).items() if not namespace or key[0] == namespace}
            for key, obj in now.items():
                old = known.get(key)
                if old is not obj:
                    yield {"type": "MODIFIED" if old else "ADDED", "object": to_dict(obj)}
            for key in known.keys() - now.keys():
                yield {"type": "DELETED", "object": to_dict(known[key])}
            known = now

    async def _scale(self, request: Request, old: Object) -> Json:
        if not isinstance(old, Deployment | ReplicaSet):
            raise InputError(f"a {old.KIND} cannot be scaled", "scale a deployment or a replicaset")
        workload: Any = old
        if request.method in ("PUT", "PATCH"):
            replicas = msgspec.convert(request.body["spec"]["replicas"], int)
            if not 0 <= replicas <= 100_000:
                raise InputError(f"replicas: {replicas} is not between 0 and 100000")

            def change(stored: Any) -> Any:
                return msgspec.structs.replace(stored, spec=msgspec.structs.replace(stored.spec, replicas=replicas))

            workload = await self._cluster.edit(old, change)
        return {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": old.name, "namespace": old.namespace},
            "spec": {"replicas": workload.spec.replicas},
            "status": {"replicas": workload.status.replicas},
        }


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


_PATHS = {(r.type.API_VERSION, r.plural): r for r in RESOURCES}


def _parse_path(path: str) -> tuple[Resource, str, str, str]:
    """(resource, namespace, name, subresource) of /api/v1/… or /apis/GROUP/VERSION/…"""
    parts = [part for part in path.split("/") if part]
    version, rest = "", parts
    if parts[:2] == ["api", "v1"]:
        version, rest = "v1", parts[2:]
    elif len(parts) >= 3 and parts[0] == "apis":
        version, rest = f"{parts[1]}/{parts[2]}", parts[3:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource = _PATHS.get((version, rest[0])) if rest else None
    if resource is None or len(rest) > 3:
        raise NotFoundError(f"the server could not find the requested resource {path}")
    if not resource.type.namespaced:
        namespace = ""
    elif len(rest) > 1 and not namespace:
        namespace = "default"
    return resource, namespace, *(rest[1:] + ["", ""])[:2]  # type: ignore[return-value]


def _decode(resource: Resource, namespace: str, name: str, body: Any) -> Object:
    if not isinstance(body, dict):
        raise InputError("the request has no object in its body")
    obj = decode({"apiVersion": resource.type.API_VERSION, "kind": resource.kind, **body})
    if type(obj) is not resource.type:
        raise InputError(f"the body's kind is {obj.KIND}, the path's {resource.kind}")
    if (name and obj.name != name) or (namespace and obj.namespace not in (namespace, "default")):
        raise InputError("the body's name or namespace is not the path's")
    if namespace and obj.metadata.namespace != namespace:
        obj = msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, namespace=namespace))
    return obj


async def _begun(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes] | None:
    """The same, with its first part there already; None when whoever was asked does not answer."""
    try:
        first = await anext(parts, b"")
    except DaemonError:
        return None

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part

    return whole()


async def _while_heard(streaming: Coroutine[Any, Any, None], leaving: Awaitable[Any]) -> None:
    """Shows something that may have no end, until whoever asked for it has gone."""
    stream, gone = asyncio.ensure_future(streaming), asyncio.ensure_future(leaving)
    try:
        await asyncio.wait({stream, gone}, return_when=asyncio.FIRST_COMPLETED)
        if stream.done():
            stream.result()
    finally:
        for task in (stream, gone):
            task.cancel()
        await asyncio.gather(stream, gone, return_exceptions=True)


async def _request(scope: Json, receive: Receive) -> Request:
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            raise InputError("the request is too large")
    target, query = _target(scope)
    last = {key: values[-1] for key, values in query.items()}
    said = msgspec.json.decode(body) if body else None
    return Request(scope["method"], scope["path"], target, last, said, scope.get("alone", False))


def _target(scope: Json) -> tuple[str, dict[str, list[str]]]:
    query = scope["query_string"].decode()
    return quote(scope["path"]) + (f"?{query}" if query else ""), parse_qs(query)


class _Body:
    """A request's body that is used while it still comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._come: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> None:
        """Takes in what comes, until whoever sends it has gone."""
        size, more = 0, True
        while (message := await self._receive())["type"] != "http.disconnect":
            if more:
                piece, more = message.get("body", b""), message.get("more_body", False)
                size += len(piece)
                if piece:
                    self._come.put_nowait(piece)
                if not more:
                    self._come.put_nowait(b"")
            if size > MAX_STDIN:
                raise InputError(f"standard input of more than {MAX_STDIN >> 20} MiB goes to no other machine")

    async def pieces(self) -> AsyncIterator[bytes]:
        while piece := await self._come.get():
            yield piece


class _Answer:
    """One response: whole, or JSON lines (bytes as they are) as they come; an error in a stream is its last line."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def json(self, value: Any, code: int) -> None:
        await self._start(code)
        await self._send({"type": "http.response.body", "body": msgspec.json.encode(value)})

    async def stream(self, lines: AsyncIterator[Any]) -> None:
        try:
            async for line in lines:
                if not self._begun:
                    await self._start(200)
                data = line if isinstance(line, bytes) else msgspec.json.encode(line) + b"\n"
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            if isinstance(lines, AsyncGenerator):
                await lines.aclose()
        if not self._begun:
            await self._start(200)
        await self._send({"type": "http.response.body", "body": b""})

    async def error(self, value: Json, code: int) -> None:
        if not self._begun:
            await self.json(value, code)
            return
        body = msgspec.json.encode({"type": "error", "status": value}) + b"\n"
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, code: int) -> None:
        self._begun = True
        headers = [(b"content-type", b"application/json")]
        await self._send({"type": "http.response.start", "status": code, "headers": headers})
