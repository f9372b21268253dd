"""Decoders for programs with threads.

What msgspec knows of a Struct it gathers when that is first decoded into. A thread that decodes into the same Struct
meanwhile finds that half done, and the process ends with SIGSEGV (msgspec 0.22.0: StructInfo_Convert keeps it with the
class before it is filled in).
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import msgspec

_MAKING = threading.Lock()


@cache
def decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    """One for this type, which several threads may share. From then on they may also convert to it: all that it is made
    of is known."""
    with _MAKING:
        return msgspec.json.Decoder(type_)
