"""Kubernetes' paths for objects: list, watch, get, create, update, merge patch, delete, scale, status.

What is not supported is refused with a Status, never ignored: query words, forms of bodies and answers, methods.
"""

from __future__ import annotations

import contextlib

import msgspec

from k8snetlab.api.core import Namespace, Pod, Service
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import RESOURCES, Resource, to_dict
from k8snetlab.api.words import shorten
from k8snetlab.apiserver import query as words
from k8snetlab.apiserver.negotiation import check_accepted, check_body
from k8snetlab.apiserver.options import DeleteOptions, delete_options
from k8snetlab.apiserver.reading import Reading, ordered
from k8snetlab.apiserver.transport import Json, Reply, Request
from k8snetlab.apiserver.writing import Writing
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.cluster.deletion import refuse_deletion
from k8snetlab.cluster.node_status import VERSION
from k8snetlab.errors import NotFoundError, RequestError

LARGEST_OBJECT = 3 << 20
"""Bytes of an object in a request, as kube-apiserver limits it."""
SCALABLE = ("deployments", "replicasets")


class Target(msgspec.Struct, frozen=True):
    """What a path names: all objects of a kind, those of one namespace, one object, or a part of it."""

    resource: Resource
    namespace: str
    name: str = ""
    subresource: str = ""

    @property
    def methods(self) -> tuple[str, ...]:
        if self.subresource:
            return ("GET", "PUT", "PATCH")
        if self.name:
            return ("GET", "PUT", "PATCH", "DELETE")
        everywhere = self.resource.type.namespaced and not self.namespace
        collected = ("GET", "POST") if self.resource.type is Namespace else ("GET", "POST", "DELETE")
        return ("GET",) if everywhere else collected


class ObjectRoutes:
    """Answers them from the cluster's snapshot, and writes through it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reading, self._writing = Reading(cluster), Writing(cluster)

    def check(self, request: Request) -> Target | None:
        """What the request is about, None for /version. Raises what its path, method and headers are refused with."""
        if request.path.rstrip("/") == "/version":
            if request.method != "GET":
                raise not_allowed(request.method, ("GET",))
            words.refuse_unknown(request.values, ("pretty", "timeout"))
            return None
        target = parse_path(request.path)
        if request.method not in target.methods:
            raise not_allowed(request.method, target.methods)
        check_accepted(request.accept)
        if request.size and request.method != "GET" and not request.alone:
            check_body(request.method, request.content_type)
        return target

    async def answer(self, request: Request, target: Target | None) -> Reply:
        if target is None:
            return Reply({"major": "1", "minor": "36", "gitVersion": VERSION})
        if not target.name:
            return await self._collection(request, target)
        resource, query = target.resource, request.values
        old = self._cluster.current(resource.type, target.name, target.namespace)
        part = target.subresource
        match request.method:
            case "GET":
                words.refuse_unknown(query, words.GET)
                self._reading.check_get(query)
                return Reply(
                    await self._writing.scale("GET", old, None, words.Wish()) if part == "scale" else to_dict(old)
                )
            case "DELETE":
                words.refuse_unknown(query, words.DELETE, ("dryRun",))
                return Reply(await self._delete(old, delete_options(request.body, query)))
            case "PATCH":
                words.refuse_unknown(query, (*words.WRITE, "force"), ("dryRun",))
                if "force" in query:
                    raise RequestError("force: Forbidden: may not be specified for non-apply patch", "", "Invalid", 422)
                write = self._writing.patch
            case _:
                words.refuse_unknown(query, words.WRITE, ("dryRun",))
                write = self._writing.put
        wish = words.wish(query)
        if part == "scale":
            return Reply(await self._writing.scale(request.method, old, request.body, wish))
        value, warnings = await write(resource, old, request.body, wish, part == "status")
        return Reply(value, warnings=tuple(warnings))

    @staticmethod
    def allocates(request: Request, target: Target | None) -> bool:
        """Whether it may give an object an address or a port of its own: of all kinds only Services get any when they
        are written (`admission`)."""
        return request.method in ("POST", "PUT", "PATCH") and target is not None and target.resource.type is Service

    async def _collection(self, request: Request, target: Target) -> Reply:
        resource, query = target.resource, request.values
        match request.method:
            case "POST":
                words.refuse_unknown(query, words.WRITE, ("dryRun",))
                wish = words.wish(query)
                value, warnings = await self._writing.create(resource, target.namespace, request.body, wish)
                return Reply(value, 201, tuple(warnings))
            case "DELETE":
                return await self._delete_many(request, target)
        words.refuse_unknown(query, words.LIST)
        wanted = words.selection(query, resource.type, target.namespace)
        if words.boolean(query, "watch"):
            return Reply(self._reading.watch(resource, wanted, query))
        return Reply(self._reading.list(resource, wanted, query))

    async def _delete(self, old: Object, options: DeleteOptions) -> Json:
        """The object, where it goes on living for a while; else a Status that it is gone."""

        def refuse(stored: Object) -> None:
            options.refuse_if_other(stored)
            refuse_deletion(stored)
            options.refuse_grace(stored)

        if options.dry:
            refuse(old)
        else:
            await self._cluster.delete(old, options.force, refuse)
        if isinstance(old, Pod | Service | Namespace):
            return to_dict(self._cluster.snapshot.get(type(old), old.name, old.namespace) or old)
        resource = next(r for r in RESOURCES if r.type is type(old))
        details = {"name": old.name, "kind": resource.plural, "uid": old.metadata.uid}
        if group := resource.type.API_VERSION.rpartition("/")[0]:
            details["group"] = group
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    async def _delete_many(self, request: Request, target: Target) -> Reply:
        """Deletes what the selectors match, and nothing where one of it may not be deleted."""
        resource, query = target.resource, request.values
        words.refuse_unknown(query, (*words.LIST, *words.DELETE), ("dryRun",))
        for word in ("watch", "limit", "continue", "allowWatchBookmarks", "sendInitialEvents"):
            if word in query:
                raise RequestError(f"{word} does not go with a deletion")
        for word in ("resourceVersion", "resourceVersionMatch"):
            if words.text(query, word) not in ("", "0"):
                raise RequestError(f"{word} is not supported in a deletion of many", "delete what is there now")
        words.number(query, "timeoutSeconds")
        wanted = words.selection(query, resource.type, target.namespace)
        options = delete_options(request.body, query)
        doomed = [obj for obj in ordered(resource, self._cluster.snapshot) if wanted.matches(obj)]
        for obj in doomed:
            refuse_deletion(obj)
            options.refuse_grace(obj)
        for obj in doomed:
            with contextlib.suppress(NotFoundError):
                await self._delete(obj, options)
        return Reply(
            {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.type.API_VERSION,
                "metadata": {"resourceVersion": str(self._cluster.snapshot.revision)},
                "items": [to_dict(obj) for obj in doomed],
            }
        )


PATHS = {(r.type.API_VERSION, r.plural): r for r in RESOURCES}
"""Every kind of object by API version and plural."""


def parse_path(path: str) -> Target:
    """What /api/v1/… or /apis/GROUP/VERSION/… names; raises NotFoundError."""
    parts = path.split("/")[1:]
    if parts and not parts[-1]:
        parts.pop()
    version, rest = "", parts
    if parts[:2] == ["api", "v1"]:
        version, rest = "v1", parts[2:]
    elif len(parts) >= 3 and parts[0] == "apis":
        version, rest = f"{parts[1]}/{parts[2]}", parts[3:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] != "status":
        namespace, rest = rest[1], rest[2:]
        if not namespace:
            raise _nowhere(path)
    resource = PATHS.get((version, rest[0])) if rest else None
    if resource is None or len(rest) > 3 or not all(rest):
        raise _nowhere(path)
    name, part = (*rest[1:], "", "")[:2]
    if not resource.type.namespaced:
        namespace = ""
    elif name and not namespace:
        namespace = "default"
    known = (*(("scale",) if resource.plural in SCALABLE else ()), *(("status",) if _has_status(resource) else ()))
    if part and part not in known:
        raise _nowhere(path)
    return Target(resource, namespace, name, part)


def _has_status(resource: Resource) -> bool:
    return "status" in resource.type.__struct_fields__


def _nowhere(path: str) -> NotFoundError:
    return NotFoundError(f"the server could not find the requested resource {shorten(path)}")


def not_allowed(method: str, methods: tuple[str, ...]) -> RequestError:
    return RequestError(
        "the server does not allow this method on the requested resource",
        f"{shorten(method)} is not among {', '.join(methods)}",
        "MethodNotAllowed",
        405,
    )
