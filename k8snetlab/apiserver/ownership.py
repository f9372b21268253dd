"""Server-side apply: who set which field of an object, and what becomes of it when another manager applies. Pure.

Owners are kept of an object from its first server-side apply on: what was there before then belongs to the manager that
a real server names in that case. Every later write over the API gives what it changes to its own manager.
Source: apimachinery pkg/util/managedfields; KEP-555.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.api.meta import ManagedFields, Object
from k8snetlab.api.words import describe
from k8snetlab.apiserver.fieldsets import MISSING, Path, decoded, encoded, fields_of, shown, value_at, without
from k8snetlab.apiserver.shapes import Type, keys_of
from k8snetlab.apiserver.strategic import strategic_merge
from k8snetlab.errors import RequestError

Json = dict[str, Any]
APPLY, UPDATE = "Apply", "Update"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
Owner = tuple[str, str]
"""A manager and its operation."""


class Applied(msgspec.Struct, frozen=True):
    """The object as it is to be stored, and its owners."""

    value: Json
    owners: tuple[ManagedFields, ...]


class Application(msgspec.Struct, frozen=True):
    """What a manager applies, in an API `version`; `time` is RFC 3339; `force`: fields of others are taken over."""

    manager: str
    version: str
    body: Any
    force: bool
    time: str

    def to(self, live: Json | None, type_: Type, owners: tuple[ManagedFields, ...]) -> Applied:
        """Raises RequestError: 400 for what cannot be applied, 409 where another manager owns what would change."""
        if not isinstance(self.body, dict):
            raise RequestError(f"what is applied is an object, got {describe(self.body)}")
        if "$" in {str(key)[:1] for key in _keys(self.body)}:
            raise RequestError("what is applied has no directives: a field begins with $")
        metadata = self.body.get("metadata")
        if isinstance(metadata, dict) and metadata.get("managedFields"):
            raise RequestError("metadata.managedFields must be nil")
        wanted = fields_of(self.body, type_)
        held = _sets(owners) if owners or live is None else {_first(live): fields_of(live, type_)}
        me: Owner = (self.manager, APPLY)
        mine = held.pop(me, frozenset())
        live = live or {}
        held = self._taken(held, wanted, live)
        others = frozenset[Path]().union(*held.values())
        value = strategic_merge(live, self.body, type_, keys_of)
        value = without(value, _given_up(mine - wanted - others, wanted | others))
        return Applied(value, self._entries(held, owners, me, wanted))

    def _taken(self, held: dict[Owner, frozenset[Path]], wanted: frozenset[Path], live: Json) -> Any:
        """What others own then. Raises RequestError (409)."""
        lost = {
            owner: {path for path in fields & wanted if _differs(value_at(live, path), value_at(self.body, path), path)}
            for owner, fields in held.items()
        }
        conflicts = [(owner, path) for owner, paths in lost.items() for path in sorted(paths)]
        if conflicts and not self.force:
            raise _conflict(conflicts, self.version)
        return {owner: fields - lost[owner] for owner, fields in held.items()}

    def _entries(
        self, held: dict[Owner, frozenset[Path]], before: tuple[ManagedFields, ...], me: Owner, wanted: frozenset[Path]
    ) -> tuple[ManagedFields, ...]:
        times = {(one.manager, one.operation): one for one in before}
        entries = [_entry(owner, fields, self.version, times.get(owner), self.time) for owner, fields in held.items()]
        old = times.get(me)
        unchanged = old is not None and frozenset(decoded(old.fieldsV1)) == wanted
        entries.append(_entry(me, wanted, self.version, old if unchanged else None, self.time))
        return tuple(entry for entry in entries if entry.fieldsV1)


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
    if said not in ((), owners):
        _sets(said)  # raises where a client says it wrongly
        return new
    if not owners:
        return new
    now, before = values
    paths = fields_of(now, owner.type) | fields_of(before, owner.type)
    changed = {path for path in paths if _differs(value_at(now, path), value_at(before, path), path)}
    held = {one: fields - changed for one, fields in _sets(owners).items()}
    me: Owner = (owner.manager, UPDATE)
    held[me] = held.get(me, frozenset()) | {path for path in changed if value_at(now, path) is not MISSING}
    times = {(one.manager, one.operation): one for one in owners}
    entries = [_entry(one, fields, owner.version, times.get(one), owner.time) for one, fields in held.items()]
    kept = tuple(entry for entry in entries if entry.fieldsV1)
    return replace(new, metadata=replace(new.metadata, managedFields=kept))


def _sets(owners: tuple[ManagedFields, ...]) -> dict[Owner, frozenset[Path]]:
    return {(one.manager, one.operation): frozenset(decoded(one.fieldsV1)) for one in owners}


def _entry(owner: Owner, fields: Any, version: str, old: ManagedFields | None, time: str) -> ManagedFields:
    since = old.time if old is not None and old.time else time
    return ManagedFields(manager=owner[0], operation=owner[1], apiVersion=version, time=since, fieldsV1=encoded(fields))


def _first(live: Json) -> Owner:
    """Whose the fields of an object are that nobody has applied so far."""
    annotations = live.get("metadata", {}).get("annotations", {})
    return ("kubectl-client-side-apply" if LAST_APPLIED in annotations else "before-first-apply", UPDATE)


def _given_up(paths: frozenset[Path], kept: frozenset[Path]) -> list[Path]:
    """Those with nothing below them that somebody still wants."""
    return [path for path in paths if not any(one[: len(path)] == path for one in kept)]


def _differs(one: Any, other: Any, path: Path) -> bool:
    if path[-1][:2] in ("k:", "v:"):  # it is there or not; what is in it has paths of its own
        return (one is MISSING) != (other is MISSING)
    nothing: tuple[Any, ...] = (MISSING, None, {}, [])
    return bool(one != other) and not (one in nothing and other in nothing)


def _keys(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [key for one in value for key in _keys(one)]
    return [*value, *(key for one in value.values() for key in _keys(one))] if isinstance(value, dict) else []


def _conflict(conflicts: list[tuple[Owner, Path]], version: str) -> RequestError:
    said = [f'conflict with "{owner[0]}" using {version}: {shown(path)}' for owner, path in conflicts]
    count = f"{len(said)} conflict{'s' if len(said) > 1 else ''}"
    listed = said[0] if len(said) == 1 else "".join(f"\n- {one}" for one in said)
    error = RequestError(
        f"Apply failed with {count}: {listed}", "--force-conflicts takes the fields over", "Conflict", 409
    )
    error.causes = tuple(
        ("FieldManagerConflict", f'conflict with "{owner[0]}" using {version}', shown(path))
        for owner, path in conflicts
    )
    return error
