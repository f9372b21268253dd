"""The bodies of requests: which forms are read, and what each holds, as JSON-like builtins.

Source: apiserver pkg/endpoints/handlers (patch.go, create.go), apimachinery pkg/runtime/serializer.
"""

from __future__ import annotations

from typing import Any

from k8snetlab.apiserver import protobuf
from k8snetlab.apiserver.negotiation import (
    APPLY_PATCH,
    JSON,
    MERGE_PATCH,
    PATCHES,
    PROTOBUF,
    STRATEGIC_MERGE_PATCH,
    YAML,
    media_type,
)
from k8snetlab.apiserver.patches import Patch
from k8snetlab.apiserver.transport import decoded
from k8snetlab.errors import RequestError

_FORM = "$form"


def forms_of(method: str, custom: bool = False) -> tuple[str, ...]:
    """The Content-Types that are read; a body without one is JSON, but for a patch. Of `custom` kinds nobody knows how
    a strategic merge patch merges their lists, nor how they look as protobuf."""
    if method == "PATCH":
        return tuple(one for one in PATCHES if not custom or one != STRATEGIC_MERGE_PATCH)
    return ("", JSON, YAML) if custom and method != "DELETE" else ("", JSON, YAML, PROTOBUF)


def body_of(content_type: str, body: bytes) -> Any:
    """What it holds, None for nothing. Raises RequestError (400)."""
    media = media_type(content_type)
    if media == PROTOBUF:
        return protobuf.decoded(body) if body else None
    if media not in (YAML, APPLY_PATCH):
        return decoded(body)
    from k8snetlab.api.source import parse  # with yaml, 9 ms that a daemon can begin without

    documents, flaws = parse(body, "body")
    if flaws:
        raise RequestError(f"the body of the request is no YAML: line {flaws[0].line}: {flaws[0].message}")
    if len(documents) > 1:
        raise RequestError(f"the body of the request holds {len(documents)} documents, expected one")
    return documents[0].value if documents else None


def carried(media: str, body: Any) -> Any:
    """A patch on its way to another machine's daemon, where no header says what form it has."""
    return {_FORM: media, "patch": body}


def patch_of(content_type: str, body: Any, alone: bool) -> Patch:
    """The patch that a request holds; one that comes `alone` is `carried`."""
    if alone and isinstance(body, dict) and body.get(_FORM) in PATCHES:
        return Patch(body[_FORM], body.get("patch"))
    return Patch(media_type(content_type) or MERGE_PATCH, body)
