"""Which kind a word means: one that every lab has, or one that the lab's CustomResourceDefinitions bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from k8snetlab.errors import InputError
from k8snetlab.wording import nearest

if TYPE_CHECKING:
    from k8snetlab.api.scaled import Scaled
    from k8snetlab.api.scheme import Resource
    from k8snetlab.client.client import Client

Brought = Callable[[], Iterable["Resource"]]
"""The kinds that users have brought; asked for only where a word is none of a lab's own."""


def brought(client: Client) -> list[Resource]:
    """Those of the lab, each in its preferred version first, by what discovery goes by, too."""
    import msgspec

    from k8snetlab.api.extensions import CustomResourceDefinition
    from k8snetlab.api.kinds import kinds_of
    from k8snetlab.api.scheme import without_nulls
    from k8snetlab.api.snapshot import Snapshot

    items = client.list("CustomResourceDefinition")
    found = [msgspec.convert(without_nulls(item), CustomResourceDefinition) for item in items]
    return list(kinds_of(Snapshot().changed([(type(one), one.key, one) for one in found], 1)).custom)


def resource_of(word: str, others: Brought = tuple) -> Resource:
    """The kind of that name: plural, singular, short, also with its group, as widgets.example.com. Raises InputError
    where there is none."""
    from k8snetlab.api.scheme import BY_NAME, RESOURCES

    # "deployments.apps" is how kubectl prints a kind with its group
    name, _, group = word.lower().partition(".")
    if (own := BY_NAME.get(name)) is not None and _is_of(own, group):
        return own
    for one in RESOURCES if group else ():
        if name in one.names and _begins(one, group):
            return one
    custom = list(others())
    for one in custom:
        if name in _names(one) and _is_of(one, group):
            return one
    known = (*BY_NAME, *(name for one in custom for name in _names(one)), "subnets", "all")
    raise InputError(f"the lab has no kind {word!r}", nearest(word, known, f"kinds: {', '.join(plurals(custom))}"))


def plurals(custom: Iterable[Resource] = ()) -> list[str]:
    from k8snetlab.api.scheme import RESOURCES

    return list(dict.fromkeys(resource.plural for resource in (*RESOURCES, *custom)))


def qualified(resource: Resource | Scaled, name: str) -> str:
    """The way kubectl names an object: pod/client, deployment.apps/business-manager."""
    group, slash, _ = resource.version.partition("/")
    return f"{resource.kind.lower()}{'.' + group if slash else ''}/{name}"


def _names(resource: Resource) -> tuple[str, ...]:
    return (*resource.names, resource.kind.lower())


def _begins(resource: Resource, said: str) -> bool:
    """Whether its group begins so, as kubectl takes it: networkpolicies.p is Calico's."""
    return resource.group.startswith(said) or _is_of(resource, said)


def _is_of(resource: Resource, said: str) -> bool:
    """Whether it is of the group that was said, or of the version and group: v1.example.com."""
    group, _, version = resource.version.rpartition("/")
    return said in ("", group, f"{version}.{group}")
