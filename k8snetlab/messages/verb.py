"""A verb of the lab's own: its way over HTTP, what is asked, what is answered, and who answers.

A verb is declared once. The server's routing and refusals, the forwarding between machines and the client's call follow
from the declaration. A request is a Struct, whose fields are the path's parameters and, for the rest, the query's words
or the body's members.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from k8snetlab import __version__
from k8snetlab.messages.timeouts import ANSWER

Q = TypeVar("Q", bound=msgspec.Struct)
A = TypeVar("A")

GROUP_VERSION = "k8snetlab/v1alpha1"
BASE = f"/apis/{GROUP_VERSION}"
"""All verbs' paths are below it."""
SERVER = f"k8snetlab/{__version__}"
"""The Server header of a daemon's answers: whoever reads another one talks to a daemon of another version."""
ERROR = b'{"type":"error"'
"""With this begins the last line of a stream that broke off; "status" in it is the Status."""
_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


class Nothing(msgspec.Struct, frozen=True):
    """A request that says no more than its verb, or an answer that says no more than that it was done."""


class Here(msgspec.Struct, frozen=True):
    """The daemon that is asked answers."""


class Leader(msgspec.Struct, frozen=True):
    """The leader's daemon answers, and the one that is asked where that one does not. It alone gives an object an
    address or a port, so that no two machines give the same one."""


class All(msgspec.Struct, frozen=True):
    """Every machine's daemon answers, and the one that is asked makes one answer of all.

    `within`: seconds for which the others are waited for, None for the patience of every request. With it they are not
    asked at all while the store, which carries the question, does not answer.
    """

    within: float | None = None


class OfNode(msgspec.Struct, frozen=True):
    """The daemon of the node that the request's field `node` names; where that is "", `otherwise`."""

    otherwise: Here | All = Here()


class OfPod(msgspec.Struct, frozen=True):
    """The daemon of the node on which a pod runs; the request's fields `namespace` and `name` name the pod."""


class OfPlace(msgspec.Struct, frozen=True):
    """The daemon of the node of a place: a pod, a node, the router or the host outside. The request's field that is
    called as `field` says names it, and `namespace` that of a pod; where the name is "", `otherwise`."""

    field: str = "name"
    otherwise: Here | All = Here()


Who = Here | Leader | All | OfNode | OfPod | OfPlace


class Verb(msgspec.Struct, Generic[Q], frozen=True, eq=False):
    """What is declared of every verb; its subclasses say in which form it is answered."""

    name: str
    """As the command line has it, where it has it."""
    method: str
    """GET looks, POST does."""
    path: str
    """Below BASE, with fields of the request in braces: {node}, or {name:path} for one that may have slashes."""
    request: type[Q]
    """What is asked. Fields that do not stand in the path stand in the query (GET) or the body."""
    answer: Any
    """The type of the answer, or of each value of a stream."""
    who: Who = Here()
    """Who answers, in a lab of several machines."""
    group: bool = False
    """Whether those may ask it who may look at a lab (docs/security.md)."""
    silence: float | None = ANSWER
    """Seconds for which nothing may come, None for ever."""

    def target(self, request: Q) -> str:
        """Path and query by which `request` is asked."""

        def filled(found: re.Match[str]) -> str:
            return quote(str(getattr(request, fields[found[1]])), safe="/" if found[2] else "")

        fields = {field.encode_name: field.name for field in msgspec.structs.fields(self.request)}
        path = f"{BASE}/{_PARAMETER.sub(filled, self.path)}"
        query = {name: _worded(value) for name, value in self._others(request) if value is not None}
        return path + (f"?{urlencode(query, doseq=True)}" if query and self.has_query else "")

    def body(self, request: Q) -> bytes:
        """The body with which `request` is asked, b"" for none."""
        members = {} if self.has_query else dict(self._others(request))
        return msgspec.json.encode(members) if members else b""

    @property
    def has_query(self) -> bool:
        """Whether the request's fields stand in the query, else in the body."""
        return self.method == "GET"

    @property
    def words(self) -> tuple[msgspec.structs.FieldInfo, ...]:
        """The fields of the query."""
        return self._rest if self.has_query else ()

    @property
    def pattern(self) -> str:
        """A regular expression of the verb's paths, as far as they follow BASE and a slash, with a group for each
        parameter, which may be empty: who answers says what is wrong with an empty name."""
        parts, end = [], 0
        for found in _PARAMETER.finditer(self.path):
            parts.append(re.escape(self.path[end : found.start()]))
            parts.append(f"(?P<{found[1]}>{'.*' if found[2] else '[^/]*'})")
            end = found.end()
        return "".join(parts) + re.escape(self.path[end:])

    @property
    def _rest(self) -> tuple[msgspec.structs.FieldInfo, ...]:
        in_path = {found[1] for found in _PARAMETER.finditer(self.path)}
        return tuple(f for f in msgspec.structs.fields(self.request) if f.encode_name not in in_path)

    def _others(self, request: Q) -> Iterator[tuple[str, Any]]:
        return ((field.encode_name, getattr(request, field.name)) for field in self._rest)


class Call(Verb[Q], Generic[Q, A], frozen=True, eq=False):
    """Answered by one value."""


class Packed(Verb[Q], Generic[Q, A], frozen=True, eq=False):
    """Answered by one value in MessagePack, whose maps have keys that JSON has no words for; between daemons."""


class Stream(Verb[Q], Generic[Q, A], frozen=True, eq=False):
    """Answered by values as they come, a JSON line each. The last line may be an ERROR."""

    last: type[msgspec.Struct] | None = None
    """The type of the last value, without which the answer broke off; None where there is no such value."""


class Conversation(Verb[Q], Generic[Q, A], frozen=True, eq=False):
    """As Stream, and the request has a body of bytes, which comes while it is answered already."""

    @property
    def has_query(self) -> bool:
        return True


def _worded(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
