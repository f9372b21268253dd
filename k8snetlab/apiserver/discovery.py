"""Which groups, versions and resources there are, as clients find them out: by group, and all at once (aggregated).

Pure. Source: apimachinery pkg/apis/meta/v1 (APIVersions, APIGroup, APIResource), k8s.io/api/apidiscovery/v2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from k8snetlab.api.kinds import Kinds, priority
from k8snetlab.api.scheme import Resource
from k8snetlab.apiserver.parts import Part, parts_of
from k8snetlab.apiserver.virtual import UNSERVED, VIRTUAL, Virtual

Json = dict[str, Any]
AGGREGATED = "APIGroupDiscoveryList"
READ, LISTED, WRITTEN = ("get",), ("list", "watch"), ("create", "delete", "patch", "update")


def split(group_version: str) -> tuple[str, str]:
    """Group and version: ("", "v1") of v1, ("apps", "v1") of apps/v1."""
    group, _, version = group_version.rpartition("/")
    return group, version


def groups(kinds: Kinds) -> dict[str, tuple[str, ...]]:
    """Versions by group, those of the core group at "" first; of a group the preferred one first."""
    found: dict[str, dict[str, None]] = {"": {}}
    for group_version in (*kinds.versions, *(one.version for one in (*VIRTUAL, *UNSERVED))):
        group, version = split(group_version)
        found.setdefault(group, {})[version] = None
    return {group: tuple(sorted(versions, key=priority)) for group, versions in found.items()}


def verbs_of(resource: Resource) -> tuple[str, ...]:
    """None of a version of old times: who has a manifest of it finds its path, who lists what there is passes it by."""
    if resource.former is not None and resource.former.gone:
        return ()
    collected = () if resource.singly else ("deletecollection",)
    return tuple(sorted((*READ, *LISTED, *WRITTEN, *collected)))


def core_versions() -> Json:
    """/api."""
    server = [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": server}


def group_list(kinds: Kinds) -> Json:
    """/apis."""
    found = [_group(name, versions) for name, versions in groups(kinds).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(name: str, kinds: Kinds) -> Json | None:
    """/apis/NAME; None where there is no such group."""
    found = groups(kinds).get(name) if name else None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, found)} if found else None


def _group(name: str, served: tuple[str, ...]) -> Json:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in served]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(group_version: str, kinds: Kinds) -> Json | None:
    """/api/v1 and /apis/GROUP/VERSION; None where there is no such version."""
    resources = [one for resource in kinds.served(group_version) for one in _resources(resource)]
    resources += [
        {
            "name": one.plural,
            "singularName": one.kind.lower(),
            "namespaced": one.namespaced,
            "kind": one.kind,
            "verbs": list(one.verbs),
        }
        for one in _virtual(group_version)
    ]
    if not resources:
        return None
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _resources(resource: Resource) -> Iterator[Json]:
    common = {"namespaced": resource.type.namespaced}
    whole: Json = {
        "name": resource.plural,
        "singularName": resource.singular_name,
        **common,
        "kind": resource.kind,
        "verbs": list(verbs_of(resource)),
    }
    if resource.short:
        whole["shortNames"] = list(resource.short)
    if resource.categories:
        whole["categories"] = list(resource.categories)
    yield whole
    for part in parts_of(resource):
        one: Json = {"name": f"{resource.plural}/{part.name}", "singularName": "", **common}
        if part.version:
            one["group"], one["version"] = split(part.version)
        yield {**one, "kind": part.kind or resource.kind, "verbs": list(part.verbs)}


def aggregated(core: bool, version: str, kinds: Kinds) -> Json:
    """/api (`core`) or /apis at once; `version` is v2 or v2beta1."""
    found = {name: versions for name, versions in groups(kinds).items() if bool(name) != core}
    return {
        "kind": AGGREGATED,
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": [
            {"metadata": {"name": name} if name else {}, "versions": _versions(name, versions, kinds)}
            for name, versions in found.items()
        ],
    }


def _versions(group: str, versions: tuple[str, ...], kinds: Kinds) -> list[Json]:
    found = []
    for version in versions:
        whole = f"{group}/{version}" if group else version
        resources = [*map(_discovered, kinds.served(whole)), *map(_asked, _virtual(whole))]
        found.append({"version": version, "resources": resources, "freshness": "Current"})
    return found


def _asked(virtual: Virtual) -> Json:
    group, version = split(virtual.version)
    return {
        "resource": virtual.plural,
        "responseKind": {"group": group, "version": version, "kind": virtual.kind},
        "scope": "Namespaced" if virtual.namespaced else "Cluster",
        "singularResource": virtual.kind.lower(),
        "verbs": list(virtual.verbs),
    }


def _discovered(resource: Resource) -> Json:
    group, version = split(resource.version)
    found: Json = {
        "resource": resource.plural,
        "responseKind": {"group": group, "version": version, "kind": resource.kind},
        "scope": "Namespaced" if resource.type.namespaced else "Cluster",
        "singularResource": resource.singular_name,
        "verbs": list(verbs_of(resource)),
    }
    if resource.short:
        found["shortNames"] = list(resource.short)
    if resource.categories:
        found["categories"] = list(resource.categories)
    if parts := [_part(part, resource) for part in parts_of(resource)]:
        found["subresources"] = parts
    return found


def _part(part: Part, resource: Resource) -> Json:
    group, version = split(part.version or resource.version)
    kind = {"group": group, "version": version, "kind": part.kind or resource.kind}
    return {"subresource": part.name, "responseKind": kind, "verbs": list(part.verbs)}


def _virtual(group_version: str) -> list[Virtual]:
    return [virtual for virtual in (*VIRTUAL, *UNSERVED) if virtual.version == group_version]


def paths(documents: Iterable[str], kinds: Kinds) -> Json:
    """/: the paths that there are."""
    found = {"/api", "/apis", *documents}
    for group, versions in groups(kinds).items():
        base = f"/apis/{group}" if group else "/api"
        found |= {base, *(f"{base}/{version}" for version in versions)}
    return {"paths": sorted(found)}
