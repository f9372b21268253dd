"""What Kubernetes' paths name. Pure."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from k8snetlab.api.kinds import BUILT_IN, Kinds
from k8snetlab.api.scheme import Resource
from k8snetlab.api.words import shorten
from k8snetlab.apiserver.parts import Part, parts_of
from k8snetlab.errors import NotFoundError, RequestError

PATHS = BUILT_IN.paths
"""Every kind of this server's own by API version and plural."""


ABSENT = {
    "horizontalpodautoscalers": "no pod's load is measured here, so that nothing scales by it; `kubectl scale` does",
    "metrics.k8s.io": "no load is measured here; `kubectl exec POD -- top -bn1` shows a pod's processes",
    "resourcequotas": "a namespace takes what it is given here",
    "limitranges": "a pod takes what it is given here",
    "persistentvolumes": "a lab is a network, and keeps no data",
    "persistentvolumeclaims": "a lab is a network, and keeps no data",
}
"""Kinds that clients ask for by a verb of their own, and why there are none."""
SHORT = 200
"""Characters of a path that is remembered."""
_OF_NAMESPACES = {part.name for part in parts_of(PATHS["v1", "namespaces"])}


class Target(msgspec.Struct, frozen=True):
    """What a path names: all objects of a kind, those of one namespace, one object, or a part of it."""

    resource: Resource
    namespace: str
    name: str = ""
    part: Part | None = None

    @property
    def subresource(self) -> str:
        return self.part.name if self.part else ""

    @property
    def methods(self) -> tuple[str, ...]:
        if self.part:
            return self.part.methods
        if self.name:
            return ("GET", "PUT", "PATCH", "DELETE")
        everywhere = self.resource.type.namespaced and not self.namespace
        collected = ("GET", "POST") if self.resource.singly else ("GET", "POST", "DELETE")
        return ("GET",) if everywhere else collected


def parse(path: str, kinds: Kinds = BUILT_IN) -> Target:
    """What /api/v1/… or /apis/GROUP/VERSION/… names, of the kinds that there are; raises NotFoundError."""
    return _remembered(path, kinds) if len(path) <= SHORT else _parsed(path, kinds)


@lru_cache(maxsize=256)
def _remembered(path: str, kinds: Kinds) -> Target:
    """A request's path is looked at by who authorizes and by who answers, and many have the same."""
    return _parsed(path, kinds)


def _parsed(path: str, kinds: Kinds) -> Target:
    parts = path.split("/")[1:]
    if parts and not parts[-1]:
        parts.pop()
    version, rest = "", parts
    if parts[:2] == ["api", "v1"]:
        version, rest = "v1", parts[2:]
    elif len(parts) >= 3 and parts[0] == "apis":
        version, rest = f"{parts[1]}/{parts[2]}", parts[3:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in _OF_NAMESPACES):
        namespace, rest = rest[1], rest[2:]
        if not namespace:
            raise nowhere(path)
    resource = kinds.paths.get((version, rest[0])) if rest else None
    if resource is None or len(rest) > 3 or not all(rest):
        raise nowhere(path)
    name, part = (*rest[1:], "", "")[:2]
    if not resource.type.namespaced:
        namespace = ""
    elif name and not namespace:
        namespace = "default"
    known = {one.name: one for one in parts_of(resource)}
    if part and part not in known:
        raise nowhere(path)
    return Target(resource, namespace, name, known.get(part))


def nowhere(path: str) -> NotFoundError:
    why = absence(path)
    return NotFoundError(
        f"the server could not find the requested resource{f': {why}' if why else f' {shorten(path)}'}"
    )


def absence(path: str) -> str:
    """Why there is nothing of the kind that a path names, "" for any other."""
    return next((ABSENT[word] for word in path.split("/") if word in ABSENT), "")


def not_allowed(method: str, methods: tuple[str, ...]) -> RequestError:
    return RequestError(
        "the server does not allow this method on the requested resource",
        f"{shorten(method)} is not among {', '.join(methods)}",
        "MethodNotAllowed",
        405,
    )
