"""Kubernetes' paths for objects: list, watch, get, create, update, merge patch, delete, scale."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.body import decode
from k8snetlab.api.core import Service
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import RESOURCES, Resource, encode, to_dict
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import InputError, NotFoundError
from k8snetlab.lab.cluster import Cluster
from k8snetlab.lab.operations.changing import refuse_deletion
from k8snetlab.lab.rest.transport import Json, Request


class ObjectRoutes:
    """Answers them from the cluster's snapshot, and writes through it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def answer(self, request: Request) -> Json | AsyncIterator[Any]:
        if request.path in ("/version", "/version/"):
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.0-k8snetlab"}
        resource, namespace, name, subresource = parse_path(request.path)
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
                    patched = merge_patch(msgspec.json.decode(encode(old)), request.body)
                    return to_dict(await self._cluster.replace(_decode(resource, namespace, name, patched)))
                case "DELETE":
                    refuse_deletion(old)
                    force = request.query.get("gracePeriodSeconds") == "0"
                    await self._cluster.delete(old, force)
                    return to_dict(old)
        raise NotFoundError(f"{request.method} is not possible on {request.path}")

    @staticmethod
    def allocates(request: Request) -> bool:
        """Whether it may give an object an address or a port of its own: of all kinds only Services get any when they
        are written (`admission`)."""
        return request.method in ("POST", "PUT", "PATCH") and parse_path(request.path)[0].type is Service

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
        async for snapshot in self._cluster.changes(resource.type.TELLS):
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


PATHS = {(r.type.API_VERSION, r.plural): r for r in RESOURCES}
"""Every kind of object by API version and plural."""


def parse_path(path: str) -> tuple[Resource, str, str, str]:
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
    resource = PATHS.get((version, rest[0])) if rest else None
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
