"""The part `binding` of pods: a scheduler says on which node one runs. Pure.

Source: Kubernetes pkg/registry/core/pod/storage (BindingREST, setPodNodeAndMetadata), pkg/apis/core/validation
(ValidatePodBinding).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.words import shorten
from k8snetlab.apiserver.query import Query, refuse_unknown
from k8snetlab.cluster.admitted import now
from k8snetlab.errors import RequestError

_WORDS = ("dryRun", "fieldManager", "fieldValidation", "pretty", "timeout")
_SCHEDULED = "PodScheduled"


def binding(body: Any, query: Query, name: str, namespace: str) -> Callable[[Object], Object]:
    """What a Binding makes of the pod that the path names. Raises RequestError, and so does what is answered: for a pod
    that is bound already, or another one than was meant."""
    refuse_unknown(query, _WORDS, ("dryRun",))
    if not isinstance(body, dict) or body.get("kind", "Binding") != "Binding" or body.get("apiVersion", "v1") != "v1":
        raise RequestError("the body of the request is no Binding of v1")
    metadata, target = (body[word] if isinstance(body.get(word), dict) else {} for word in ("metadata", "target"))
    for word, wanted in (("name", name), ("namespace", namespace)):
        if metadata.get(word) not in (None, "", wanted):
            raise RequestError(f"{word} in URL does not match {word} in Binding object")
    if (kind := target.get("kind")) not in (None, "", "Node"):
        message = f'target.kind: Unsupported value: "{shorten(str(kind))}": supported values: "Node", "<empty>"'
        raise RequestError(message, "", "Invalid", 422)
    node, uid = target.get("name"), metadata.get("uid")
    if not isinstance(node, str) or not node:
        raise RequestError("target.name: Required value", "", "Invalid", 422)

    def bound(stored: Object) -> Object:
        assert isinstance(stored, Pod)
        if uid and uid != stored.metadata.uid:
            said = f"Precondition failed: UID in precondition: {shorten(str(uid))}, UID in object meta: "
            raise _conflict(name, said + stored.metadata.uid)
        if stored.metadata.deletionTimestamp:
            raise _conflict(name, f"pod {name} is being deleted, cannot be assigned to a host")
        if stored.spec.nodeName:
            raise _conflict(name, f'pod {name} is already assigned to node "{stored.spec.nodeName}"')
        others = tuple(one for one in stored.status.conditions if one.type != _SCHEDULED)
        scheduled = Condition(type=_SCHEDULED, status="True", lastTransitionTime=now())
        status = replace(stored.status, conditions=(*others, scheduled), message="")
        return replace(stored, spec=replace(stored.spec, nodeName=node), status=status)

    return bound


def _conflict(name: str, why: str) -> RequestError:
    return RequestError(f'Operation cannot be fulfilled on pods/binding "{name}": {why}', "", "Conflict", 409)
