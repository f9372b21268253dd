"""Objects, lists and events in the form that a request asks for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import Resource, to_dict
from k8snetlab.apiserver import tables
from k8snetlab.apiserver.negotiation import WHOLE, Form

Json = dict[str, Any]


class View(msgspec.Struct, frozen=True):
    """`now`, in seconds of the epoch, is what ages in Tables go by; `include` is a Table's `includeObject`."""

    form: Form = WHOLE
    now: float = 0
    include: str = "Metadata"

    def at(self, now: float) -> View:
        return msgspec.structs.replace(self, now=now) if self.form.kind == "Table" else self

    def one(self, obj: Object) -> Json:
        """As the answer to a request for it, and in an event."""
        if self.form.kind == "Table":
            return self._table(type(obj), [obj], {"resourceVersion": obj.metadata.resourceVersion})
        if self.form.kind:
            return tables.partial(obj, self.form.version)
        return to_dict(obj)

    def many(self, resource: Resource, objects: Sequence[Object], metadata: Json) -> Json:
        """As a list; `metadata` is its own."""
        if self.form.kind == "Table":
            return self._table(resource.type, objects, metadata)
        if self.form.kind:
            kind = {"kind": self.form.kind, "apiVersion": f"{tables.GROUP}/{self.form.version}"}
            items = [tables.partial(obj, self.form.version) for obj in objects]
        else:
            kind = {"kind": f"{resource.kind}List", "apiVersion": resource.type.API_VERSION}
            items = [to_dict(obj) for obj in objects]
        return {**kind, "metadata": metadata, "items": items}

    def bookmark(self, type_: type[Object], metadata: Json) -> Json:
        """An event's object that says no more than how far the watch has come."""
        if self.form.kind == "Table":
            return self._table(type_, [], metadata)
        if self.form.kind:
            version = f"{tables.GROUP}/{self.form.version}"
            return {"kind": self.form.kind, "apiVersion": version, "metadata": metadata}
        return {"kind": type_.KIND, "apiVersion": type_.API_VERSION, "metadata": metadata}

    def _table(self, type_: type[Object], objects: Sequence[Object], metadata: Json) -> Json:
        return tables.table(type_, objects, metadata, self.now, version=self.form.version, include=self.include)
