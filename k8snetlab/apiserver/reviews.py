"""Kinds that are asked and answered and never stored: what a user may do, who it is, whose a token is.

Source: k8s.io/api/authorization/v1, authentication/v1; pkg/registry/authorization, pkg/registry/authentication.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import to_builtins

from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import describe, shorten
from k8snetlab.apiserver import rbac
from k8snetlab.apiserver.access import ACCOUNTS, MASTERS, VIEWERS, User
from k8snetlab.apiserver.authentication import Authentication
from k8snetlab.apiserver.authorization import HIDDEN, LOOKS, Attributes, decided
from k8snetlab.apiserver.virtual import VIRTUAL, Virtual
from k8snetlab.errors import RequestError
from k8snetlab.store.signing import ISSUER, BadTokenError

Json = dict[str, Any]
ANYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
ANY_PATH = {"verbs": ["*"], "nonResourceURLs": ["*"]}


class Reviews:
    """Answers them by the objects of `snapshot()`; without `authentication` no token is anybody's."""

    def __init__(self, snapshot: Callable[[], Snapshot], authentication: Authentication | None = None) -> None:
        self._snapshot, self._authentication = snapshot, authentication
        self._answers: dict[str, Callable[[User, str, Json], Json]] = {
            "selfsubjectaccessreviews": self._own_access,
            "subjectaccessreviews": self._access,
            "localsubjectaccessreviews": self._access,
            "selfsubjectrulesreviews": self._rules,
            "selfsubjectreviews": _whoami,
            "tokenreviews": self._token,
        }
        assert self._answers.keys() == {virtual.plural for virtual in VIRTUAL}

    def answered(self, review: Virtual, namespace: str, user: User, body: Any) -> Json:
        """The review with its status. Raises RequestError."""
        if not isinstance(body, dict):
            raise RequestError(f"the body of the request holds no object, but {describe(body)}")
        for field, wanted in (("apiVersion", review.version), ("kind", review.kind)):
            if body.get(field) not in (None, "", wanted):
                said = shorten(str(body[field]))
                raise RequestError(f"the {field} in the data ({said}) does not match the expected one ({wanted})")
        spec = body.get("spec")
        if not isinstance(spec, dict | None):
            raise RequestError(f"spec: expected a mapping, got {describe(spec)}")
        metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
        status = self._answers[review.plural](user, namespace, spec or {})
        kind = {"kind": review.kind, "apiVersion": review.version, "metadata": metadata or {}}
        return {**kind, **({"spec": spec} if spec else {}), "status": status}

    def _own_access(self, user: User, namespace: str, spec: Json) -> Json:
        resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if isinstance(resource, dict) == isinstance(path, dict):
            raise _invalid("exactly one of nonResourceAttributes or resourceAttributes must be specified")
        if isinstance(resource, dict):
            said = [
                _text(resource, field) for field in ("verb", "group", "resource", "subresource", "namespace", "name")
            ]
            if namespace and said[4] != namespace:
                message = "must match metadata.namespace"
                raise _invalid(message, "spec.resourceAttributes.namespace")
            asked = Attributes(*said)
        else:
            assert isinstance(path, dict)
            if namespace:
                raise _invalid("disallowed on this kind of request", "spec.nonResourceAttributes")
            asked = Attributes(_text(path, "verb"), path=_text(path, "path") or "/")
        decision = decided(user, asked, self._snapshot())
        return {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}

    def _access(self, _: User, namespace: str, spec: Json) -> Json:
        """Of another user."""
        name, groups = _text(spec, "user"), _texts(spec, "groups")
        if not name and not groups:
            raise _invalid("at least one of user or group must be specified", "spec.user")
        return self._own_access(User(name, groups, _text(spec, "uid")), namespace, spec)

    def _rules(self, user: User, _: str, spec: Json) -> Json:
        namespace = _text(spec, "namespace")
        if not namespace:
            raise RequestError("no namespace on request")
        snapshot = self._snapshot()
        if MASTERS in user.groups or (ACCOUNTS in user.groups and not snapshot.lab.spec.api.rbac):
            return {"resourceRules": [ANYTHING], "nonResourceRules": [ANY_PATH], "incomplete": False}
        rules: Json = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}
        if VIEWERS in user.groups:
            rules["resourceRules"] = [{**ANYTHING, "verbs": list(LOOKS)}]
            rules["nonResourceRules"] = [{"verbs": ["get"], "nonResourceURLs": ["*"]}]
            rules["evaluationError"] = f"but for {', '.join(HIDDEN)}, which a viewer does not see"
        if snapshot.lab.spec.api.rbac:
            for rule, _by in rbac.granted(user, namespace, snapshot):
                rules["nonResourceRules" if rule.nonResourceURLs else "resourceRules"].append(to_builtins(rule))
        return rules

    def _token(self, _: User, __: str, spec: Json) -> Json:
        token, audiences = _text(spec, "token"), _texts(spec, "audiences")
        if not token:
            raise RequestError("token is required for TokenReview in authentication")
        try:
            if self._authentication is None:
                raise BadTokenError("no token is good here")
            found, good = self._authentication.of_token(token, audiences or (ISSUER,))
        except BadTokenError as error:
            return {"user": {}, "error": f"[invalid bearer token, {error}]"}
        return {"authenticated": True, "user": _info(found), "audiences": list(good)}


def _whoami(user: User, _: str, __: Json) -> Json:
    return {"userInfo": _info(user)}


def _info(user: User) -> Json:
    info: Json = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def _text(value: Json, field: str) -> str:
    said = value.get(field, "")
    if not isinstance(said, str):
        raise RequestError(f"{field}: expected a string, got {describe(said)}")
    return said


def _texts(value: Json, field: str) -> tuple[str, ...]:
    said = value.get(field) or []
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
        raise RequestError(f"{field}: expected strings, got {describe(said)}")
    return tuple(said)


def _invalid(message: str, field: str = "spec") -> RequestError:
    return RequestError(f"{field}: Invalid value: {message}", "", "Invalid", 422)
