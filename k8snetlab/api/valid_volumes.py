"""What can be wrong with volumes that containers see, and with where they see them.

Source: Kubernetes pkg/apis/core/validation (validateVolumeSource, validateLocalNonReservedPath, ValidateVolumeMounts),
whose words these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from k8snetlab.api.core import Container, PodSpec
from k8snetlab.api.meta import Object
from k8snetlab.api.problems import Report, dns_subdomain
from k8snetlab.api.volumes import DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection
from k8snetlab.api.words import Path, shorten

_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_RELATIVE = "must be a relative path"
_ABOVE = "must not contain '..'"
Said = Iterator[tuple[Path, str]]


def volumes(report: Report, obj: Object, path: Path, spec: PodSpec) -> None:
    """`path` is that of the pod's spec."""
    for number, volume in enumerate(spec.volumes):
        for where, message in _source(volume):
            report.error(obj, (*path, "volumes", number, volume.source, *where), message)


def mounts(report: Report, obj: Object, path: Path, container: Container) -> None:
    """`path` is that of the container."""
    for number, mount in enumerate(container.volumeMounts):
        where: Path = (*path, "volumeMounts", number)
        for field, text in (("subPath", mount.subPath), ("subPathExpr", mount.subPathExpr)):
            for message in _local(text) if text else ():
                report.error(obj, (*where, field), message)
        for field, text in (("mountPath", mount.mountPath), ("subPath", mount.subPath)):
            if "\0" in text:
                report.error(obj, (*where, field), f'"{shorten(text)}" has a NUL in it, which no path can have')


def _source(volume: Volume) -> Said:
    yield from _named(volume)
    if (one := volume.configMap or volume.secret) is not None:
        yield from _keys(one.items, one.defaultMode)
    elif (down := volume.downwardAPI) is not None:
        yield from _fields(down.items, down.defaultMode)
    elif (projected := volume.projected) is not None:
        yield from _mode(("defaultMode",), projected.defaultMode)
        for number, source in enumerate(projected.sources):
            for where, message in _projection(source):
                yield ("sources", number, *where), message
    elif volume.hostPath is not None and ".." in volume.hostPath.path.split("/"):
        yield ("path",), f'Invalid value: "{shorten(volume.hostPath.path)}": {_ABOVE}'


def _named(volume: Volume) -> Said:
    """Each of these says which object, claim or path is meant."""
    for source, field in (
        (volume.configMap, "name"),
        (volume.secret, "secretName"),
        (volume.hostPath, "path"),
        (volume.persistentVolumeClaim, "claimName"),
    ):
        if source is not None and not getattr(source, field):
            yield (field,), "Required value"
    claim = volume.persistentVolumeClaim
    if claim is not None and claim.claimName and (problem := dns_subdomain(claim.claimName)):
        yield ("claimName",), problem


def _projection(source: VolumeProjection) -> Said:
    for field, one in (("configMap", source.configMap), ("secret", source.secret)):
        if one is not None:
            if not one.name:
                yield (field, "name"), "Required value"
            for where, message in _keys(one.items, 0):
                yield (field, *where), message
    if source.downwardAPI is not None:
        for where, message in _fields(source.downwardAPI.items, 0):
            yield ("downwardAPI", *where), message
    if (token := source.serviceAccountToken) is not None:
        if token.expirationSeconds < 600:
            why = f"Invalid value: {token.expirationSeconds}: may not specify a duration less than 10 minutes"
            yield ("serviceAccountToken", "expirationSeconds"), why
        for message in _local(token.path):
            yield ("serviceAccountToken", "path"), message


def _keys(items: Sequence[KeyToPath], mode: int) -> Said:
    yield from _mode(("defaultMode",), mode)
    for number, item in enumerate(items):
        if not item.key:
            yield ("items", number, "key"), "Required value"
        for message in _local(item.path):
            yield ("items", number, "path"), message
        yield from _mode(("items", number, "mode"), item.mode)


def _fields(items: Sequence[DownwardAPIVolumeFile], mode: int) -> Said:
    yield from _mode(("defaultMode",), mode)
    for number, item in enumerate(items):
        where: Path = ("items", number)
        for message in _local(item.path):
            yield (*where, "path"), message
        yield from _mode((*where, "mode"), item.mode)
        if (item.fieldRef is None) == (item.resourceFieldRef is None):
            many = "fieldRef and resourceFieldRef can not be specified simultaneously"
            yield where, many if item.fieldRef else "one of fieldRef and resourceFieldRef is required"
        if item.resourceFieldRef is not None and not item.resourceFieldRef.containerName:
            yield (*where, "resourceFieldRef", "containerName"), "Required value"


def _mode(where: Path, mode: int | None) -> Said:
    if mode is not None and not 0 <= mode <= 0o777:
        yield where, f"Invalid value: {mode}: {_MODE}"


def _local(text: str) -> Iterator[str]:
    """A path below the volume."""
    shown = f'Invalid value: "{shorten(text)}": '
    if not text:
        yield "Required value"
    elif text.startswith("/"):
        yield shown + _RELATIVE
    elif ".." in text.split("/"):
        yield shown + _ABOVE
    elif text.startswith(".."):
        yield f"{shown}must not start with '..'"
    elif "\0" in text:
        yield f'"{shorten(text)}" has a NUL in it, which no path can have'
