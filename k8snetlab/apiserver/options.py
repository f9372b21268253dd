"""DeleteOptions, of a request's body and of its query."""

from __future__ import annotations

from typing import Any

import msgspec

from k8snetlab.api.fields import check
from k8snetlab.api.meta import Object
from k8snetlab.api.words import shorten, show
from k8snetlab.apiserver.query import Query, boolean, dry_run, number, refuse_unknown, text
from k8snetlab.errors import InputError, RequestError

POLICIES = ("Background", "Foreground", "Orphan")


class Preconditions(msgspec.Struct, frozen=True):
    uid: str | None = None
    resourceVersion: str | None = None


class DeleteOptions(msgspec.Struct, frozen=True):
    """Source: meta/v1."""

    apiVersion: str = ""
    kind: str = ""
    gracePeriodSeconds: int | None = None
    preconditions: Preconditions | None = None
    orphanDependents: bool | None = None
    propagationPolicy: str | None = None
    dryRun: tuple[str, ...] = ()

    @property
    def dry(self) -> bool:
        return "All" in self.dryRun

    @property
    def orphans(self) -> bool:
        """Whether what the object owns stays, and belongs to nobody then."""
        return bool(self.orphanDependents) or self.propagationPolicy == "Orphan"

    @property
    def foreground(self) -> bool:
        """Whether the object is to go after what it owns."""
        return self.propagationPolicy == "Foreground"

    @property
    def force(self) -> bool:
        return self.gracePeriodSeconds == 0

    def refuse_if_other(self, obj: Object) -> None:
        """Raises RequestError (409) where the object is not the one that was meant."""
        for field, said in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted = getattr(self.preconditions, field) if self.preconditions else None
            have = getattr(obj.metadata, field)
            if wanted is not None and wanted != have:
                raise RequestError(
                    f"Precondition failed: {said} in precondition: {shorten(wanted)}, {said} in object meta: {have}",
                    "",
                    "Conflict",
                    409,
                )


def delete_options(body: Any, query: Query) -> DeleteOptions:
    """Both together; raises RequestError, InputError for what is not known or not supported."""
    options = DeleteOptions() if body is None else _of_body(body)
    options = msgspec.structs.replace(options, **_of_query(query))
    dry_run(options.dryRun)
    _refuse_contradictions(options)
    return options


def _of_body(body: Any) -> DeleteOptions:
    found = check(body, DeleteOptions)
    if found.wrong or found.unknown:
        path, message = (found.wrong or found.unknown)[0]
        message = "unknown field" if not found.wrong else message
        raise RequestError(f"DeleteOptions: {show(path) or 'body'}: {message}")
    options = msgspec.convert(body, DeleteOptions)
    if options.kind not in ("", "DeleteOptions"):
        raise RequestError(f"the body's kind is {shorten(options.kind)}, expected DeleteOptions")
    return options


def _of_query(query: Query) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if (grace := number(query, "gracePeriodSeconds", 0, 2**31)) is not None:
        changes["gracePeriodSeconds"] = grace
    if "propagationPolicy" in query:
        changes["propagationPolicy"] = text(query, "propagationPolicy")
    if "orphanDependents" in query:
        changes["orphanDependents"] = boolean(query, "orphanDependents")
    if "dryRun" in query:
        changes["dryRun"] = tuple(query["dryRun"])
    return changes


def _refuse_contradictions(options: DeleteOptions) -> None:
    if options.gracePeriodSeconds is not None and options.gracePeriodSeconds < 0:
        raise InputError("gracePeriodSeconds: Invalid value: must be greater than or equal to 0")
    if options.orphanDependents is not None and options.propagationPolicy is not None:
        raise InputError("propagationPolicy: Invalid value: orphanDependents and propagationPolicy cannot be both set")
    policy = options.propagationPolicy
    if policy not in (None, *POLICIES):
        raise InputError(
            f'propagationPolicy: Unsupported value: "{shorten(policy)}": supported values: {", ".join(POLICIES)}'
        )


def eviction(body: Any, query: Query, name: str, namespace: str) -> DeleteOptions:
    """What an Eviction of this pod says of its deletion. Raises RequestError, InputError."""
    refuse_unknown(query, ("dryRun", "fieldManager", "fieldValidation", "pretty", "timeout"), ("dryRun",))
    if not isinstance(body, dict) or body.get("kind", "Eviction") != "Eviction":
        raise RequestError("the body of the request is no Eviction of policy/v1")
    if (version := body.get("apiVersion", "policy/v1")) not in ("policy/v1", "policy/v1beta1"):
        raise RequestError(f"Eviction: apiVersion: {shorten(str(version))} is not served, policy/v1 is")
    metadata = {} if body.get("metadata") is None else body["metadata"]
    for word, wanted in (("name", name), ("namespace", namespace)):
        if not isinstance(metadata, dict) or metadata.get(word, wanted) != wanted:
            raise RequestError(f"{word} in URL does not match {word} in Eviction object")
    return delete_options(body.get("deleteOptions"), {"dryRun": query["dryRun"]} if "dryRun" in query else {})
