"""The paths of a kind as OpenAPI tells them: which methods, with which parameters and bodies. Pure."""

from __future__ import annotations

from typing import Any

from k8snetlab.api.scheme import Resource
from k8snetlab.apiserver import query
from k8snetlab.apiserver.discovery import split
from k8snetlab.apiserver.negotiation import JSON, PATCHES
from k8snetlab.apiserver.parts import Part, parts_of

Json = dict[str, Any]
_BOOLEANS = ("watch", "allowWatchBookmarks", "sendInitialEvents", "orphanDependents", "force")
_NUMBERS = ("limit", "timeoutSeconds", "gracePeriodSeconds")
_ACTIONS = {"get": "get", "post": "post", "put": "put", "patch": "patch", "delete": "delete"}


def operations(resource: Resource, schema: str) -> dict[str, Json]:
    """By path; `schema` is where the kind's schema is."""
    group = split(resource.version)[0]
    version = resource.version
    base = f"/apis/{version}" if group else f"/api/{version}"
    inside = f"{base}/namespaces/{{namespace}}" if resource.type.namespaced else base
    many, one = f"{inside}/{resource.plural}", f"{inside}/{resource.plural}/{{name}}"
    found = {many: _many(resource, schema), one: _one(resource, schema)}
    if resource.type.namespaced:
        found[f"{base}/{resource.plural}"] = {"get": _operation(resource, "list", query.LIST, f"{schema}List")}
    for part in parts_of(resource):
        found[f"{one}/{part.name}"] = _part(resource, part, schema)
    for path, item in found.items():
        named = [name for name in ("namespace", "name") if f"{{{name}}}" in path]
        item["parameters"] = [_parameter(name, "path") for name in named] if named else []
        for method in _ACTIONS:
            if method in item:
                item[method]["operationId"] = _identity(resource, item[method]["x-kubernetes-action"], path)
    return found


def _identity(resource: Resource, action: str, path: str) -> str:
    """The name of an operation in generated clients: listCoreV1NamespacedPod."""
    group, version = split(resource.version)
    known = group.replace(".", "-") if resource.defined is not None else (group or "core").partition(".")[0]
    words = [word.capitalize() for word in known.split("-")]
    namespaced = "Namespaced" if "{namespace}" in path else ""
    part = path.rpartition("{name}")[2].strip("/").capitalize() if "{name}" in path else ""
    everywhere = "ForAllNamespaces" if resource.type.namespaced and not namespaced else ""
    begin = {"get": "read", "post": "create", "put": "replace", "deletecollection": "deleteCollection"}
    named = f"{''.join(words)}{version.capitalize()}{namespaced}{resource.kind}{part}{everywhere}"
    return f"{begin.get(action, action)}{named}"


def _many(resource: Resource, schema: str) -> Json:
    found = {
        "get": _operation(resource, "list", query.LIST, f"{schema}List"),
        "post": _operation(resource, "post", query.WRITE, schema, body=schema, code=201),
    }
    if not resource.singly:
        found["delete"] = _operation(resource, "deletecollection", (*query.LIST, *query.DELETE), f"{schema}List")
    return found


def _one(resource: Resource, schema: str) -> Json:
    return {
        "get": _operation(resource, "get", query.GET, schema),
        "put": _operation(resource, "put", query.WRITE, schema, body=schema),
        "patch": {**_operation(resource, "patch", query.PATCH, schema), "requestBody": _patches()},
        "delete": _operation(resource, "delete", query.DELETE, schema),
    }


def _part(resource: Resource, part: Part, schema: str) -> Json:
    words = {"get": query.GET, "put": query.WRITE, "post": query.WRITE, "patch": query.PATCH}
    found = {}
    for method in part.methods:
        name = method.lower()
        found[name] = _operation(resource, _ACTIONS[name], words[name], "" if part.kind else schema)
        if method == "PATCH":
            found[name]["requestBody"] = _patches()
    return found


def _operation(
    resource: Resource, action: str, words: tuple[str, ...], answer: str, *, body: str = "", code: int = 200
) -> Json:
    group, version = split(resource.version)
    answered: Json = {"schema": {"$ref": answer}} if answer else {}
    found: Json = {
        "parameters": [_parameter(word, "query") for word in dict.fromkeys(words)],
        "responses": {str(code): {"description": "OK", "content": {JSON: answered}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": resource.kind},
    }
    if body:
        found["requestBody"] = {"content": {JSON: {"schema": {"$ref": body}}}, "required": True}
    return found


def _patches() -> Json:
    return {"content": {media: {"schema": {"type": "object"}} for media in PATCHES}, "required": True}


def _parameter(name: str, place: str) -> Json:
    kind = "boolean" if name in _BOOLEANS else "integer" if name in _NUMBERS else "string"
    return {"name": name, "in": place, "schema": {"type": kind}, **({"required": True} if place == "path" else {})}
