"""The API alone, as an ASGI application: Kubernetes' paths for objects over whatever store the cluster has, and nothing
of a lab's: no verbs of its own, no kubelet behind it."""

from __future__ import annotations

from k8snetlab.apiserver.access import ROOT, Caller, User, admit, permit, user_of
from k8snetlab.apiserver.authorization import HIDDEN, attributes_of
from k8snetlab.apiserver.bodies import body_of
from k8snetlab.apiserver.door import Door, answered, sent
from k8snetlab.apiserver.freshness import Freshness
from k8snetlab.apiserver.objects import LARGEST_OBJECT, ObjectRoutes
from k8snetlab.apiserver.parts import STREAMED
from k8snetlab.apiserver.paths import Target
from k8snetlab.apiserver.transport import Answer, Json, Receive, Request, Send, read_request, refuse
from k8snetlab.apiserver.virtual import reviewed
from k8snetlab.errors import K8sNetLabError, RequestError
from k8snetlab.messages.errors import status_of


class ObjectApi:
    """Answers by `objects`; `fresh` where others write to the store as well."""

    def __init__(self, objects: ObjectRoutes, fresh: Freshness | None = None) -> None:
        self._objects, self._fresh, self._door = objects, fresh, Door(objects)

    async def __call__(self, scope: Json, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, send)
        if scope["type"] == "http":
            answer = Answer(send)
            await answered(scope, answer, self._route(scope, answer, receive))

    async def _route(self, scope: Json, answer: Answer, receive: Receive) -> None:
        caller, method, path = self._door.asks(scope), scope["method"], scope["path"]
        if isinstance(caller, User):
            user = self._door.let_in(caller, scope, method, True)
        else:
            admit(caller)
            looks = method == "GET" and attributes_of(method, path).resource not in HIDDEN
            permit(caller, looks or reviewed(path) is not None, f"{method} objects")
            user = self._door.as_wished(_user(caller), scope)
        request, body = await read_request(scope, receive, 0 if method in ("GET", "HEAD") else LARGEST_OBJECT)
        request.user = user
        await self._answer(request, body, answer, receive)

    async def _answer(self, request: Request, body: bytes, answer: Answer, receive: Receive) -> None:
        target = self._objects.check(request)
        if isinstance(target, Target) and target.subresource in (*STREAMED, "log"):
            raise _nobody(target.subresource)
        request.body = body_of(request.content_type, body)
        if self._fresh and isinstance(target, Target):
            await self._fresh.of(request, target)
        await sent(await self._objects.answer(request, target), request, answer, receive)

    async def _socket(self, scope: Json, send: Send) -> None:
        """A WebSocket, or what looks like one: only a kubelet could answer it."""
        try:
            user, (target, _, _) = self._door.asks(scope), self._objects.streamed(scope)
            if isinstance(user, User):
                self._door.let_in(user, scope, "GET", True)
            else:
                admit(user)
                permit(user, False, target.subresource)
            raise _nobody(target.subresource)
        except K8sNetLabError as error:
            await refuse(send, status_of(error))


def _user(caller: Caller | None) -> User:
    return user_of(caller) if caller else ROOT


def _nobody(part: str) -> RequestError:
    message = f"{part}: this API server runs alone, without a kubelet that could be asked"
    return RequestError(message, "`k8snetlab up` runs pods", "ServiceUnavailable", 503)
