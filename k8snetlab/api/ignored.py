"""What a manifest held that is no part of a lab: kept by name, so that nobody looks in vain for the pods it would make.

The field `spec` is ours. A DaemonSet's pods are missing where a Service selects them, an Ingress's door is: whoever
explains that has to know of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from k8snetlab.api.meta import SOURCE, Labels, Object, ObjectMeta, Value

_TEMPLATES = {
    "CronJob": ("jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("DaemonSet", "StatefulSet", "Job", "ReplicationController", "DeploymentConfig", "Rollout"), ("template",)
    ),
}
"""Where a kind has its pods' template, below `spec`; others are looked at in the same places."""
_UNFIT = re.compile(r"[^a-z0-9]+")
LONGEST = 63
"""Characters of each of the three parts of a record's name."""


class IgnoredSpec(Value):
    """`podLabels` are those of the pods it would make, None where it makes none. `services` are the Services that it
    leads to, by name."""

    apiVersion: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    podLabels: Labels | None = None
    services: tuple[str, ...] = ()


class Ignored(Object):
    """One object of a kind that no lab has."""

    KIND: ClassVar[str] = "Ignored"
    API_VERSION: ClassVar[str] = "k8snetlab/v1alpha1"
    namespaced: ClassVar[bool] = False

    spec: IgnoredSpec = IgnoredSpec()

    @property
    def title(self) -> str:
        """As a sentence names it, with the line it was written on."""
        short = self.spec.name if self.spec.namespace in ("", "default") else f"{self.spec.namespace}/{self.spec.name}"
        return f"{self.spec.kind} {short}" + (f" ({self.source})" if self.source else "")


def remembered(value: Mapping[str, Any], source: str) -> Ignored | None:
    """The record of an object as it was written; None where it has no proper name, or matters to no packet."""
    kind, version, metadata = value.get("kind"), value.get("apiVersion"), value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    namespace = metadata.get("namespace", "default") if isinstance(metadata, Mapping) else ""
    if not all(isinstance(text, str) for text in (kind, version, name, namespace)):
        return None
    spec = value.get("spec")
    labels = _labels(str(kind), spec)
    services = tuple(dict.fromkeys(_services(spec))) if kind == "Ingress" else ()
    if labels is None and kind not in ("NetworkPolicy", "Ingress"):
        return None
    own = ".".join(_UNFIT.sub("-", str(part).lower())[:LONGEST].strip("-") or "x" for part in (kind, namespace, name))
    return Ignored(
        metadata=ObjectMeta(name=own, annotations={SOURCE: source}),
        spec=IgnoredSpec(
            apiVersion=str(version),
            kind=str(kind),
            namespace=str(namespace),
            name=str(name),
            podLabels=labels,
            services=services,
        ),
    )


def makers_of(selector: Mapping[str, str] | None, namespace: str, known: Iterable[Ignored]) -> list[Ignored]:
    """Those whose pods a Service's selector would select."""
    wanted = selector or {}
    return [
        one for one in known if wanted and one.spec.namespace == namespace and _has(one.spec.podLabels or {}, wanted)
    ]


def _has(labels: Labels, wanted: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())


def _labels(kind: str, spec: object) -> Labels | None:
    """The labels of the pods that it would make; of a ReplicationController without any the selector's."""
    for path in dict.fromkeys((_TEMPLATES.get(kind, ("template",)), ("template",), _TEMPLATES["CronJob"])):
        found = _at(spec, *path)
        if isinstance(found, Mapping):
            labels = _at(found, "metadata", "labels") or (_at(spec, "selector") if kind != "Job" else {})
            return _texts(labels)
    return None


def _services(spec: object) -> Iterable[str]:
    """Names of the Services behind an Ingress."""
    backends = [_at(spec, "defaultBackend")]
    for rule in _items(_at(spec, "rules")):
        backends += [_at(path, "backend") for path in _items(_at(rule, "http", "paths"))]
    for backend in backends:
        name = _at(backend, "service", "name") or _at(backend, "serviceName")
        if isinstance(name, str):
            yield name


def _at(value: object, *path: str) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> Labels:
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {key: text for key, text in pairs if isinstance(key, str) and isinstance(text, str)}
