"""The paths of the lab's own operations, below /apis/k8snetlab/v1alpha1."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec

from k8snetlab.api.words import describe, shorten
from k8snetlab.apiserver.negotiation import JSON, TEXT, check_accepted, check_body
from k8snetlab.apiserver.objects import not_allowed
from k8snetlab.apiserver.query import boolean, number, refuse_unknown
from k8snetlab.apiserver.transport import Json, Request
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import NotFoundError, RequestError
from k8snetlab.lab.operations import Operations
from k8snetlab.lab.operations.changing import Terms
from k8snetlab.machines.membership import Membership
from k8snetlab.messages.diagnose import DiagnosisQuestion
from k8snetlab.messages.probe import ProbeQuestion
from k8snetlab.messages.trace import TraceQuestion

WORDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("GET", "status"): (),
    ("GET", "leases"): ("node",),
    ("POST", "up"): (),
    ("POST", "apply"): (),
    ("POST", "delete"): (),
    ("POST", "wait"): (),
    ("GET", "misses"): ("node",),
    ("POST", "probe"): (),
    ("POST", "trace"): (),
    ("POST", "diagnose"): (),
    ("GET", "machine"): (),
    ("POST", "leave"): (),
    ("POST", "end"): (),
    ("POST", "nodes", "*"): (),
    ("GET", "pods", "*"): ("container", "follow", "previous", "tailLines", "limitBytes"),
    ("GET", "rules"): ("node", "service", "family"),
    ("GET", "rules", "difference"): ("node", "other", "service", "family"),
    ("GET", "agents"): ("revision",),
    ("GET", "survey"): ("namespace", "family"),
    ("GET", "findings"): (),
    ("GET", "chains"): ("node", "family"),
    ("GET", "tables", "*"): ("namespace", "table"),
    ("GET", "store"): (),
    ("GET", "store", "dump"): ("prefix",),
    ("POST", "stop"): (),
}
"""The query words that each operation knows; "*" stands for all that follows."""


class Said(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """What a question about packets may say; each operation says more of it."""

    source: str = ""
    target: str = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    protocol: str = ""
    protocols: tuple[str, ...] | None = None
    namespace: str | None = None
    node: str = ""
    endpoint: str = ""
    predictOnly: bool = False


class VerbRoutes:
    """Answers them for this machine; `end` ends its daemon."""

    def __init__(
        self, cluster: Cluster, operations: Operations, membership: Membership, end: Callable[[], None]
    ) -> None:
        self._cluster, self._operations, self._membership, self._end = cluster, operations, membership, end

    @staticmethod
    def check(request: Request, path: list[str]) -> None:
        """Raises what an operation's path, method, query words or headers are refused with."""
        asked = [key for key in WORDS if _names(key[1:], path)]
        if not asked:
            raise NotFoundError(f"{shorten(request.path)} is no operation of this lab")
        key = next((key for key in asked if key[0] == request.method), None)
        if key is None:
            raise not_allowed(request.method, tuple(key[0] for key in asked))
        refuse_unknown(request.values, (*WORDS[key], "pretty"))
        check_accepted(request.accept, (JSON, TEXT))
        if request.size and not request.alone:
            check_body(request.method, request.content_type)

    @staticmethod
    def check_said(request: Request, path: list[str]) -> None:
        """Raises RequestError, msgspec.ValidationError for a body that says what nothing can be done with."""
        if request.body is not None and not isinstance(request.body, dict):
            raise RequestError(f"the body of the request is to be an object, got {describe(request.body)}")
        if request.method == "POST" and path[0] in ("probe", "trace", "diagnose"):
            said = msgspec.convert(request.body or {}, Said)
            if said.source and not said.target and path[0] != "diagnose":
                raise RequestError("to: is missing", "name what is to be reached")

    async def answer(self, request: Request, path: list[str]) -> Json | msgspec.Struct | AsyncIterator[Any]:
        operations, body = self._operations, request.body or {}
        match (request.method, *path):
            case ("GET", "status"):
                return await operations.standing.status()
            case ("GET", "leases"):
                return {"items": await operations.tables.leases(request.query.get("node", ""))}
            case ("POST", "up"):
                return operations.changing.up(_objects(body), _terms(body))
            case ("POST", "apply"):
                return operations.changing.apply(_objects(body), _terms(body))
            case ("POST", "delete"):
                return operations.changing.delete(_objects(body), _terms(body))
            case ("POST", "wait"):
                return operations.changing.wait(_objects(body), _terms(body))
            case ("GET", "misses"):
                return operations.explaining.misses(request.query.get("node", ""))
            case ("POST", "probe"):
                return await operations.explaining.probe(msgspec.convert(body, ProbeQuestion))
            case ("POST", "trace"):
                return await operations.explaining.trace(msgspec.convert(body, TraceQuestion))
            case ("POST", "diagnose"):
                return operations.explaining.diagnose(msgspec.convert(body, DiagnosisQuestion))
            case ("GET", "machine"):
                return await self._membership.joined()
            case ("POST", "leave"):
                await self._membership.leave()
                return {}
            case ("POST", "end"):
                patience = body.get("patience", 0.0)
                if isinstance(patience, bool) or not isinstance(patience, int | float) or not 0 <= patience < 10**9:
                    raise RequestError(f"patience: expected seconds, got {describe(patience)}")
                return self._membership.end(float(patience))
            case ("POST", "nodes", node, ("pause" | "resume") as verb):
                return await operations.changing.pause(node, verb == "pause")
            case ("GET", "pods", namespace, name, "log"):
                query, values = request.query, request.values
                follow, last = boolean(values, "follow"), number(values, "tailLines", low=-1)
                last = -1 if last is None else last
                container, previous = query.get("container", ""), boolean(values, "previous")
                limit = number(values, "limitBytes", low=1)
                written = operations.places.logs(namespace, name, container, follow, last, previous)
                return written if limit is None else _limited(written, limit)
            case ("GET", "rules"):
                query = request.query
                family = query.get("family", "ipv4")
                return await operations.tables.rules(query.get("node", ""), query.get("service", ""), family)
            case ("GET", "rules", "difference"):
                query = request.query
                family = query.get("family", "ipv4")
                nodes = query.get("node", ""), query.get("other", "")
                sides = (
                    await operations.tables.chains(nodes[0], family),
                    await operations.tables.chains(nodes[1], family),
                )
                return await operations.tables.difference(sides, query.get("service", ""), family)
            case ("GET", "agents"):
                return await operations.standing.pace(number(request.values, "revision") or 0)
            case ("GET", "survey"):
                query = request.query
                return operations.explaining.survey(query.get("namespace", ""), query.get("family", "ipv4"))
            case ("GET", "findings"):
                return operations.explaining.findings()
            case ("GET", "chains"):
                query = request.query
                return await operations.tables.chains(query.get("node", ""), query.get("family", "ipv4"))
            case ("GET", "tables", *name):
                query = request.query
                return await operations.tables.of("/".join(name), query.get("namespace", ""), query.get("table", ""))
            case ("GET", "store"):
                return operations.standing.store_status()
            case ("GET", "store", "dump"):
                return self._cluster.dump(request.query.get("prefix", "/"))
            case ("POST", "stop"):
                self._end()
                return {"stopping": True}
        raise NotFoundError(f"{request.method} {request.path} is no operation of this lab")


def _objects(body: Json) -> list[Json]:
    objects = body.get("objects")
    if not isinstance(objects, list):
        raise RequestError(f"objects: expected a list of objects, got {describe(objects)}")
    return objects


def _terms(body: Json) -> Terms:
    """On which terms a change is to be made; what the body holds beside them is passed over."""
    terms = msgspec.convert({key: value for key, value in body.items() if key != "objects"}, Terms)
    if not 0 < terms.timeout < math.inf:
        raise RequestError(f"timeout: expected seconds, more than 0, got {describe(terms.timeout)}")
    return terms


def _names(pattern: tuple[str, ...], path: list[str]) -> bool:
    if pattern[-1] == "*":
        return list(pattern[:-1]) == path[: len(pattern) - 1]
    return list(pattern) == path


async def _limited(pieces: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """The first `limit` bytes."""
    async for piece in pieces:
        yield piece[:limit]
        limit -= len(piece)
        if limit <= 0:
            return
