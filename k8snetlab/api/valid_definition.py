"""What a CustomResourceDefinition may say, and what the objects of its kind.

Source: apiextensions-apiserver pkg/apis/apiextensions/validation; the words are its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from k8snetlab.api import structural
from k8snetlab.api.custom import Custom
from k8snetlab.api.customizing import schema_of
from k8snetlab.api.extensions import CustomResourceDefinition, DefinedVersion
from k8snetlab.api.jsonpath import parse
from k8snetlab.api.kinds import BUILT_IN, Kinds, kinds_of
from k8snetlab.api.problems import Report, dns_subdomain
from k8snetlab.api.schema import violations
from k8snetlab.api.scheme import Resource, to_dict
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import Path, shorten

_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?\Z")
APPROVED = "api-approved.kubernetes.io"
PROTECTED = (".k8s.io", ".kubernetes.io")
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
Problems = Iterator[tuple[Path, str]]
_NO_LABEL = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character"
)


def definition(report: Report, obj: CustomResourceDefinition) -> None:
    for check in (_names, _group, _versions, _conversion):
        for where, message in check(obj):
            report.error(obj, where, message)
    for number, version in enumerate(obj.spec.versions):
        path: Path = ("spec", "versions", number)
        found = list(_version(version, path))
        for where, message in found:
            report.error(obj, where, message)
        if not found:
            for warning in structural.unchecked(version.schema.openAPIV3Schema, (*path, "schema", "openAPIV3Schema")):
                report.notice(obj, (), warning)


def _names(obj: CustomResourceDefinition) -> Problems:
    names = obj.spec.names
    path: Path = ("spec", "names")
    if obj.name != f"{names.plural}.{obj.spec.group}":
        yield ("metadata", "name"), f'Invalid value: "{shorten(obj.name)}": must be spec.names.plural+"."+spec.group'
    for field in ("plural", "singular"):
        if (name := getattr(names, field)) and not _LABEL.match(name):
            yield (*path, field), f'Invalid value: "{shorten(name)}": {_NO_LABEL}'
    for field in ("kind", "listKind"):
        name = getattr(names, field)
        if (name or field == "kind") and (not _LABEL.match(name.lower()) or not name.isascii()):
            yield (
                (*path, field),
                f'Invalid value: "{shorten(name)}": may have mixed case, but should otherwise match: {_NO_LABEL}',
            )
    if names.kind and names.kind == names.listKind:
        yield (*path, "listKind"), f'Invalid value: "{shorten(names.listKind)}": kind and listKind may not be the same'
    for field in ("shortNames", "categories"):
        for number, name in enumerate(getattr(names, field)):
            if not _LABEL.match(name):
                yield (*path, field, number), f'Invalid value: "{shorten(name)}": {_NO_LABEL}'


def _group(obj: CustomResourceDefinition) -> Problems:
    group = obj.spec.group
    if problem := dns_subdomain(group):
        yield ("spec", "group"), problem
    elif "." not in group:
        yield ("spec", "group"), f'Invalid value: "{shorten(group)}": should be a domain with at least one dot'
    elif group.endswith(PROTECTED) and APPROVED not in obj.metadata.annotations:
        where: Path = ("metadata", "annotations", APPROVED)
        yield (
            where,
            (
                'Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see '
                "https://github.com/kubernetes/enhancements/pull/1111"
            ),
        )
    for number, version in enumerate(obj.spec.versions):
        if BUILT_IN.served(f"{group}/{version.name}"):
            message = f"Forbidden: {group}/{shorten(version.name)} is a group and version of this server's own"
            yield ("spec", "versions", number, "name"), message


def _versions(obj: CustomResourceDefinition) -> Problems:
    path: Path = ("spec", "versions")
    names = [version.name for version in obj.spec.versions]
    if sum(version.storage for version in obj.spec.versions) != 1:
        yield path, "Invalid value: must have exactly one version marked as storage version"
    for number, name in enumerate(names):
        if not _LABEL.match(name):
            yield (*path, number, "name"), f'Invalid value: "{shorten(name)}": {_NO_LABEL}'
        if name in names[:number]:
            yield (*path, number, "name"), f'Duplicate value: "{name}"'
    if obj.spec.preserveUnknownFields:
        yield (
            ("spec", "preserveUnknownFields"),
            "Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead",
        )
    for number, name in enumerate(obj.status.storedVersions):
        if name not in names:
            yield (
                ("status", "storedVersions", number),
                f'Invalid value: "{shorten(name)}": must appear in spec.versions',
            )


def _conversion(obj: CustomResourceDefinition) -> Problems:
    conversion = obj.spec.conversion
    if conversion.strategy not in ("None", "Webhook"):
        message = f'Unsupported value: "{shorten(conversion.strategy)}": supported values: "None", "Webhook"'
        yield ("spec", "conversion", "strategy"), message
    elif conversion.strategy == "Webhook" or conversion.webhook is not None:
        message = "Forbidden: no webhook is called here: use the strategy None, which changes apiVersion alone"
        yield ("spec", "conversion", "strategy"), message


def _version(version: DefinedVersion, path: Path) -> Problems:
    schema, where = version.schema.openAPIV3Schema, (*path, "schema", "openAPIV3Schema")
    if schema:
        yield from structural.problems(schema, where)
    else:
        yield where, "Required value: schemas are required"
    if (scale := version.subresources.scale) is not None:
        here: Path = (*path, "subresources", "scale")
        for field, part in (("specReplicasPath", "spec"), ("statusReplicasPath", "status"), ("labelSelectorPath", "")):
            if said := getattr(scale, field):
                yield from _scale_path(said, part, (*here, field))
    for number, column in enumerate(version.additionalPrinterColumns):
        here = (*path, "additionalPrinterColumns", number)
        if column.type not in COLUMN_TYPES:
            listed = ", ".join(f'"{one}"' for one in COLUMN_TYPES)
            yield (*here, "type"), f'Unsupported value: "{shorten(column.type)}": supported values: {listed}'
        if not column.name.strip() or not column.name.isprintable():
            yield (*here, "name"), "Required value"
        yield from _path(column.jsonPath, (*here, "jsonPath"))
    for number, selectable in enumerate(version.selectableFields):
        yield from _path(selectable.jsonPath, (*path, "selectableFields", number, "jsonPath"))


def _path(said: str, where: Path) -> Problems:
    try:
        parse(said)
    except ValueError as error:
        yield where, f'Invalid value: "{shorten(said)}": {error}'


def _scale_path(said: str, part: str, where: Path) -> Problems:
    parts = said.split(".")
    allowed = (part,) if part else ("spec", "status")
    if parts[0] or len(parts) < 3 or parts[1] not in allowed or any(not one or "[" in one for one in parts[1:]):
        begin = " or ".join(f".{one}" for one in allowed)
        yield where, f'Invalid value: "{shorten(said)}": should be a json path under {begin}'


def custom(report: Report, obj: Custom, world: Snapshot) -> None:
    """Against the schema of the version in which it came."""
    kinds: Kinds = kinds_of(world)
    resource: Resource | None = kinds.paths.get((obj.version, obj.PLURAL))
    if resource is None or resource.type is not type(obj):
        resource = kinds.of(type(obj))
    if resource is None:
        return
    value = to_dict(obj)
    value.pop("metadata")
    schema = schema_of(resource)
    named = (schema.get("properties") or {}).get("metadata")
    for path, message in violations(
        value, {**schema, "required": [o for o in schema.get("required") or () if o != "metadata"]}
    ):
        report.error(obj, path, message)
    if named:
        for path, message in violations(
            {"name": obj.name, "generateName": obj.metadata.generateName}, named, ("metadata",)
        ):
            report.error(obj, path, message)
