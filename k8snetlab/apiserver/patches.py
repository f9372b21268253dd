"""The forms of a patch: what each makes of an object as JSON-like builtins. Pure.

Source: RFC 7396 (merge patch), RFC 6902 (JSON patch, by the library jsonpatch), strategic merge patch.
"""

from __future__ import annotations

from typing import Any

import jsonpatch
import jsonpointer
import msgspec

from k8snetlab.api.words import describe, shorten
from k8snetlab.apiserver.negotiation import JSON_PATCH, STRATEGIC_MERGE_PATCH
from k8snetlab.apiserver.strategic import strategic_merge
from k8snetlab.errors import RequestError

Json = dict[str, Any]
MOST = 10_000
"""Operations of a JSON patch, as apiserver limits them."""
LARGEST = 3 << 20
"""Bytes of what a JSON patch may make, which can copy what it has made."""


class Patch(msgspec.Struct, frozen=True):
    """`media` is the form, without parameters, `body` what is sent."""

    media: str
    body: Any

    def applied(self, value: Json, kind: str) -> Json:
        """`value`, an object of a kind, with the patch. Raises RequestError (400, 422)."""
        if self.media == JSON_PATCH:
            return json_patch(value, self.body)
        if not isinstance(self.body, dict):
            raise RequestError(f"a patch of this form is an object, got {describe(self.body)}")
        if self.media == STRATEGIC_MERGE_PATCH:
            return strategic_merge(value, self.body, kind)
        merged: Json = merge_patch(value, self.body)
        return merged

    @property
    def revision(self) -> bool:
        """Whether it names the resourceVersion that it is for."""
        if isinstance(self.body, list):
            return any(isinstance(one, dict) and one.get("path") == "/metadata/resourceVersion" for one in self.body)
        metadata = self.body.get("metadata") if isinstance(self.body, dict) else None
        return isinstance(metadata, dict) and "resourceVersion" in metadata


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(target: Json, operations: Any) -> Json:
    """RFC 6902. Raises RequestError: 400 for what is no such patch, 422 where it does not fit the object."""
    value: Any = msgspec.json.decode(msgspec.json.encode(target))
    copied = 0
    for step in _steps(operations):
        try:
            copied += _copied(value, step.patch[0])
            value = step.apply(value, in_place=True)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
            raise _unfit(f"the patch does not fit the object: {shorten(str(error))}") from error
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise _unfit(f"the patch does not fit the object: {type(error).__name__}") from error
        if copied > LARGEST:
            raise _unfit(f"what the patch copies is more than {LARGEST} bytes")
    if not isinstance(value, dict):
        raise RequestError(f"the patch leaves no object, but {describe(value)}")
    return value


def _steps(operations: Any) -> list[Any]:
    """Each operation as a patch of its own."""
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise RequestError(f"a JSON patch is a list of operations, got {describe(operations)}")
    if len(operations) > MOST:
        raise _unfit(f"the patch has {len(operations)} operations, at most {MOST} are allowed")
    for one in operations:
        if one.get("op") in ("add", "replace", "test") and "value" not in one:
            raise RequestError(f"the patch is no JSON patch: {one['op']} needs a value")
    try:
        return [jsonpatch.JsonPatch([one]) for one in operations]
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, ValueError) as error:
        raise RequestError(f"the patch is no JSON patch: {shorten(str(error))}") from error


def _copied(value: Any, operation: Json) -> int:
    """How many bytes of JSON the operation copies, before it does."""
    if operation.get("op") != "copy":
        return 0
    return len(msgspec.json.encode(jsonpointer.resolve_pointer(value, operation["from"])))


def _unfit(message: str) -> RequestError:
    return RequestError(message, "", "Invalid", 422)
