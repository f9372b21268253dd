"""The daemon's REST face: Kubernetes' paths for objects, the lab's own operations below /apis/k8snetlab/v1alpha1.

Every error is a Kubernetes Status object.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from k8snetlab.apiserver.access import refuse
from k8snetlab.apiserver.objects import LARGEST_OBJECT, PATHS, ObjectRoutes, not_allowed
from k8snetlab.apiserver.query import boolean, number, refuse_unknown
from k8snetlab.apiserver.server import caller_of
from k8snetlab.apiserver.transport import (
    MAX_BODY,
    Answer,
    Body,
    Json,
    Receive,
    Reply,
    Request,
    Send,
    decoded,
    read_request,
    target_of,
    while_connected,
)
from k8snetlab.apiserver.verbs import VerbPaths, asked, check
from k8snetlab.client.status import status
from k8snetlab.errors import DaemonError, K8sNetLabError, NotFoundError, RequestError
from k8snetlab.exec.channels import terminal_of
from k8snetlab.lab.everywhere import Everywhere
from k8snetlab.lab.operations import Operations
from k8snetlab.lab.routes import VerbRoutes
from k8snetlab.lab.table import Table
from k8snetlab.messages.verb import BASE, GROUP_VERSION

log = logging.getLogger(__name__)


class Api:
    """The ASGI application: who answers a request, this machine, another one's daemon, or (`everywhere`) all."""

    def __init__(
        self,
        objects: ObjectRoutes,
        verbs: VerbRoutes,
        operations: Operations,
        table: Table,
        everywhere: Everywhere | None = None,
    ) -> None:
        self._table, self._paths = table, VerbPaths(table)
        self._objects, self._verbs, self._operations, self._everywhere = objects, verbs, operations, everywhere

    async def __call__(self, scope: Json, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = Answer(send)
        try:
            own = scope["path"].startswith(BASE + "/")
            path = tuple(scope["path"].removeprefix(BASE + "/").split("/")) if own else ("objects",)
            refuse(caller_of(scope), scope["method"], path)
            if scope["path"].startswith((f"{BASE}/exec/", f"{BASE}/watch")):
                await self._converse(scope, answer, receive)
            else:
                limit = MAX_BODY if scope["path"].startswith(f"{BASE}/") else LARGEST_OBJECT
                await self._route(*await read_request(scope, receive, limit), answer, receive)
        except K8sNetLabError as error:
            await answer.error(status(error), error.status)
        except msgspec.MsgspecError as error:
            await answer.error(status(RequestError(f"the request is wrong: {error}")), 400)
        except RecursionError:
            await answer.error(status(RequestError("the request's body is nested too deeply")), 400)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("%s %s", scope.get("method"), scope.get("path"))
            bug = K8sNetLabError(f"{type(error).__name__}: {error}", "this is a bug; the daemon's log has it whole")
            await answer.error(status(bug), 500)

    async def _route(self, request: Request, body: bytes, answer: Answer, receive: Receive) -> None:
        own = request.path.removeprefix(BASE + "/").split("/")
        if not request.path.startswith(BASE + "/") or (GROUP_VERSION, own[0]) in PATHS:
            await self._object(request, body, answer, receive)
            return
        try:
            meant = self._paths.find(request.method, request.path)
        except NotFoundError:
            pass
        else:
            check(meant.verb, request.values, request.accept, request.content_type if request.size else None)
            question = asked(meant, request.values, decoded(body))
            await _sent(Reply(await self._table.answer(meant.verb, question)), request, answer, receive)
            return
        self._verbs.check(request, own)
        request.body = decoded(body)
        self._verbs.check_said(request, own)
        everywhere = None if request.alone else self._everywhere
        what = (request.method, own, request.query, request.body)
        if everywhere and (node := everywhere.elsewhere(*what)):
            told = everywhere.forward(node, request.method, request.target, body)
            await while_connected(answer.stream(told), receive())
            return
        leaders = everywhere.allocating(request.method, own, request.target, request.body) if everywhere else None
        if leaders and (begun := await _begun(leaders)):
            await while_connected(answer.stream(begun), receive())
            return
        result = await everywhere.answer(*what) if everywhere else None
        result = await self._verbs.answer(request, own) if result is None else result
        await _sent(Reply(result), request, answer, receive)

    async def _object(self, request: Request, body: bytes, answer: Answer, receive: Receive) -> None:
        target = self._objects.check(request)
        request.body = decoded(body)
        if self._everywhere and not request.alone and self._objects.allocates(request, target):
            written = await self._everywhere.written(request.method, request.target, request.body)
            if written is not None:
                await answer.json(written, 201 if request.method == "POST" else 200)
                return
        await _sent(await self._objects.answer(request, target), request, answer, receive)

    async def _converse(self, scope: Json, answer: Answer, receive: Receive) -> None:
        """Requests whose body comes while they are answered already.

        POST exec/<place>?command=…&command=…&namespace=…: the body is the command's standard input; with
        tty=true&rows=…&columns=…&term=… it is what `channels` makes. Without a command it is a shell.
        POST watch?namespace=…&port=…: it ends with the body.
        """
        target, query = target_of(scope)
        body = Body(receive)
        if scope["path"] == f"{BASE}/watch":
            refuse_unknown(query, ("namespace", "port"), ("namespace", "port"))
            ports = {number({"port": [port]}, "port", 0, 65535) or 0 for port in query.get("port", ())}
            watching = self._operations.explaining.watch(query.get("namespace", []), ports, body.pieces())
            await while_connected(answer.stream(watching), body.read())
            return
        name = scope["path"].removeprefix(f"{BASE}/exec/")
        if scope["method"] != "POST":
            raise not_allowed(scope["method"], ("POST",))
        refuse_unknown(query, ("namespace", "command", "tty", "rows", "columns", "term"), ("command",))
        namespace = query.get("namespace", [""])[-1]
        everywhere = None if scope.get("alone") else self._everywhere
        node = everywhere.elsewhere("POST", ["exec", name], {"namespace": namespace}, None) if everywhere else ""
        events: AsyncIterator[Any]
        if everywhere and node:
            events = everywhere.forward(node, "POST", target, body.pieces())
        else:
            argv, terminal = query.get("command", []), terminal_of(query)
            events = self._operations.places.execute(name, namespace, argv, terminal, body.pieces())
        await while_connected(answer.stream(events), body.read())


async def _sent(reply: Reply, request: Request, answer: Answer, receive: Receive) -> None:
    if not isinstance(reply.value, AsyncIterator):
        await answer.json(reply.value, reply.code, reply.warnings, boolean(request.values, "pretty"))
    else:
        # Whoever asked may go: what is being written then is written, and nothing more is done.
        await while_connected(answer.stream(reply.value), receive())


async def _begun(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes] | None:
    """The same, with its first part there already; None when whoever was asked does not answer."""
    try:
        first = await anext(parts, b"")
    except DaemonError:
        return None

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part

    return whole()
