"""The daemon's REST face: Kubernetes' paths for objects, and the table of verbs below the lab's own group and version.

Every error is a Kubernetes Status object.
"""

from __future__ import annotations

from typing import Any

import msgspec

from k8snetlab.apiserver import verbs
from k8snetlab.apiserver.access import ROOT, User, admit, permit, user_of
from k8snetlab.apiserver.authorization import HIDDEN, attributes_of
from k8snetlab.apiserver.bodies import body_of, carried
from k8snetlab.apiserver.door import Door, answered, sent
from k8snetlab.apiserver.freshness import Freshness
from k8snetlab.apiserver.negotiation import TEXT, media_type
from k8snetlab.apiserver.objects import LARGEST_OBJECT, ObjectRoutes
from k8snetlab.apiserver.paths import PATHS, Target
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
    refuse,
    target_of,
    while_connected,
)
from k8snetlab.apiserver.verbs import Meant, VerbPaths
from k8snetlab.apiserver.virtual import reviewed
from k8snetlab.errors import K8sNetLabError
from k8snetlab.lab import pod_logs, pod_streams
from k8snetlab.lab.everywhere import Asked, Everywhere
from k8snetlab.lab.table import Table
from k8snetlab.messages.errors import status_of
from k8snetlab.messages.verb import BASE, GROUP_VERSION, Conversation, Verb


class Api:
    """The ASGI application. Verbs are answered as `table` has it, in a lab of several machines by `everywhere`, and
    objects as all of them have written them (`fresh`)."""

    def __init__(
        self,
        objects: ObjectRoutes,
        table: Table,
        everywhere: Everywhere | None = None,
        fresh: Freshness | None = None,
    ) -> None:
        self._objects, self._table, self._everywhere, self._fresh = objects, table, everywhere, fresh
        self._paths, self._door = VerbPaths(table), Door(objects)

    @property
    def door(self) -> Door:
        return self._door

    async def __call__(self, scope: Json, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        if scope["type"] != "http":
            return
        answer = Answer(send)
        await answered(scope, answer, self._route(scope, answer, receive))

    async def _route(self, scope: Json, answer: Answer, receive: Receive) -> None:
        caller, method, path = self._door.asks(scope), scope["method"], scope["path"]
        user = caller if isinstance(caller, User) else user_of(caller) if caller else ROOT
        own = path.removeprefix(f"{BASE}/")
        objects = own == path or (GROUP_VERSION, own.partition("/")[0]) in PATHS
        if isinstance(caller, User):
            user = self._door.let_in(caller, scope, method, objects)
            caller = None
        elif objects:
            user = self._door.as_wished(user, scope)
        admit(caller)
        if objects:
            if caller:
                hidden = attributes_of(method, path).resource in HIDDEN
                permit(caller, (method == "GET" and not hidden) or reviewed(path) is not None, f"{method} objects")
            limit = 0 if method in ("GET", "HEAD") else LARGEST_OBJECT if own == path else MAX_BODY
            request, body = await read_request(scope, receive, limit)
            request.user = user
            await self._object(request, body, answer, receive)
            return
        meant = self._paths.find(method, path)
        permit(caller, meant.verb.group, f"{method} {own}")
        if isinstance(meant.verb, Conversation):
            await self._converse(meant, scope, answer, receive)
        else:
            await self._verb(meant, *await read_request(scope, receive), answer, receive)

    async def _socket(self, scope: Json, receive: Receive, send: Send) -> None:
        """A WebSocket, or what looks like one: a command in a pod, or connections to its ports."""
        try:
            user, asked = self._door.asks(scope), pod_streams.Asked(*self._objects.streamed(scope))
            if isinstance(user, User):
                self._door.let_in(user, scope, "GET", True)
            else:
                admit(user)
                permit(user, False, asked.target.subresource)
            await pod_streams.converse(self._ask, asked, scope, receive, send)
        except K8sNetLabError as error:
            await refuse(send, status_of(error))

    async def _object(self, request: Request, body: bytes, answer: Answer, receive: Receive) -> None:
        target = self._objects.check(request)
        request.body = body_of(request.content_type, body)
        if isinstance(target, Target) and target.subresource == "log":
            pieces = pod_logs.log(self._ask, pod_logs.log_question(target, self._objects.pod(target), request))
            await while_connected(answer.stream(pieces, TEXT), receive())
            return
        if self._everywhere and not request.alone and self._objects.allocates(request, target):
            written = await self._everywhere.written(request.method, request.target, _carried(request))
            if written is not None:
                await answer.whole(Reply(written, 201 if request.method == "POST" else 200))
                return
        if self._fresh and isinstance(target, Target) and not request.alone:
            await self._fresh.where_possible(request, target)
        await sent(await self._objects.answer(request, target), request, answer, receive)

    async def _ask(self, verb: Verb[Any], question: msgspec.Struct, body: Any) -> Any:
        """What a verb of the lab's own answers, on whichever machine."""
        if self._everywhere:
            return await self._everywhere.answer(Asked(verb, question, verb.target(question), body))
        return await self._table.answered(verb, question, *(() if body == b"" else (body,)))

    async def _verb(self, meant: Meant, request: Request, body: bytes, answer: Answer, receive: Receive) -> None:
        has_body = bool(request.size) and not request.alone
        verbs.check(meant.verb, request.values, request.accept, request.content_type if has_body else None)
        question = verbs.asked(meant, request.values, decoded(body))
        everywhere = None if request.alone else self._everywhere
        if everywhere:
            result = await everywhere.answer(Asked(meant.verb, question, request.target, body))
        else:
            result = await self._table.answered(meant.verb, question)
        await sent(Reply(result), request, answer, receive)

    async def _converse(self, meant: Meant, scope: Json, answer: Answer, receive: Receive) -> None:
        """A request whose body comes while it is answered already."""
        target, values = target_of(scope)
        verbs.check(meant.verb, values)
        question, body = verbs.asked(meant, values), Body(receive)
        everywhere = None if scope.get("alone") else self._everywhere
        if everywhere:
            events = await everywhere.answer(Asked(meant.verb, question, target, body.pieces()))
        else:
            events = await self._table.answered(meant.verb, question, body.pieces())
        await while_connected(answer.stream(events), body.read())


def _carried(request: Request) -> Any:
    return carried(media_type(request.content_type), request.body) if request.method == "PATCH" else request.body
