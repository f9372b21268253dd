"""Objects that `up` hands to the daemon it has loading, while it goes on to check whether they go together.

They are of no account before the daemon is asked for an `up` that says so, which `up` does once they are found to be
right. They come as one message in memory that both processes have, each as the program itself holds it: what a manifest
says has been set against its type by then, by the same program.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec

from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_PREFIX, BY_TYPE

_Packed = tuple[str, msgspec.Raw]


def handable(objects: Iterable[Object]) -> list[Object]:
    """Those that can be handed on: not so a Lab, whose name is not known yet, nor what is of a user's own kind."""
    return [obj for obj in objects if type(obj) in BY_TYPE and not isinstance(obj, Lab)]


def write(file: int, objects: Iterable[Object]) -> None:
    """Into a file that is empty, by its descriptor."""
    data = memoryview(msgspec.msgpack.encode([(BY_TYPE[type(obj)].prefix, obj) for obj in objects]))
    while data:
        data = data[os.write(file, data) :]


def read(file: int) -> list[Object]:
    """What was written, from its beginning."""
    data = os.pread(file, os.fstat(file).st_size, 0)
    decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {}
    objects: list[Object] = []
    for prefix, packed in msgspec.msgpack.decode(data, type=list[_Packed]):
        if prefix not in decoders:
            decoders[prefix] = msgspec.msgpack.Decoder(BY_PREFIX[prefix].type)
        objects.append(decoders[prefix].decode(packed))
    return objects
