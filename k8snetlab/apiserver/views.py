"""Objects, lists and events in the form that a request asks for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from k8snetlab.api.coordination import Lease
from k8snetlab.api.custom import Custom
from k8snetlab.api.customizing import as_version
from k8snetlab.api.former import as_before
from k8snetlab.api.meta import Object
from k8snetlab.api.renewal import renewed
from k8snetlab.api.scheme import Resource, to_dict
from k8snetlab.apiserver import tables
from k8snetlab.apiserver.negotiation import WHOLE, Form

Json = dict[str, Any]


def shown(obj: Object, resource: Resource) -> Json:
    """The object as JSON-like builtins, in the version in which it is asked for."""
    if isinstance(obj, Custom):
        return as_version(obj, resource)
    value = to_dict(obj)
    return value if resource.former is None else as_before(resource.former.version, value)


def _at(obj: Object, now: float) -> Object:
    """The object as it is at that moment."""
    return renewed(obj, now) if isinstance(obj, Lease) else obj


class View(msgspec.Struct, frozen=True):
    """Objects of a `resource`.

    `now`, in seconds of the epoch, is what ages in Tables go by; `include` is a Table's `includeObject`."""

    resource: Resource
    form: Form = WHOLE
    now: float = 0
    include: str = "Metadata"

    def at(self, now: float) -> View:
        return msgspec.structs.replace(self, now=now)

    def one(self, obj: Object) -> Json:
        """As the answer to a request for it, and in an event."""
        if self.form.kind == "Table":
            return self._table([obj], {"resourceVersion": obj.metadata.resourceVersion})
        if self.form.kind:
            return tables.partial(obj, self.form.version)
        return shown(_at(obj, self.now), self.resource)

    def many(self, objects: Sequence[Object], metadata: Json) -> Json:
        """As a list; `metadata` is its own."""
        if self.form.kind == "Table":
            return self._table(objects, metadata)
        if self.form.kind:
            kind = {"kind": self.form.kind, "apiVersion": f"{tables.GROUP}/{self.form.version}"}
            items = [tables.partial(obj, self.form.version) for obj in objects]
        else:
            kind = {"kind": self.resource.list_kind, "apiVersion": self.resource.version}
            items = [shown(_at(obj, self.now), self.resource) for obj in objects]
        return {**kind, "metadata": metadata, "items": items}

    def bookmark(self, metadata: Json) -> Json:
        """An event's object that says no more than how far the watch has come."""
        if self.form.kind == "Table":
            return self._table([], metadata)
        if self.form.kind:
            version = f"{tables.GROUP}/{self.form.version}"
            return {"kind": self.form.kind, "apiVersion": version, "metadata": metadata}
        return {"kind": self.resource.kind, "apiVersion": self.resource.version, "metadata": metadata}

    def _table(self, objects: Sequence[Object], metadata: Json) -> Json:
        version, include = self.form.version, self.include
        return tables.table(self.resource, objects, metadata, self.now, version=version, include=include)
