"""What a request does, in the words of authorization, and whether a user of the API may do that.

Source: apiserver pkg/endpoints/request/requestinfo.go, pkg/authorization/authorizer; the ClusterRoles `cluster-admin`
and `view` of kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from k8snetlab.api.core import Namespace
from k8snetlab.api.kinds import BUILT_IN, Kinds
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import shorten
from k8snetlab.apiserver import rbac
from k8snetlab.apiserver.access import ACCOUNT_PREFIX, ACCOUNTS, ANONYMOUS, AUTHENTICATED, MASTERS, VIEWERS, User
from k8snetlab.apiserver.discovery import split
from k8snetlab.apiserver.paths import parse
from k8snetlab.apiserver.query import boolean, text
from k8snetlab.apiserver.transport import target_of
from k8snetlab.apiserver.virtual import VIRTUAL, reviewed
from k8snetlab.errors import ForbiddenError, NotFoundError

LOOKS = ("get", "list", "watch")
MANY = ("list", "watch", "deletecollection")
NOTHING = Snapshot()
INTO_PODS = ("exec", "attach", "portforward", "proxy")
"""Parts of a pod through which things are done to it, also by GET."""
HIDDEN = ("secrets",)
"""What a viewer does not see."""
ASKED_OF_ONESELF = frozenset(virtual.plural for virtual in VIRTUAL if virtual.mine)
PUBLIC = ("/version", "/healthz", "/livez", "/readyz")
"""Paths that are open to all, with what is below them."""


class Attributes(msgspec.Struct, frozen=True):
    """What is done to which resource, or (`path`) with a path that is none of a resource."""

    verb: str
    group: str = ""
    resource: str = ""
    part: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def attributes_of(
    method: str, path: str, watch: bool = False, named: str = "", *, kinds: Kinds = BUILT_IN
) -> Attributes:
    """Of a request for an object or a document; `named` is the only object that a field selector leaves of many."""
    if (found := reviewed(path)) is not None:
        virtual, namespace = found
        return Attributes("create", split(virtual.version)[0], virtual.plural, namespace=namespace)
    try:
        target = parse(path, kinds)
    except NotFoundError:
        return Attributes(method.lower(), path=path)
    part = target.subresource
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}
    verb = verbs.get(method, method.lower())
    if part in INTO_PODS:
        verb = "create"
    elif not target.name:
        verb = {"get": "watch" if watch else "list", "delete": "deletecollection"}.get(verb, verb)
    group = split(target.resource.version)[0]
    name = target.name or (named if verb in MANY else "")
    namespace = target.name if target.resource.type is Namespace else target.namespace
    return Attributes(verb, group, target.resource.plural, part, namespace, name)


def asked_by(scope: dict[str, Any], method: str, kinds: Kinds = BUILT_IN) -> Attributes:
    """Of a request as ASGI has it, read as who answers it reads it. Raises RequestError."""
    _, query = target_of(scope)
    selected = (term.partition("=") for term in text(query, "fieldSelector").split(","))
    named = next((value.removeprefix("=") for key, _, value in selected if key.strip() == "metadata.name"), "")
    return attributes_of(method, scope["path"], boolean(query, "watch"), named.strip(), kinds=kinds)


def impersonation(other: User) -> Iterator[Attributes]:
    """What one must be allowed to do to be answered as another user.

    Source: apiserver pkg/endpoints/filters/impersonation.
    """
    own: tuple[str, ...] = ()
    if other.name.startswith(ACCOUNT_PREFIX):
        namespace, _, name = other.name.removeprefix(ACCOUNT_PREFIX).partition(":")
        yield Attributes("impersonate", "", "serviceaccounts", "", namespace, name)
        own = (f"{ACCOUNTS}:{namespace}", ACCOUNTS)
    else:
        yield Attributes("impersonate", "", "users", "", "", other.name)
    for group in other.groups:
        if group not in (AUTHENTICATED, *ANONYMOUS.groups, *own):
            yield Attributes("impersonate", "", "groups", "", "", group)
    if other.uid:
        yield Attributes("impersonate", "authentication.k8s.io", "uids", "", "", other.uid)
    for key, values in other.extra.items():
        yield from (
            Attributes("impersonate", "authentication.k8s.io", "userextras", key, "", value) for value in values
        )


class Decision(NamedTuple):
    allowed: bool
    reason: str = ""


def decided(user: User, asked: Attributes, snapshot: Snapshot) -> Decision:
    """By the lab's two users and, where the Lab says spec.api.rbac, by what its RBAC objects allow; where it does not,
    ServiceAccounts may do everything, as on a server that is told to allow all."""
    if MASTERS in user.groups:
        return Decision(True, f"of the group {MASTERS}")
    if user != ANONYMOUS and asked.resource in ASKED_OF_ONESELF:
        return Decision(True)
    if not snapshot.lab.spec.api.rbac:
        if ACCOUNTS in user.groups:
            return Decision(True, "RBAC is not enforced")
        if asked.path:
            return Decision(is_public(asked.path) or (user != ANONYMOUS and asked.verb in ("get", "head")))
        return Decision(_looks(user, asked))
    if _looks(user, asked) or (asked.path and is_public(asked.path)):
        return Decision(True)
    return _by_rules(user, asked, snapshot)


def allowed(user: User, asked: Attributes, snapshot: Snapshot = NOTHING) -> bool:
    return decided(user, asked, snapshot).allowed


def _looks(user: User, asked: Attributes) -> bool:
    """A viewer, who only looks."""
    if VIEWERS not in user.groups:
        return False
    if asked.path:
        return asked.verb in ("get", "head")
    return asked.verb in LOOKS and asked.resource not in (*HIDDEN, "*") and asked.part not in INTO_PODS


def _by_rules(user: User, asked: Attributes, snapshot: Snapshot) -> Decision:
    resource = f"{asked.resource}/{asked.part}" if asked.part else asked.resource
    wanted, missing = rbac.Asked(asked.verb, asked.group, resource, asked.name, asked.path), list[str]()
    for rule, by in rbac.granted(user, asked.namespace, snapshot, missing):
        if rbac.permits(rule, wanted):
            return Decision(True, by)
    if len(missing) > 1:
        missing = [f"[{', '.join(dict.fromkeys(missing))}]"]
    return Decision(False, f"RBAC: {missing[0]}" if missing else "")


def is_public(path: str) -> bool:
    return any(path == public or path.startswith(f"{public}/") for public in PUBLIC)


def authorize(user: User, asked: Attributes, snapshot: Snapshot = NOTHING) -> None:
    """Raises ForbiddenError, in the API server's words."""
    decision = decided(user, asked, snapshot)
    if decision.allowed:
        return
    because = f": {decision.reason}" if decision.reason else ""
    who = f'User "{user.name}" cannot {asked.verb}'
    if asked.path:
        raise ForbiddenError(f'forbidden: {who} path "{shorten(asked.path)}"{because}')
    resource = f"{asked.resource}/{asked.part}" if asked.part else asked.resource
    what = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    named = f' "{shorten(asked.name)}"' if asked.name else ""
    where = f' in the namespace "{shorten(asked.namespace)}"' if asked.namespace else " at the cluster scope"
    error = ForbiddenError(
        f'{what}{named} is forbidden: {who} resource "{resource}" in API group "{asked.group}"{where}{because}'
    )
    error.about = (asked.group, asked.resource, asked.name)
    raise error
