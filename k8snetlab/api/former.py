"""Group versions that Kubernetes serves no longer and books still print: which there were, and what became of them.

Values are objects as JSON-like builtins. What such a version says of an object that today's version cannot say (an old
rollback, say) is left out.
Source: k8s.io/api (extensions/v1beta1, apps/v1beta1 …: zz_generated.prerelease-lifecycle.go), and the conversions and
defaults of kube-apiserver 1.15 and 1.21 (pkg/apis/extensions/v1beta1, apps/v1beta1, networking/v1beta1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from k8snetlab.api import event_versions

Json = dict[str, Any]


class Former(msgspec.Struct, frozen=True):
    """A kind in a version: since which minor version of Kubernetes it was deprecated, and was gone."""

    version: str
    kind: str
    deprecated: int
    removed: int

    @property
    def gone(self) -> bool:
        """Whether no server has it any more; else it is another version of today's."""
        return self.removed > 0

    def warning(self, today: str) -> str:
        """In the server's words; `today` is the version to use."""
        said = f"{self.version} {self.kind} is deprecated in v1.{self.deprecated}+, unavailable in v1.{self.removed}+"
        return f"{said}; use {today} {self.kind}"


def _of(version: str, kinds: tuple[str, ...], deprecated: int, removed: int) -> tuple[Former, ...]:
    return tuple(Former(version, kind, deprecated, removed) for kind in kinds)


ROLES = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
FORMER: Mapping[tuple[str, str], Former] = {
    (one.version, one.kind): one
    for one in (
        *_of("apps/v1beta2", ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"), 9, 16),
        *_of("apps/v1beta1", ("Deployment", "StatefulSet"), 8, 16),
        *_of("extensions/v1beta1", ("DaemonSet", "Deployment", "ReplicaSet"), 8, 16),
        *_of("extensions/v1beta1", ("NetworkPolicy",), 9, 16),
        *_of("extensions/v1beta1", ("Ingress",), 14, 22),
        *_of("networking.k8s.io/v1beta1", ("Ingress", "IngressClass"), 19, 22),
        *_of("rbac.authorization.k8s.io/v1beta1", ROLES, 17, 22),
        *_of("coordination.k8s.io/v1beta1", ("Lease",), 19, 22),
        *_of("scheduling.k8s.io/v1beta1", ("PriorityClass",), 14, 22),
        *_of("gateway.networking.k8s.io/v1beta1", ("GatewayClass", "Gateway", "HTTPRoute"), 0, 0),
        *_of("gateway.networking.k8s.io/v1alpha2", ("TLSRoute", "TCPRoute"), 0, 0),
        *_of(event_versions.VERSION, ("Event",), 0, 0),
        *_of("apiextensions.k8s.io/v1beta1", ("CustomResourceDefinition",), 16, 22),
    )
}


def renewed(version: str, value: Json) -> Json:
    """What an object of such a version is today; its apiVersion is left as it is, as is what has the wrong shape."""
    change = _RENEW.get((version, value.get("kind", ""))) or _RENEW.get(("", value.get("kind", "")))
    return change(value) if change is not None else value


def as_before(version: str, value: Json) -> Json:
    """Today's object as it is said in such a version, with that apiVersion."""
    change = _BEFORE.get(value.get("kind", ""))
    return {**(change(value) if change is not None else value), "apiVersion": version}


def _with_spec(value: Json, change: Callable[[Json], Json]) -> Json:
    spec = value.get("spec")
    return {**value, "spec": change(dict(spec))} if isinstance(spec, dict) else value


# --- workloads ------------------------------------------------------------------------------------------------------


def _workload(defaults: Callable[[Json], None], value: Json) -> Json:
    def change(spec: Json) -> Json:
        spec.pop("rollbackTo", None)
        spec.pop("templateGeneration", None)
        if not spec.get("selector") and (labels := _labels(spec)):
            spec["selector"] = {"matchLabels": labels}
        defaults(spec)
        return spec

    return _with_spec(value, change)


def _labels(spec: Json) -> Json:
    template = spec.get("template")
    metadata = template.get("metadata") if isinstance(template, dict) else None
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return dict(labels) if isinstance(labels, dict) else {}


def _one_by_one(spec: Json) -> None:
    """The first Deployments kept all revisions, and replaced one pod at a time."""
    spec.setdefault("revisionHistoryLimit", 2**31 - 1)
    strategy = spec.get("strategy") or {}
    if isinstance(strategy, dict) and strategy.get("type", "RollingUpdate") == "RollingUpdate":
        rolling = {"maxSurge": 1, "maxUnavailable": 1, **(strategy.get("rollingUpdate") or {})}
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}


def _on_delete(spec: Json) -> None:
    spec.setdefault("updateStrategy", {"type": "OnDelete"})


# --- Ingress --------------------------------------------------------------------------------------------------------


def _ingress(value: Json) -> Json:
    def change(spec: Json) -> Json:
        if "backend" in spec:
            spec["defaultBackend"] = _backend(spec.pop("backend"))
        if isinstance(spec.get("rules"), list | tuple):
            spec["rules"] = [_rule(rule, _path) for rule in spec["rules"]]
        return spec

    return _with_spec(value, change)


def _rule(rule: Any, change: Callable[[Json], Json]) -> Any:
    http = rule.get("http") if isinstance(rule, dict) else None
    paths = http.get("paths") if isinstance(http, dict) else None
    if not isinstance(paths, list | tuple) or not isinstance(http, dict):
        return rule
    return {
        **rule,
        "http": {**http, "paths": [change(dict(path)) if isinstance(path, dict) else path for path in paths]},
    }


def _path(path: Json) -> Json:
    path.setdefault("pathType", "ImplementationSpecific")
    if "backend" in path:
        path["backend"] = _backend(path["backend"])
    return path


def _backend(backend: Any) -> Any:
    if not isinstance(backend, dict) or not {"serviceName", "servicePort"} & set(backend):
        return backend
    rest = {field: held for field, held in backend.items() if field not in ("serviceName", "servicePort")}
    port = backend.get("servicePort")
    said = {} if port in (None, 0, "") else {"number": port} if isinstance(port, int) else {"name": port}
    return {**rest, "service": {"name": backend.get("serviceName", ""), "port": said}}


def _ingress_before(value: Json) -> Json:
    def change(spec: Json) -> Json:
        if "defaultBackend" in spec:
            spec["backend"] = _backend_before(spec.pop("defaultBackend"))
        if isinstance(spec.get("rules"), list | tuple):
            spec["rules"] = [_rule(rule, _path_before) for rule in spec["rules"]]
        return spec

    return _with_spec(value, change)


def _path_before(path: Json) -> Json:
    return {**path, "backend": _backend_before(path.get("backend"))}


def _backend_before(backend: Any) -> Any:
    service = backend.get("service") if isinstance(backend, dict) else None
    if not isinstance(service, dict):
        return backend
    rest = {field: held for field, held in backend.items() if field != "service"}
    port = service.get("port") or {}
    return {**rest, "serviceName": service.get("name", ""), "servicePort": port.get("number") or port.get("name") or 0}


# --- CustomResourceDefinition ---------------------------------------------------------------------------------------

_PRESERVE = "x-kubernetes-preserve-unknown-fields"


def _definition(value: Json) -> Json:
    def change(spec: Json) -> Json:
        schema, parts = _schema(spec.pop("validation", None), spec.pop("preserveUnknownFields", True)), Json()
        if (subresources := spec.pop("subresources", None)) is not None:
            parts["subresources"] = subresources
        if (columns := spec.pop("additionalPrinterColumns", None)) is not None:
            parts["additionalPrinterColumns"] = columns
        first, versions = spec.pop("version", None), spec.get("versions")
        if not versions and first:
            versions = [{"name": first, "served": True, "storage": True}]
        if isinstance(versions, list):
            spec["versions"] = [
                _version({**parts, "schema": schema, **one}) for one in versions if isinstance(one, dict)
            ]
        spec.setdefault("scope", "Namespaced")
        return spec

    return _with_spec(value, change)


def _schema(validation: Any, preserves: Any) -> Json:
    """That of all versions: without one, or where unknown fields are kept, everything is taken."""
    schema = validation.get("openAPIV3Schema") if isinstance(validation, dict) else None
    found = dict(schema) if isinstance(schema, dict) else {_PRESERVE: True}
    found.setdefault("type", "object")
    return {"openAPIV3Schema": {**found, _PRESERVE: True} if preserves else found}


def _version(version: Json) -> Json:
    columns = version.get("additionalPrinterColumns")
    if not isinstance(columns, list):
        return version
    return {**version, "additionalPrinterColumns": [_renamed(one, "JSONPath", "jsonPath") for one in columns]}


def _renamed(value: Any, old: str, new: str) -> Any:
    return {new if field == old else field: held for field, held in value.items()} if isinstance(value, dict) else value


def _definition_before(value: Json) -> Json:
    def change(spec: Json) -> Json:
        versions = [_version_before(dict(one)) for one in spec.get("versions", ())]
        return {**spec, "version": versions[0]["name"] if versions else "", "versions": versions}

    return _with_spec(value, change)


def _version_before(version: Json) -> Json:
    if "additionalPrinterColumns" in version:
        columns = version["additionalPrinterColumns"]
        version["additionalPrinterColumns"] = [_renamed(one, "jsonPath", "JSONPath") for one in columns]
    return version


def _nothing(spec: Json) -> None:
    pass


_RENEW: Mapping[tuple[str, str], Callable[[Json], Json]] = {
    ("extensions/v1beta1", "Deployment"): lambda value: _workload(_one_by_one, value),
    ("apps/v1beta1", "Deployment"): lambda value: _workload(
        lambda spec: spec.setdefault("revisionHistoryLimit", 2), value
    ),
    ("extensions/v1beta1", "ReplicaSet"): lambda value: _workload(_nothing, value),
    ("extensions/v1beta1", "DaemonSet"): lambda value: _workload(_on_delete, value),
    ("apps/v1beta1", "StatefulSet"): lambda value: _workload(_on_delete, value),
    ("", "Ingress"): _ingress,
    ("", "Event"): event_versions.as_core,
    ("", "CustomResourceDefinition"): _definition,
}
"""By version ("" for any of them) and kind; what is not named has not changed."""
CHANGED = ("Ingress", "Event", "CustomResourceDefinition")
"""Kinds of which today's fields are others."""
_BEFORE: Mapping[str, Callable[[Json], Json]] = {
    "Ingress": _ingress_before,
    "Event": event_versions.as_events,
    "CustomResourceDefinition": _definition_before,
}
