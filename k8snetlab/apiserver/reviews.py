"""Kinds that are asked and answered and never stored: what a user may do, and who it is.

Pure. Source: k8s.io/api/authorization/v1, authentication/v1; pkg/registry/authorization.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from k8snetlab.api.words import describe, shorten
from k8snetlab.apiserver.access import MASTERS, VIEWERS, User
from k8snetlab.apiserver.authorization import HIDDEN, LOOKS, Attributes, allowed
from k8snetlab.apiserver.virtual import VIRTUAL, Virtual
from k8snetlab.errors import RequestError

Json = dict[str, Any]
ANYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


def answered(review: Virtual, user: User, body: Any) -> Json:
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
    status = _ANSWERS[review.plural](user, spec or {})
    kind = {"kind": review.kind, "apiVersion": review.version, "metadata": metadata or {}}
    return {**kind, **({"spec": spec} if spec else {}), "status": status}


def _access(user: User, spec: Json) -> Json:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(resource, dict) == isinstance(path, dict):
        raise RequestError(
            "spec: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            "",
            "Invalid",
            422,
        )
    if isinstance(resource, dict):
        said = [_text(resource, field) for field in ("verb", "group", "resource", "subresource", "namespace", "name")]
        asked = Attributes(*said)
    else:
        assert isinstance(path, dict)
        asked = Attributes(_text(path, "verb"), path=_text(path, "path") or "/")
    yes = allowed(user, asked)
    return {"allowed": yes, **({"reason": f"of the group {MASTERS}"} if yes and MASTERS in user.groups else {})}


def _rules(user: User, spec: Json) -> Json:
    rules: Json = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}
    if MASTERS in user.groups:
        rules["resourceRules"] = [ANYTHING]
        rules["nonResourceRules"] = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    elif VIEWERS in user.groups:
        rules["resourceRules"] = [{**ANYTHING, "verbs": list(LOOKS)}]
        rules["nonResourceRules"] = [{"verbs": ["get"], "nonResourceURLs": ["*"]}]
        rules["evaluationError"] = f"but for {', '.join(HIDDEN)}, which a viewer does not see"
    return rules


def _whoami(user: User, spec: Json) -> Json:
    info: Json = {"username": user.name, "groups": list(user.groups)}
    return {"userInfo": {**info, **({"uid": user.uid} if user.uid else {})}}


def _text(value: Json, field: str) -> str:
    said = value.get(field, "")
    if not isinstance(said, str):
        raise RequestError(f"{field}: expected a string, got {describe(said)}")
    return said


_ANSWERS: dict[str, Callable[[User, Json], Json]] = {
    "selfsubjectaccessreviews": _access,
    "selfsubjectrulesreviews": _rules,
    "selfsubjectreviews": _whoami,
}
assert _ANSWERS.keys() == {virtual.plural for virtual in VIRTUAL}
