"""Who asks over TCP: a certificate, or the token of a ServiceAccount; and as whom, where that may be chosen.

Source: apiserver pkg/authentication/request (x509, bearertoken, union), pkg/endpoints/filters/impersonation; Kubernetes
pkg/serviceaccount/claims.go (validator), util.go (UserInfo).
"""

from __future__ import annotations

import base64
import logging
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from k8snetlab.api.config import Secret, ServiceAccount
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.meta import Object
from k8snetlab.apiserver.access import ACCOUNT_PREFIX, ACCOUNTS, ANONYMOUS, AUTHENTICATED, User, unauthorized
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import RequestError
from k8snetlab.store.keys import Keys
from k8snetlab.store.signing import ISSUER, BadTokenError, Claims

log = logging.getLogger(__name__)
REMEMBERED = 1000
"""Tokens whose signature is not looked at again."""
LONGEST = 16 << 10
"""Characters of a token."""
_BEARER, _BASE64URL = "base64url.bearer.authorization.k8s.io.", re.compile(r"[A-Za-z0-9_-]+")
_BOUND: dict[str, type[Object]] = {"pod": Pod, "secret": Secret, "node": Node}
_AS, _GROUP, _UID, _EXTRA = b"impersonate-user", b"impersonate-group", b"impersonate-uid", b"impersonate-extra-"


class Authentication:
    """Knows this lab's tokens. `default` is whom they are for that name no audience: the API itself."""

    def __init__(self, cluster: Cluster, keys: Keys) -> None:
        self._cluster, self.keys = cluster, keys
        self._read: OrderedDict[str, Claims] = OrderedDict()

    def user(self, scope: dict[str, Any], connected: User) -> User:
        """Whoever sent a request over a connection of `connected`. Raises RequestError (401)."""
        if connected != ANONYMOUS:
            return connected
        said = [value for name, value in scope.get("headers", ()) if name == b"authorization"]
        kind, _, token = (said[0].decode("latin-1") if said else "").strip().partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            token = _subprotocol(scope)
        if not token.strip():
            return ANONYMOUS
        try:
            return self.of_token(token.strip())[0]
        except BadTokenError as error:
            log.info("a token was refused: %s", error)
            raise unauthorized() from None

    def of_token(self, token: str, audiences: Sequence[str] = (ISSUER,)) -> tuple[User, tuple[str, ...]]:
        """Whose it is, and for which of the audiences it is good. Raises BadTokenError."""
        if len(token) > LONGEST:
            raise BadTokenError(f"a token of {len(token)} characters")
        now, key = self.keys.now(), f"{self.keys.ahead} {','.join(audiences)} {token}"
        claims = self._read.get(key)
        if claims is None:
            claims = self.keys.signer.claims(token, audiences, now)
            self._read[key] = claims
            if len(self._read) > REMEMBERED:
                self._read.popitem(last=False)
        if now >= claims.expires:
            raise BadTokenError("the token has expired")
        self._check(claims)
        return user_of(claims), claims.audiences

    def _check(self, claims: Claims) -> None:
        """Raises BadTokenError where what the token is bound to has gone."""
        account, snapshot = claims.account, self._cluster.snapshot
        held = snapshot.get(ServiceAccount, account.name, account.namespace)
        if held is None or held.metadata.uid != account.uid:
            raise BadTokenError(f"the ServiceAccount {account.namespace}/{account.name} has gone")
        for kind, one in account.bound.items():
            type_ = _BOUND[kind]
            found = snapshot.get(type_, one.name, account.namespace if type_.namespaced else "")
            if found is None or found.metadata.uid != one.uid:
                raise BadTokenError(f"the {kind} {one.name} has gone")


def _subprotocol(scope: dict[str, Any]) -> str:
    """The token that a browser's WebSocket brings, which cannot send a header of its own: as a subprotocol beside the
    one that is spoken (websocket/protocol.go). "" for none. Raises RequestError (401)."""
    words: list[str] = list(scope.get("subprotocols", ()))
    tokens = [word.removeprefix(_BEARER) for word in words if word.startswith(_BEARER)]
    if not tokens:
        return ""
    if len(tokens) > 1 or len(words) < 2 or not _BASE64URL.fullmatch(tokens[0]):
        raise unauthorized()
    try:
        return base64.urlsafe_b64decode(tokens[0] + "=" * (-len(tokens[0]) % 4)).decode("ascii")
    except (ValueError, UnicodeDecodeError):
        raise unauthorized() from None


def user_of(claims: Claims) -> User:
    account = claims.account
    extra: dict[str, tuple[str, ...]] = {}
    if claims.id:
        extra["authentication.kubernetes.io/credential-id"] = (f"JTI={claims.id}",)
    for kind in ("node", "pod"):
        if one := account.bound.get(kind):
            extra[f"authentication.kubernetes.io/{kind}-name"] = (one.name,)
            extra[f"authentication.kubernetes.io/{kind}-uid"] = (one.uid,)
    return User(f"{ACCOUNT_PREFIX}{account.namespace}:{account.name}", groups_of(account.namespace), account.uid, extra)


def groups_of(namespace: str) -> tuple[str, ...]:
    """A ServiceAccount's."""
    return (ACCOUNTS, f"{ACCOUNTS}:{namespace}", AUTHENTICATED)


def wished(scope: dict[str, Any]) -> User | None:
    """As whom a request wants to be answered (kubectl's --as), None where it does not say. Raises RequestError."""
    name, uid, groups, extra = "", "", list[str](), dict[str, tuple[str, ...]]()
    for header, raw in scope.get("headers", ()):
        value = raw.decode("utf-8", "replace")
        if header == _AS:
            name = value
        elif header == _UID:
            uid = value
        elif header == _GROUP:
            groups.append(value)
        elif header.startswith(_EXTRA):
            key = unquote(header.removeprefix(_EXTRA).decode("latin-1"))
            extra[key] = (*extra.get(key, ()), value)
    if not name:
        if uid or groups or extra:
            raise RequestError("requested groups or uid without impersonating a user", "kubectl --as names the user")
        return None
    return User(name, _groups(name, groups), uid, extra)


def _groups(name: str, asked: list[str]) -> tuple[str, ...]:
    """Those of a user that is impersonated: asked for, and what everybody of that name has."""
    account = name.removeprefix(ACCOUNT_PREFIX).split(":") if name.startswith(ACCOUNT_PREFIX) else []
    own = groups_of(account[0])[:2] if len(account) == 2 and not asked else ()
    everybody = ANONYMOUS.groups if name == ANONYMOUS.name else (AUTHENTICATED,)
    return tuple(dict.fromkeys((*asked, *own, *everybody)))
