"""Objects of kinds that users bring: metadata, and whatever else their definition's schema has."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import msgspec

from k8snetlab.api.meta import Object, ObjectMeta, Value, ValueMeta

_OWN = ("apiVersion", "kind", "metadata")


class Custom(Object):
    """An object as it is stored: `version` is group and version, `content` all but apiVersion, kind and metadata (never
    changed in place). Each kind has a type of its own, which `custom_type` makes."""

    KIND: ClassVar[str] = ""
    GROUP: ClassVar[str] = ""
    PLURAL: ClassVar[str] = ""
    counted: ClassVar[bool] = True

    version: str = ""
    content: Mapping[str, Any] = {}

    @property
    def API_VERSION(self) -> str:  # type: ignore[override]
        return self.version


class _Stored(Value):
    """What is read of an object's JSON by a type."""

    apiVersion: str
    kind: str
    metadata: ObjectMeta = ObjectMeta()


_types: WeakValueDictionary[tuple[str, str, str, bool], Any] = WeakValueDictionary()
_making = threading.Lock()


def custom_type(group: str, plural: str, kind: str, namespaced: bool) -> type[Custom]:
    """The type of such objects: the same one as long as anybody holds it."""
    key = (group, plural, kind, namespaced)
    with _making:
        found: Any = _types.get(key)
        if found is None:
            names = {"KIND": kind, "GROUP": group, "PLURAL": plural, "namespaced": namespaced, "__module__": __name__}
            found = _types[key] = ValueMeta("Custom", (Custom,), names, frozen=True, kw_only=True, omit_defaults=True)
        type_: type[Custom] = found
        return type_


def value_of(obj: Custom) -> dict[str, Any]:
    """The object as JSON-like builtins."""
    metadata = msgspec.to_builtins(obj.metadata)
    return {"apiVersion": obj.version, "kind": obj.KIND, "metadata": metadata, **obj.content}


def object_of(type_: type[Custom], value: Mapping[str, Any]) -> Custom:
    """The object of JSON-like builtins. Raises msgspec.ValidationError."""
    head = msgspec.convert({key: value[key] for key in _OWN if key in value}, _Stored)
    if head.kind != type_.KIND:
        raise msgspec.ValidationError(f"Expected a {type_.KIND}, got a {head.kind[:60]!r}")
    content = {key: held for key, held in value.items() if key not in _OWN}
    return type_(metadata=head.metadata, version=head.apiVersion, content=content)


def type_of_key(key: str, kind: str) -> type[Custom] | None:
    """Of the store's /registry/GROUP/PLURAL/[NAMESPACE/]NAME; None for a key of another form. A group has a dot."""
    parts = key.split("/")[2:]
    if not key.startswith("/registry/") or len(parts) not in (3, 4) or "." not in parts[0] or not all(parts):
        return None
    return custom_type(parts[0], parts[1], kind, len(parts) == 4)


class _Kind(Value):
    kind: str = ""


_kind_of = msgspec.json.Decoder(_Kind)


def stored_type(key: str, data: bytes) -> type[Custom] | None:
    """The type of what is stored at a key."""
    try:
        kind = _kind_of.decode(data).kind if data else ""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        kind = ""
    return type_of_key(key, kind)
