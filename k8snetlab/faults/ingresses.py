"""Faults of Ingresses, as a manifest brings them: nginx does what it is told, and that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.core import Service
from k8snetlab.api.networking import (
    HTTPIngressPath,
    Ingress,
    IngressServiceBackend,
    IngressSpec,
    IngressTLS,
    ServiceBackendPort,
)
from k8snetlab.api.scheme import to_dict
from k8snetlab.faults.fault import Damage, Edit, Fault, Said, Seen, content
from k8snetlab.faults.scene import Scene
from k8snetlab.render.ingress import collect

ANNOTATIONS = "nginx.ingress.kubernetes.io/"
PROTOCOL = f"{ANNOTATIONS}backend-protocol"


def _ingress(scene: Scene) -> Ingress:
    """One that this lab's controller serves, with a host and a path that leads to a Service."""
    found = [one for one in collect.served(scene.snapshot) if _is_usual(one) and _is_answered(scene, one)]
    return scene.one(sorted(found, key=lambda one: (one.namespace, one.name)), "Ingress that its controller serves")


def _is_usual(ingress: Ingress) -> bool:
    """Whether a URL of its first host and path asks for just that: no redirect, no pattern, nobody else's logins."""
    rules = ingress.spec.rules
    if ingress.spec.tls or any(key.startswith(ANNOTATIONS) for key in ingress.metadata.annotations):
        return False
    if not rules or not rules[0].host or "*" in rules[0].host or rules[0].http is None:
        return False
    return _first(ingress).backend.service is not None


def _is_answered(scene: Scene, ingress: Ingress) -> bool:
    """Whether a ready pod is behind its first path."""
    backend = _first(ingress).backend.service
    service = scene.snapshot.get(Service, backend.name, ingress.namespace) if backend else None
    return service is not None and bool(scene.ready(service))


def _first(ingress: Ingress) -> HTTPIngressPath:
    http = ingress.spec.rules[0].http
    assert http is not None
    return http.paths[0]


def _damage(ingress: Ingress, spec: IngressSpec, scheme: str = "http") -> Damage:
    before, after = (content(to_dict(replace(ingress, spec=one))) for one in (ingress.spec, spec))
    edit = Edit("Ingress", ingress.namespace, ingress.name, before, after)
    return Damage(f"{ingress.namespace}/{ingress.name}", _seen(ingress, scheme), edits=(edit,))


def _seen(ingress: Ingress, scheme: str = "http") -> Seen:
    path = _first(ingress).path or "/"
    return Seen("outside", f"{scheme}://{ingress.spec.rules[0].host}{path}", what="http")


def _backend(change: Callable[[IngressServiceBackend], IngressServiceBackend]) -> Callable[[Scene], Damage]:
    """With another backend of the first path."""

    def make(scene: Scene) -> Damage:
        ingress = _ingress(scene)
        rule, path = ingress.spec.rules[0], _first(ingress)
        assert path.backend.service is not None and rule.http is not None
        other = replace(path, backend=replace(path.backend, service=change(path.backend.service)))
        changed = replace(rule, http=replace(rule.http, paths=(other, *rule.http.paths[1:])))
        return _damage(ingress, replace(ingress.spec, rules=(changed, *ingress.spec.rules[1:])))

    return make


def _class(scene: Scene) -> Damage:
    ingress = _ingress(scene)
    return _damage(ingress, replace(ingress.spec, ingressClassName="ngnix"))


def _secret(scene: Scene) -> Damage:
    ingress = _ingress(scene)
    tls = (IngressTLS(hosts=(ingress.spec.rules[0].host,), secretName="shop-tsl"),)
    made = _damage(ingress, replace(ingress.spec, tls=tls), "https")
    return replace(made, seen=replace(made.seen, what="late"))


def _protocol(scene: Scene) -> Damage:
    ingress = _ingress(scene)
    before: Any = ingress.metadata.annotations.get(PROTOCOL)
    edit = Edit("Ingress", ingress.namespace, ingress.name, before, "HTTPS", annotation=PROTOCOL)
    return Damage(f"{ingress.namespace}/{ingress.name}", _seen(ingress), edits=(edit,))


def faults() -> Iterator[Fault]:
    yield Fault(
        name="ingress-class",
        title="an Ingress names a class that there is not",
        level=1,
        group="objects",
        touches="an Ingress",
        symptom="a host is not found from outside (404)",
        said=Said("ingress", "class"),
        make=_class,
    )
    yield Fault(
        name="ingress-service",
        title="an Ingress leads to a Service that there is not",
        level=1,
        group="objects",
        touches="an Ingress",
        symptom="a host is unavailable from outside (503)",
        said=Said("ingress", "backend"),
        make=_backend(lambda one: replace(one, name=f"{one.name[:60]}-1")),
    )
    yield Fault(
        name="ingress-port",
        title="an Ingress leads to a port that its Service does not have",
        level=1,
        group="objects",
        touches="an Ingress",
        symptom="a host is unavailable from outside (503)",
        said=Said("ingress", "port"),
        make=_backend(lambda one: replace(one, port=ServiceBackendPort(number=8181))),
    )
    yield Fault(
        name="ingress-secret",
        title="an Ingress names a Secret that there is not",
        level=2,
        group="objects",
        touches="an Ingress",
        symptom="browsers warn of a host's certificate",
        said=Said("ingress", "secret"),
        make=_secret,
    )
    yield Fault(
        name="ingress-protocol",
        title="nginx speaks TLS to pods that speak plain HTTP",
        level=2,
        group="objects",
        touches="an Ingress",
        symptom="a host answers with 502 Bad Gateway",
        said=Said("ingress", "protocol"),
        make=_protocol,
    )
