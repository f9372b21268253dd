"""Server-side apply: who set which field of an object, and what becomes of it when another manager applies. Pure.

Owners are kept of an object from its first server-side apply on: what was there before then belongs to the manager that
a real server names in that case. Every later write over the API gives what it changes to its own manager.
Source: apimachinery pkg/util/managedfields; KEP-555.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.api.meta import ManagedFields, Object
from k8snetlab.api.scheme import Resource
from k8snetlab.api.words import describe
from k8snetlab.apiserver.discovery import split
from k8snetlab.apiserver.fieldsets import Path, decoded, encoded, fields_of, flaws, shown, values_of, without
from k8snetlab.apiserver.shapes import Type, keys_of, type_of
from k8snetlab.apiserver.strategic import strategic_merge
from k8snetlab.errors import RequestError

Json = dict[str, Any]
APPLY, UPDATE = "Apply", "Update"
MISSING = object()
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
Owner = tuple[str, str]
"""A manager and its operation."""
Owned = Mapping[Owner, frozenset[Path]]
Values = Mapping[Path, Any]
NOBODY = (ManagedFields(),)
"""What a client says so that an object has no owners any more."""
MOST = 20
"""Reasons that are told."""


class Applied(msgspec.Struct, frozen=True):
    """The object as it is to be stored, and its owners."""

    value: Json
    owners: tuple[ManagedFields, ...]


class Application(msgspec.Struct, frozen=True):
    """What a `manager` applies; `time` is RFC 3339; `force`: fields of others are taken over."""

    manager: str
    resource: Resource
    place: str
    """Namespace and name, with a slash."""
    body: Any
    force: bool
    time: str

    def refused(self, *reasons: str) -> RequestError:
        """What is applied is of no use, for reasons that each begin with a path."""
        group, version = split(self.resource.version)
        what = f"({self.place}; {group}/{version}, Kind={self.resource.kind})"
        said = reasons[0] if len(reasons) == 1 else "".join(["errors:", *(f"\n  {one}" for one in reasons[:MOST])])
        return RequestError(f"failed to create typed patch object {what}: {said}")

    def to(self, live: Json | None, owners: tuple[ManagedFields, ...]) -> Applied:
        """Raises RequestError: 400 for what cannot be applied, 409 where another manager owns what would change."""
        if not isinstance(self.body, dict):
            raise RequestError(f"what is applied is an object, got {describe(self.body)}")
        if "$" in {str(key)[:1] for key in _keys(self.body)}:
            raise RequestError("what is applied has no directives: a field begins with $")
        metadata = self.body.get("metadata")
        if isinstance(metadata, dict) and metadata.get("managedFields"):
            raise RequestError("metadata.managedFields must be nil")
        type_ = type_of(self.resource)
        if wrong := flaws(self.body, type_):
            raise self.refused(*wrong)
        wanted = fields_of(self.body, type_)
        held = dict(_sets(owners)) if owners or live is None else {_first(live): fields_of(live, type_)}
        me: Owner = (self.manager, APPLY)
        mine = held.pop(me, frozenset())
        live = live or {}
        lost = self._lost(held, wanted, values_of(live, type_), values_of(self.body, type_))
        if any(lost.values()) and not self.force:
            raise _conflict(lost, {(one.manager, one.operation): one for one in owners}, self.resource.version)
        held = {owner: fields - lost[owner] for owner, fields in held.items()}
        others = frozenset[Path]().union(*held.values())
        value = strategic_merge(live, self.body, type_, keys_of)
        value = without(value, _given_up(mine - wanted - others, wanted | others))
        entries = Entries(owners, me, self.resource.version, self.time)
        return Applied(value, entries.of({**held, me: wanted}, _without_owners(value) != _without_owners(live)))

    @staticmethod
    def _lost(held: Owned, wanted: frozenset[Path], live: Values, body: Values) -> Owned:
        """What others own and would have otherwise then."""
        return {
            owner: frozenset(path for path in fields & wanted if _differs(live, body, path))
            for owner, fields in held.items()
        }


class Entries(msgspec.Struct, frozen=True):
    """Owners as metadata.managedFields has them. Who writes (`me`) gets an entry of now, in this API `version`, where
    he changes something; all others keep theirs, with what they still own."""

    before: tuple[ManagedFields, ...]
    me: Owner
    version: str
    time: str

    def of(self, owned: Owned, changes: bool) -> tuple[ManagedFields, ...]:
        known = {(one.manager, one.operation): one for one in self.before}
        return tuple(self._entry(owner, held, known.get(owner), changes) for owner, held in owned.items() if held)

    def _entry(self, owner: Owner, held: frozenset[Path], old: ManagedFields | None, changes: bool) -> ManagedFields:
        tree = encoded(held)
        if old is not None and (owner != self.me or (not changes and frozenset(decoded(old.fieldsV1)) == held)):
            return replace(old, fieldsV1=tree, time=old.time or self.time)
        manager, operation = owner
        return ManagedFields(
            manager=manager, operation=operation, apiVersion=self.version, time=self.time, fieldsV1=tree
        )


class Updater(msgspec.Struct, frozen=True):
    """Who writes otherwise than by apply, objects of a `type` in an API `version`; `time` is RFC 3339."""

    manager: str
    type: Type
    version: str
    time: str


def updated(new: Object, old: Object, values: tuple[Json, Json], owner: Updater) -> Object:
    """`new` with its owners, after a write that is no apply; `values` are new and old as builtins. Raises RequestError
    (400) for owners that a client says wrongly."""
    owners, said = old.metadata.managedFields, new.metadata.managedFields
    if said == NOBODY:
        return replace(new, metadata=replace(new.metadata, managedFields=()))
    if said not in ((), owners):
        _sets(said)  # raises where a client says it wrongly
        return new
    if not owners:
        return new
    now, before = (values_of(value, owner.type) for value in values)
    paths = fields_of(values[0], owner.type) | fields_of(values[1], owner.type)
    changed = {path for path in paths if _differs(before, now, path)}
    held = {one: fields - changed for one, fields in _sets(owners).items()}
    me: Owner = (owner.manager, UPDATE)
    held[me] = held.get(me, frozenset()) | {path for path in changed if path in now}
    kept = Entries(owners, me, owner.version, owner.time).of(held, bool(changed))
    return replace(new, metadata=replace(new.metadata, managedFields=kept))


def _sets(owners: tuple[ManagedFields, ...]) -> Owned:
    return {(one.manager, one.operation): frozenset(decoded(one.fieldsV1)) for one in owners}


def _without_owners(value: Json) -> Json:
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return value
    return {**value, "metadata": {field: held for field, held in metadata.items() if field != "managedFields"}}


def _first(live: Json) -> Owner:
    """Whose the fields of an object are that nobody has applied so far."""
    annotations = live.get("metadata", {}).get("annotations", {})
    return ("kubectl-client-side-apply" if LAST_APPLIED in annotations else "before-first-apply", UPDATE)


def _given_up(paths: frozenset[Path], kept: frozenset[Path]) -> list[Path]:
    """Those with nothing below them that somebody still wants."""
    leading = {path[:length] for path in kept for length in range(1, len(path) + 1)}
    return [path for path in paths if path not in leading]


def _differs(one: Values, other: Values, path: Path) -> bool:
    held, wanted = one.get(path, MISSING), other.get(path, MISSING)
    if path[-1][:2] in ("k:", "v:"):  # it is there or not; what is in it has paths of its own
        return (held is MISSING) != (wanted is MISSING)
    nothing: tuple[Any, ...] = (MISSING, None, {}, [])
    return bool(held != wanted) and not (held in nothing and wanted in nothing)


def _keys(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [key for one in value for key in _keys(one)]
    return [*value, *(key for one in value.values() for key in _keys(one))] if isinstance(value, dict) else []


def _conflict(lost: Owned, owners: Mapping[Owner, ManagedFields], version: str) -> RequestError:
    """In an API server's words (apimachinery pkg/util/managedfields, internal/conflict.go)."""
    found = [(_told(owner, owners.get(owner), version), sorted(paths)) for owner, paths in lost.items() if paths]
    causes = [(f"conflict with {who}", shown(path)) for who, paths in found for path in paths]
    if len(causes) == 1:
        said = f"1 conflict: {causes[0][0]}: {causes[0][1]}"
    else:
        listed = ((f"conflicts with {who}:", *(f"- {shown(path)}" for path in paths)) for who, paths in sorted(found))
        said = f"{len(causes)} conflicts: " + "\n".join(line for lines in listed for line in lines)
    hint = "--force-conflicts takes the fields over"
    error = RequestError(f"Apply failed with {said}", hint, "Conflict", 409)
    error.causes = tuple(("FieldManagerConflict", message, field) for message, field in causes)
    return error


def _told(owner: Owner, entry: ManagedFields | None, version: str) -> str:
    """Who it is; of one that does not apply, also in which version it wrote, and when."""
    manager, operation = owner
    if operation == APPLY:
        return f'"{manager}"'
    using = f'"{manager}" using {entry.apiVersion if entry else version}'
    return f"{using} at {entry.time}" if entry and entry.time else using
