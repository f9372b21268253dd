"""From the JSON that the store keeps to an object."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.api.custom import Custom, object_of
from k8snetlab.api.defaults import with_defaults, with_status
from k8snetlab.api.meta import Object
from k8snetlab.api.older import renewed


@cache
def _decoder(type_: type[Object]) -> msgspec.json.Decoder[Any]:
    """Made when the first object of its kind is read: all of them take 5 ms, which a command line has no use for."""
    return msgspec.json.Decoder(type_)


def decode(type_: type[Object], data: bytes) -> Object:
    """The object of `type_` in stored JSON with its defaults, which an older version may have left out; fields unknown
    to the type are dropped."""
    if issubclass(type_, Custom):
        return object_of(type_, msgspec.json.decode(data))
    try:
        obj: Object = _decoder(type_).decode(data)
    except msgspec.ValidationError:
        value = msgspec.json.decode(data)
        if not renewed(type_, value):
            raise
        obj = msgspec.convert(value, type_)
    obj = with_defaults(obj)
    return with_status(obj) if isinstance(obj, Pod) else obj
