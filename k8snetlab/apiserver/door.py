"""Who is let in, and as whom: what every request passes before it is answered, whichever server answers it; and the one
place where what goes wrong becomes a Status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import msgspec

from k8snetlab.apiserver.access import ANONYMOUS, MASTERS, Caller, User, unauthorized
from k8snetlab.apiserver.authentication import wished
from k8snetlab.apiserver.authorization import Attributes, asked_by, authorize, impersonation, is_public
from k8snetlab.apiserver.objects import ObjectRoutes
from k8snetlab.apiserver.paths import absence
from k8snetlab.apiserver.query import pretty
from k8snetlab.apiserver.server import caller_of
from k8snetlab.apiserver.transport import Answer, Receive, Reply, Request, while_connected
from k8snetlab.errors import ForbiddenError, K8sNetLabError, NotFoundError, RequestError
from k8snetlab.messages.errors import status_of

log = logging.getLogger(__name__)
Json = dict[str, Any]


class Door:
    """Of the server that answers by `objects`."""

    def __init__(self, objects: ObjectRoutes) -> None:
        self._objects = objects

    def asks(self, scope: Json) -> Caller | User | None:
        """Raises RequestError (401)."""
        caller = caller_of(scope)
        if isinstance(caller, User) and (known := self._objects.authentication):
            return known.user(scope, caller)
        return caller

    def let_in(self, user: User, scope: Json, method: str, objects: bool) -> User:
        """As whom the request is answered. Raises RequestError (401), ForbiddenError. A verb of the lab's own is an
        administrator's."""
        path, snapshot = scope["path"], self._objects.snapshot
        if user == ANONYMOUS and not (objects and method == "GET" and is_public(path)):
            raise unauthorized()
        user = self.as_wished(user, scope)
        asked = asked_by(scope, method, self._objects.kinds) if objects else Attributes(method.lower(), path=path)
        authorize(user, asked, snapshot)
        if not objects and MASTERS not in user.groups:
            raise ForbiddenError(f"{method} {path}: the lab's own verbs are an administrator's")
        return user

    def as_wished(self, user: User, scope: Json) -> User:
        """Whom the request names (kubectl's --as), where the user may do that. Raises ForbiddenError."""
        other = wished(scope)
        if other is None:
            return user
        for asked in impersonation(other):
            authorize(user, asked, self._objects.snapshot)
        return other


async def answered(scope: Json, answer: Answer, work: Awaitable[None]) -> None:
    """`work` answers a request of HTTP; what goes wrong is answered as a Status."""
    try:
        await work
    except K8sNetLabError as error:
        # A client that tries an older version next shows nothing of this answer but its warnings.
        why = absence(scope["path"]) if scope["method"] == "POST" and isinstance(error, NotFoundError) else ""
        await answer.error(status_of(error), (why,) if why else ())
    except msgspec.MsgspecError as error:
        await answer.error(status_of(RequestError(f"the request is wrong: {error}")))
    except RecursionError:
        await answer.error(status_of(RequestError("the request's body is nested too deeply")))
    except asyncio.CancelledError:
        raise
    except Exception as error:
        log.exception("%s %s", scope.get("method"), scope.get("path"))
        bug = K8sNetLabError(f"{type(error).__name__}: {error}", "this is a bug; the server's log has it whole")
        await answer.error(status_of(bug))


async def sent(reply: Reply, request: Request, answer: Answer, receive: Receive) -> None:
    if not isinstance(reply.value, AsyncIterator):
        await answer.whole(reply, pretty(request.values, request.agent))
    else:
        # Whoever asked may go: what is being written then is written, and nothing more is done.
        await while_connected(answer.stream(reply.value), receive())
