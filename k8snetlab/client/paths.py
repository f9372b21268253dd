"""Where an object is in a lab's API. It loads no kind: what is asked early is asked before any is loaded."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import quote


class Kind(Protocol):
    """As `api.scheme.Resource` and `api.scaled.Scaled` have it."""

    @property
    def version(self) -> str: ...
    @property
    def plural(self) -> str: ...
    @property
    def namespaced(self) -> bool: ...


def root(version: str) -> str:
    """Of a group's version."""
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def path(kind: Kind, namespace: str | None = None, name: str = "") -> str:
    """Of all objects of a kind, of those of a namespace, or of one."""
    parts = [root(kind.version)]
    if kind.namespaced and namespace:
        parts.append(f"namespaces/{quote(namespace, safe='')}")
    parts.append(kind.plural)
    if name:
        parts.append(quote(name, safe=""))
    return "/".join(parts)
