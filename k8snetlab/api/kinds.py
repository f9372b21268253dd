"""Which kinds a lab has now: those that are built in, and those that its CustomResourceDefinitions bring."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from k8snetlab.api.custom import custom_type
from k8snetlab.api.extensions import ESTABLISHED, CustomResourceDefinition, DefinedNames
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import OLD, RESOURCES, Resource
from k8snetlab.api.snapshot import Key, Snapshot


class Kinds:
    """All of them, those of definitions once for each version that is served. Never changes; compared by identity."""

    def __init__(self, custom: Iterable[Resource] = ()) -> None:
        self.custom = tuple(custom)
        self.all = (*RESOURCES, *self.custom, *OLD)

    @cached_property
    def paths(self) -> Mapping[tuple[str, str], Resource]:
        """By version (with its group) and plural."""
        return {(one.version, one.plural): one for one in self.all}

    @cached_property
    def _versions(self) -> Mapping[str, tuple[Resource, ...]]:
        found: dict[str, list[Resource]] = {}
        for one in self.all:
            found.setdefault(one.version, []).append(one)
        return {version: tuple(resources) for version, resources in found.items()}

    def served(self, version: str) -> tuple[Resource, ...]:
        """Those of a group's version."""
        return self._versions.get(version, ())

    @property
    def versions(self) -> Iterable[str]:
        """Groups with their versions; of a group the preferred one first."""
        return self._versions

    @cached_property
    def _types(self) -> Mapping[type[Object], Resource]:
        return {one.type: one for one in reversed(self.all)}

    def of(self, type_: type[Object]) -> Resource | None:
        """That of a type, in its preferred version; None where the definition is gone or not established."""
        return self._types.get(type_)

    @cached_property
    def _owners(self) -> Mapping[tuple[str, str], Resource]:
        return {(one.group, one.kind): one for one in reversed(self.all)}

    def named(self, version: str, kind: str) -> Resource | None:
        """By what an object says of itself, in any version of its group."""
        return self._owners.get((version.rpartition("/")[0], kind))


BUILT_IN = Kinds()


def kinds_of(snapshot: Snapshot) -> Kinds:
    return snapshot.derived(CustomResourceDefinition, _kinds)


def _kinds(definitions: Mapping[Key, CustomResourceDefinition]) -> Kinds:
    if not definitions:
        return BUILT_IN
    return Kinds(resource for one in definitions.values() if one.is_true(ESTABLISHED) for resource in resources_of(one))


def resources_of(definition: CustomResourceDefinition) -> Iterable[Resource]:
    """One for each version that is served, the preferred one first."""
    spec = definition.spec
    names = definition.status.acceptedNames or spec.names
    for version in sorted(spec.versions, key=lambda one: priority(one.name)):
        if version.served:
            yield Resource(
                type_of(definition),
                spec.names.plural,
                tuple(names.shortNames),
                f"{spec.group}/{spec.names.plural}",
                tuple(names.categories),
                singular=names.singular,
                listed=names.listKind,
                defined=version,
                stored=f"{spec.group}/{definition.stored_version}",
            )


def type_of(definition: CustomResourceDefinition) -> type[Object]:
    """The type of the objects that a definition is for."""
    names: DefinedNames = definition.spec.names
    return custom_type(definition.spec.group, names.plural, names.kind, definition.namespaces)


def priority(version: str) -> tuple[int, int, int, str]:
    """By which versions are sorted, the best first: v2, v1, v1beta2, v1alpha1, then the others by name."""
    match = re.fullmatch(r"v([1-9][0-9]{0,8})(?:(alpha|beta)([1-9][0-9]{0,8}))?", version)
    if match is None:
        return (9, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), "")
