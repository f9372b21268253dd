"""What a request does, in the words of authorization, and whether a user of the API may do that.

Source: apiserver pkg/endpoints/request/requestinfo.go, pkg/authorization/authorizer; the ClusterRoles `cluster-admin`
and `view` of kube-apiserver.
"""

from __future__ import annotations

import msgspec

from k8snetlab.api.kinds import BUILT_IN, Kinds
from k8snetlab.api.words import shorten
from k8snetlab.apiserver.access import ACCOUNTS, ANONYMOUS, MASTERS, VIEWERS, User
from k8snetlab.apiserver.discovery import split
from k8snetlab.apiserver.paths import parse
from k8snetlab.apiserver.virtual import AT, VIRTUAL
from k8snetlab.errors import ForbiddenError, NotFoundError

LOOKS = ("get", "list", "watch")
INTO_PODS = ("exec", "attach", "portforward", "proxy")
"""Parts of a pod through which things are done to it, also by GET."""
HIDDEN = ("secrets",)
"""What a viewer does not see."""
ASKED_OF_ONESELF = frozenset(virtual.plural for virtual in VIRTUAL)
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


def attributes_of(method: str, path: str, watch: bool = False, kinds: Kinds = BUILT_IN) -> Attributes:
    """Of a request for an object or a document."""
    if (virtual := AT.get(path.rstrip("/"))) is not None:
        return Attributes("create", split(virtual.version)[0], virtual.plural)
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
    return Attributes(verb, group, target.resource.plural, part, target.namespace, target.name)


def allowed(user: User, asked: Attributes) -> bool:
    if MASTERS in user.groups or ACCOUNTS in user.groups or (user != ANONYMOUS and asked.resource in ASKED_OF_ONESELF):
        return True
    if asked.path:
        return is_public(asked.path) or (user != ANONYMOUS and asked.verb in ("get", "head"))
    looks = asked.verb in LOOKS and asked.resource not in (*HIDDEN, "*") and asked.part not in INTO_PODS
    return VIEWERS in user.groups and looks


def is_public(path: str) -> bool:
    return any(path == public or path.startswith(f"{public}/") for public in PUBLIC)


def authorize(user: User, asked: Attributes) -> None:
    """Raises ForbiddenError, in the API server's words."""
    if allowed(user, asked):
        return
    who = f'User "{user.name}" cannot {asked.verb}'
    if asked.path:
        raise ForbiddenError(f'forbidden: {who} path "{shorten(asked.path)}"')
    resource = f"{asked.resource}/{asked.part}" if asked.part else asked.resource
    what = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    named = f' "{shorten(asked.name)}"' if asked.name else ""
    where = f' in the namespace "{shorten(asked.namespace)}"' if asked.namespace else " at the cluster scope"
    error = ForbiddenError(
        f'{what}{named} is forbidden: {who} resource "{resource}" in API group "{asked.group}"{where}'
    )
    error.about = (asked.group, asked.resource, asked.name)
    raise error
