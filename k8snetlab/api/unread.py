"""What the API server refuses in fields of which our types keep too little to see it: volumes and mounts, sources.

Takes values as they are written, whatever they are: what has the wrong shape is said elsewhere (`api.fields`).
Source: Kubernetes pkg/apis/core/validation (ValidateVolumes, ValidateVolumeMounts, ValidateEnv) and apps/validation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Pod
from k8snetlab.api.meta import Object
from k8snetlab.api.problems import dns_label
from k8snetlab.api.words import Path, shorten, unsupported
from k8snetlab.api.workloads import Job, Workload

Said = Iterator[tuple[Path, str]]
_LISTS = ("containers", "initContainers", "ephemeralContainers")


def unread(value: dict[str, Any], type_: type[Object]) -> Said:
    """(path, what is wrong) of an object's written value."""
    if issubclass(type_, Pod):
        yield from _pod_spec(_dict(value, "spec"), ("spec",))
    elif issubclass(type_, Workload):
        path: Path = ("spec", "template", "spec")
        spec = _dict(_dict(_dict(value, "spec"), "template"), "spec")
        yield from _pod_spec(spec, path, _claims(_dict(value, "spec")))
        if not issubclass(type_, Job) and spec.get("activeDeadlineSeconds") is not None:
            kind = "ReplicaSet" if issubclass(type_, Deployment) else type_.KIND
            yield (*path, "activeDeadlineSeconds"), f"Forbidden: activeDeadlineSeconds in {kind} is not Supported"
        if not issubclass(type_, Deployment | ReplicaSet):
            return
        policy = spec.get("restartPolicy")
        if isinstance(policy, str) and policy in ("OnFailure", "Never"):
            yield (*path, "restartPolicy"), unsupported(policy, ("Always",))
        yield from _numbers(_dict(value, "spec"))


def _numbers(spec: dict[str, Any]) -> Said:
    for field in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        number = spec.get(field)
        if isinstance(number, int) and number < 0:
            yield ("spec", field), f"Invalid value: {shorten(str(number))}: must be greater than or equal to 0"
    ready, deadline = spec.get("minReadySeconds") or 0, spec.get("progressDeadlineSeconds")
    if isinstance(ready, int) and isinstance(deadline, int) and 0 <= deadline <= ready:
        path: Path = ("spec", "progressDeadlineSeconds")
        yield path, f"Invalid value: {shorten(str(deadline))}: must be greater than minReadySeconds"


def _claims(spec: dict[str, Any]) -> set[str]:
    """Names of the volumes that a StatefulSet's pods have besides."""
    return {str(_dict(one, "metadata").get("name")) for _, one in _dicts(spec, "volumeClaimTemplates")}


def _pod_spec(spec: dict[str, Any], path: Path, others: Collection[str] = ()) -> Said:
    volumes: set[str] = set()
    for number, volume in _dicts(spec, "volumes"):
        where = (*path, "volumes", number)
        name = volume.get("name")
        if isinstance(name, str):
            if problem := dns_label(name):
                yield (*where, "name"), problem
            if name in volumes:
                yield (*where, "name"), f'Duplicate value: "{shorten(name)}"'
            volumes.add(name)
        sources = [key for key, source in volume.items() if key != "name" and source is not None]
        if len(sources) > 1:
            yield (*where, sources[1]), "Forbidden: may not specify more than 1 volume type"
    for kind in _LISTS:
        for number, container in _dicts(spec, kind):
            yield from _mounts(container, (*path, kind, number), {*volumes, *others})
            yield from _env(container, (*path, kind, number))


def _mounts(container: dict[str, Any], path: Path, volumes: set[str]) -> Said:
    for field, place in (("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")):
        taken: set[str] = set()
        for number, mount in _dicts(container, field):
            name, target = mount.get("name"), mount.get(place)
            if isinstance(name, str) and name not in volumes:
                yield (*path, field, number, "name"), f'Not found: "{shorten(name)}"'
            if isinstance(target, str):
                if not target:
                    yield (*path, field, number, place), "Required value"
                if target in taken:
                    yield (*path, field, number, place), f'Invalid value: "{shorten(target)}": must be unique'
                taken.add(target)
            if mount.get("subPath") and mount.get("subPathExpr"):
                yield (*path, field, number, "subPathExpr"), "Invalid value: subPathExpr and subPath are exclusive"


def _env(container: dict[str, Any], path: Path) -> Said:
    sources = ("configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef")
    for number, variable in _dicts(container, "env"):
        source = variable.get("valueFrom")
        where = (*path, "env", number, "valueFrom")
        if not isinstance(source, dict):
            continue
        if variable.get("value"):
            yield where, 'Invalid value: "": may not be specified when `value` is not empty'
        given = [key for key in sources if source.get(key) is not None]
        if not given:
            yield where, f'Invalid value: "": must specify one of: {", ".join(f"`{key}`" for key in sources)}'
        elif len(given) > 1:
            yield where, 'Invalid value: "": may not have more than one field specified at a time'


def _dict(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _dicts(value: dict[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    found = value.get(key)
    for number, item in enumerate(found if isinstance(found, list) else ()):
        if isinstance(item, dict):
            yield number, item
