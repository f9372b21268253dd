"""Manifests to objects: every wrong place is found before any is reported, and nothing of a wrong file is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec.structs import replace

from k8snetlab.api import calico_policy, customizing, lab_names, standin
from k8snetlab.api.apps import Deployment, ReplicaSet
from k8snetlab.api.core import Pod
from k8snetlab.api.custom import value_of
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.fields import check, usable
from k8snetlab.api.former import FORMER, renewed
from k8snetlab.api.ignored import Ignored, remembered
from k8snetlab.api.kubeproxy import EXTERNAL_IPS, KubeProxyConfiguration
from k8snetlab.api.lab import Lab
from k8snetlab.api.lines import noted
from k8snetlab.api.meta import SOURCE, Object
from k8snetlab.api.networking import Ingress, ServiceCIDR
from k8snetlab.api.passed import Passed
from k8snetlab.api.schema import violations
from k8snetlab.api.scheme import BY_KIND, Resource, resource_of_kind, without_nulls
from k8snetlab.api.source import Document, parse
from k8snetlab.api.unread import unread
from k8snetlab.api.validate import validate
from k8snetlab.api.versions import Key
from k8snetlab.api.words import Path, describe, did_you_mean, shorten, show
from k8snetlab.api.workloads import DaemonSet, Job, ReplicationController, StatefulSet, Workload
from k8snetlab.errors import ManifestError

_SERVERS_METADATA = (
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    "managedFields",
)
"""Written by a server, and meaningless in another cluster: a manifest may come from `kubectl get -o yaml`."""
_SERVERS_STATUS: tuple[type[Object], ...] = (
    *(Pod, Deployment, ReplicaSet, Ingress, ServiceCIDR),
    *(DaemonSet, StatefulSet, ReplicationController, Job),
)


class Loaded(msgspec.Struct, frozen=True):
    """Objects in the order in which they were written, with defaults, and warnings as `file:line: what`.

    `named` is where a Lab's name is written (`file:line`), "" where it only follows from the directory's, or no Lab is.
    """

    objects: tuple[Object, ...]
    warnings: tuple[str, ...]
    others: bool = False
    """Whether there were objects of kinds that are none of a lab's."""
    named: str = ""
    ignored: tuple[Ignored, ...] = ()
    """What is of kinds that no lab has and would make pods or lead to Services."""
    written: Mapping[tuple[str, Key], Written] = {}
    """By kind and (namespace, name): where each object was read, with what was left out of it."""


class Written(msgspec.Struct, frozen=True):
    """An object as a person wrote it: its document, and where in that it stands."""

    document: Document
    at: Path

    @property
    def value(self) -> dict[str, Any]:
        found = self.document.value
        for step in self.at:
            found = found[step]
        whole: dict[str, Any] = found
        return whole

    def line(self, path: Path) -> str:
        """`file:line` of a field, or of the nearest one around it that was written."""
        return f"{self.document.file}:{self.document.line((*self.at, *path))}"


Brought = Callable[[], Iterable[Resource]]
"""The kinds that a lab's CustomResourceDefinitions bring."""


Read = Callable[[Sequence[Object]], None]
"""Is told all objects, those that are ignored too, once each of them is right by itself."""


def load(
    files: Iterable[tuple[str, str]],
    whole: bool = True,
    machines: bool = False,
    brought: Brought = tuple,
    read: Read = lambda _: None,
) -> Loaded:
    """The objects of (name, text) pairs; raises ManifestError with every wrong place of all of them.

    Not `whole`: other objects may stand beside these, so nothing is said of what is missing among them.
    `machines`: the nodes are to be machines, whatever the Lab says. `brought` is asked only where a kind is none of a
    lab's own. `read` hears of the objects before it is known whether they go together.
    """
    loader = _Loader(whole, machines, brought)
    for name, text in files:
        documents, flaws = parse(text, name)
        for flaw in flaws:
            loader.problem(flaw.file, flaw.line, flaw.message)
        for document in documents:
            loader.add(document, document.value, ())
    if not loader.errors:
        read((*loader.objects, *loader.ignored.values()))
    loader.validate()
    if loader.errors:
        count = len(loader.errors)
        raise ManifestError(_texts(loader.errors), f"{count} problem{'s' * (count > 1)}; nothing was changed")
    warnings = [*loader.warnings, *loader.passed.messages()]
    objects, ignored = tuple(loader.objects), tuple(loader.ignored.values())
    written = {(obj.KIND, obj.key): Written(*loader.written[id(obj)]) for obj in objects}
    return Loaded(objects, tuple(_texts(warnings)), bool(loader.passed.kinds), loader.named, ignored, written)


_Message = tuple[str, int, str]
GUARDING = frozenset(
    ("crd.projectcalico.org/v1", kind)
    for kind in ("NetworkPolicy", "GlobalNetworkPolicy", "NetworkSet", "GlobalNetworkSet")
)
"""Kinds that hold packets back elsewhere: a lab that passed them over would be more open than its manifests say."""
INSTEAD = f"it is how Calico stores what is written as {calico_policy.VERSION}: write that"


def _texts(messages: list[_Message]) -> list[str]:
    files = {file: number for number, file in reversed(list(enumerate(file for file, _, _ in messages)))}
    ordered = sorted(dict.fromkeys(messages), key=lambda m: (files[m[0]], m[1]))
    return [f"{file}:{line}: {message}" for file, line, message in ordered]


class _Loader:
    def __init__(self, whole: bool, machines: bool, brought: Brought) -> None:
        self.whole, self.machines, self._brought = whole, machines, brought
        self.objects: list[Object] = []
        self.written: dict[int, tuple[Document, Path]] = {}
        self.errors: list[_Message] = []
        self.warnings: list[_Message] = []
        self.reported: set[tuple[int, Path]] = set()
        self.passed = Passed()
        self.named = ""
        self.ignored: dict[str, Ignored] = {}

    def problem(self, file: str, line: int, message: str) -> None:
        self.errors.append((file, line, message))

    def add(self, document: Document, value: Any, at: Path) -> None:
        """Takes in one object, or the items of a List; `at` is where it stands in its document."""
        line = document.line(at)
        if not isinstance(value, dict):
            self.problem(document.file, line, f"expected an object with apiVersion and kind, got {describe(value)}")
            return
        kind, version = value.get("kind"), value.get("apiVersion")
        if not isinstance(kind, str) or not isinstance(version, str):
            for field, given, example in (("apiVersion", version, "v1"), ("kind", kind, "Service")):
                if not isinstance(given, str):
                    what = "is missing" if given is None else f"expected a string, got {describe(given)}"
                    message = f"{show((*at, field))}: {what}; write it like {field}: {example}"
                    self.problem(document.file, document.line((*at, field)), message)
            return
        if kind.endswith("List") and (kind == "List" or "items" in value):
            self._list(document, value, at)
        elif (
            version == calico_policy.VERSION and (found := resource_of_kind(version, kind)) and found.version == version
        ):
            self._object(document, value, found.type, version, at)
        elif kind not in BY_KIND or kind == Ignored.KIND or not _own_group(version):
            custom = None if _own_group(version) else self._custom.get((version, kind))
            if custom is None:
                self._unknown(document, value, kind, version, at)
            else:
                self._of_custom(document, value, custom, at)
        else:
            self._object(document, value, BY_KIND[kind].type, version, at)

    def _list(self, document: Document, value: dict[str, Any], at: Path) -> None:
        items = value.get("items", [])
        if not isinstance(items, list):
            where = document.line((*at, "items"))
            self.problem(document.file, where, f"{show((*at, 'items'))}: expected a list, got {describe(items)}")
            return
        for number, item in enumerate(items):
            self.add(document, item, (*at, "items", number))

    def _unknown(self, document: Document, value: dict[str, Any], kind: str, version: str, at: Path) -> None:
        if record := remembered(value, f"{document.file}:{document.line(at)}"):
            self.ignored[record.name] = record
        metadata = value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if (version, kind) in GUARDING:
            said = f"{version} {kind} is not read here, and what it guards would be open; {INSTEAD}"
            self.problem(document.file, document.line((*at, "kind")), f"{show((*at, 'kind'))}: {said}")
            return
        same = [name for name, resource in BY_KIND.items() if version == resource.type.API_VERSION]
        hint = did_you_mean(kind, same) if kind not in BY_KIND else ""
        self.passed.kind(document.file, document.line(at), kind, name if isinstance(name, str) else "", hint)

    @cached_property
    def _custom(self) -> Mapping[tuple[str, str], Resource]:
        return {(one.version, one.kind): one for one in self._brought()}

    def _of_custom(self, document: Document, value: dict[str, Any], resource: Resource, at: Path) -> None:
        value = _without_servers_fields(without_nulls(value), resource.type)
        if resource.defined is not None and resource.defined.subresources.status is not None:
            value.pop("status", None)
        value |= {"apiVersion": resource.version, "kind": resource.kind}
        try:
            obj, unknown = customizing.decoded(value, resource)
        except ManifestError as error:
            self.problem(document.file, document.line(at), error.message)
            return
        for path in unknown:
            self.problem(document.file, document.line(at), f"{path}: a {resource.kind} has no such field")
        for place, message in violations(value_of(obj), customizing.schema_of(resource)):
            where = document.line((*at, *place))
            self.problem(document.file, where, f"{show((*at, *place))}: {message}")
        made: Object = obj
        self.objects.append(self._with_source(document, made, at))
        self.written[id(self.objects[-1])] = (document, at)

    def _object(self, document: Document, value: dict[str, Any], type_: type[Object], version: str, at: Path) -> None:
        where = document.line((*at, "apiVersion"))
        if (former := FORMER.get((version, type_.KIND))) is not None:
            if former.gone:
                self.warnings.append((document.file, where, former.warning(type_.API_VERSION)))
            value = renewed(version, value)
        elif version != type_.API_VERSION:
            message = f"apiVersion: a {type_.KIND} is of {type_.API_VERSION}, not {shorten(version)}"
            self.problem(document.file, where, message)
        value = _without_servers_fields(value, type_)
        findings = check(value, type_)
        # kube-proxy itself goes on after a warning ("lenient decoding"), the API server does not.
        unknown = self.warnings if type_ is KubeProxyConfiguration else self.errors
        for path, message in findings.unknown:
            unknown.append((document.file, document.line((*at, *path)), message))
        for path, message in findings.wrong:
            where = document.line((*at, *path))
            self.problem(document.file, where, f"{show((*at, *path))}: {message}")
        # An object in which it is plain what was meant is looked at with all others, though it will not be used.
        given, value = value, usable(value, findings)
        if value is None:
            return
        try:
            obj = self._with_source(document, msgspec.convert(value, type_), at)
        except msgspec.ValidationError as error:
            self.problem(document.file, document.line(at), str(error))
            return
        self.objects.append(obj)
        self.written[id(obj)] = (document, at)
        self.reported |= {(id(obj), path) for path, _ in findings.wrong}
        for path in (*findings.ignored, *_not_run(obj)):
            self.passed.field(document.file, document.line((*at, *path)), type_.KIND, obj.short_name, path)
        for path, message in unread(given, type_):
            where = document.line((*at, *path))
            self.problem(document.file, where, f"{show((*at, *path))}: {message}")

    def _with_source(self, document: Document, obj: Object, at: Path) -> Object:
        """The object with its defaults and the place it was written at."""
        source = f"{document.file}:{document.line(at)}"
        obj = _annotated(obj, {SOURCE: source})
        if isinstance(obj, Lab) and obj.name:
            self.named = f"{document.file}:{document.line((*at, 'metadata', 'name'))}"
        if self.machines and isinstance(obj, Lab):
            obj = replace(obj, spec=replace(obj.spec, machines=True))
        if not obj.namespaced and obj.metadata.namespace:
            where = document.line((*at, "metadata", "namespace"))
            message = f"{show((*at, 'metadata', 'namespace'))}: a {obj.KIND} is in no namespace; ignored"
            self.warnings.append((document.file, where, message))
        obj = with_defaults(obj, lab_names.of_file(document.file)) if isinstance(obj, Lab) else with_defaults(obj)
        return _annotated(obj, noted(obj, document, at))

    def validate(self) -> None:
        for problem in validate(self.objects):
            if problem.severity == "warning" and not self.whole:
                continue
            if (id(problem.object), problem.path) in self.reported:
                continue
            document, at = self.written[id(problem.object)]
            where = document.line((*at, *problem.path))
            said = self.passed.blamed(problem, self.ignored.values()) or problem.message
            message = f"{show((*at, *problem.path))}: {said}"
            messages = self.errors if problem.severity == "error" else self.warnings
            messages.append((document.file, where, message))


def _annotated(obj: Object, more: dict[str, str]) -> Object:
    annotations = {**obj.metadata.annotations, **more}
    return replace(obj, metadata=replace(obj.metadata, annotations=annotations)) if more else obj


def _not_run(obj: Object) -> list[Path]:
    """Containers that will not be run as they are written, as the fields that say so, and what the stand-in of an image
    cannot do; gates that change nothing."""
    path: Path = ("spec",)
    if isinstance(obj, KubeProxyConfiguration):
        return [("featureGates", gate) for gate in obj.featureGates if gate != EXTERNAL_IPS]
    if isinstance(obj, Workload):
        path, spec = ("spec", "template", "spec"), obj.spec.template.spec
    elif isinstance(obj, Pod):
        spec = obj.spec
    else:
        return []
    found: list[Path] = []
    for number, container in enumerate(spec.containers):
        if container.restartPolicy not in (None, spec.restartPolicy):
            found.append((*path, "containers", number, "restartPolicy"))
    for field, containers in (("containers", spec.containers), ("initContainers", spec.initContainers)):
        for number, container in enumerate(containers):
            found += ((*path, field, number, *place) for place in standin.beyond(container))
    return found


def _own_group(version: str) -> bool:
    """Whether an apiVersion is one of Kubernetes' own; another group may well have a kind of the same name."""
    group, slash, _ = version.partition("/")
    return not slash or "." not in group or group.endswith(".k8s.io")


def _without_servers_fields(value: dict[str, Any], type_: type[Object]) -> dict[str, Any]:
    value = {k: v for k, v in value.items() if k not in ("apiVersion", "kind")}
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        value["metadata"] = {k: v for k, v in metadata.items() if k not in _SERVERS_METADATA}
    if issubclass(type_, _SERVERS_STATUS):
        value.pop("status", None)
    return value
