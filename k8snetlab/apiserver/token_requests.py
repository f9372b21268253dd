"""A ServiceAccount's token on request: the subresource `token` (`kubectl create token`).

Source: Kubernetes pkg/registry/core/serviceaccount/storage/token.go, pkg/apis/authentication/validation.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from k8snetlab.api.config import Secret, ServiceAccount
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.inside import account_of
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import describe, shorten
from k8snetlab.errors import ConflictError, NotFoundError, RequestError
from k8snetlab.store.keys import Keys
from k8snetlab.store.signing import ISSUER, Account, Bound

Json = dict[str, Any]
VERSION, KIND = "authentication.k8s.io/v1", "TokenRequest"
HOUR, SHORTEST, LONGEST = 3600, 600, 1 << 32
"""Seconds: for which a token is good where nobody says, and what one may ask for."""
_KINDS: dict[tuple[str, str], tuple[str, type[Object]]] = {
    ("v1", "Pod"): ("pod", Pod),
    ("v1", "Secret"): ("secret", Secret),
    ("v1", "Node"): ("node", Node),
}


class _Reference(msgspec.Struct):
    kind: str = ""
    apiVersion: str = ""
    name: str = ""
    uid: str = ""


class _Spec(msgspec.Struct):
    audiences: list[str] | None = None
    expirationSeconds: int | None = None
    boundObjectRef: _Reference | None = None


def issued(account: ServiceAccount, body: Any, snapshot: Snapshot, keys: Keys, dry: bool = False) -> Json:
    """The TokenRequest with its token. Raises RequestError, NotFoundError, ConflictError."""
    spec = _spec(body)
    seconds = HOUR if spec.expirationSeconds is None else spec.expirationSeconds
    if not SHORTEST <= seconds <= LONGEST:
        bound = "less than 10 minutes" if seconds < SHORTEST else "larger than 2^32 seconds"
        message = f"spec.expirationSeconds: Invalid value: {seconds}: may not specify a duration {bound}"
        raise RequestError(message, "", "Invalid", 422)
    held = _bound(spec.boundObjectRef, account, snapshot) if spec.boundObjectRef else {}
    audiences, now = spec.audiences or [ISSUER], keys.now()
    whom = Account(account.namespace, account.name, account.metadata.uid, held)
    token = "" if dry else keys.signer.token(whom, audiences, seconds, now)
    reference = msgspec.to_builtins(spec.boundObjectRef) if spec.boundObjectRef else None
    return {
        "kind": KIND,
        "apiVersion": VERSION,
        "metadata": {"name": account.name, "namespace": account.namespace, "creationTimestamp": _stamp(now)},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference},
        "status": {"token": token, "expirationTimestamp": _stamp(int(now) + seconds)},
    }


def _spec(body: Any) -> _Spec:
    if not isinstance(body, dict):
        raise RequestError(f"the body of the request holds no object, but {describe(body)}")
    for field, wanted in (("apiVersion", VERSION), ("kind", KIND)):
        if body.get(field) not in (None, "", wanted):
            said = shorten(str(body[field]))
            raise RequestError(f"the {field} in the data ({said}) does not match the expected one ({wanted})")
    try:
        return msgspec.convert(body.get("spec") or {}, _Spec)
    except msgspec.ValidationError as error:
        raise RequestError(f"spec: {error}") from error


def _bound(reference: _Reference, account: ServiceAccount, snapshot: Snapshot) -> dict[str, Bound]:
    known = _KINDS.get((reference.apiVersion, reference.kind))
    if known is None:
        what = f"{shorten(reference.apiVersion)}, Kind={shorten(reference.kind)}"
        raise RequestError(f"cannot bind token to object of type {what}")
    word, type_ = known
    found = snapshot.get(type_, reference.name, account.namespace if type_.namespaced else "")
    if found is None:
        error = NotFoundError(f'{word}s "{shorten(reference.name)}" not found')
        error.about = ("", f"{word}s", reference.name)
        raise error
    if reference.uid and reference.uid != found.metadata.uid:
        raise ConflictError(
            f"the UID in the bound object reference ({shorten(reference.uid)}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
    if isinstance(found, Pod) and account_of(found) != account.name:
        raise RequestError(
            f'cannot bind token for serviceaccount "{account.name}" to pod running with different serviceaccount name.'
        )
    bound = {word: Bound(found.name, found.metadata.uid)}
    if isinstance(found, Pod) and (node := snapshot.get(Node, found.spec.nodeName)):
        bound = {"node": Bound(node.name, node.metadata.uid), **bound}
    return bound


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(min(int(seconds), 253402300799), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
