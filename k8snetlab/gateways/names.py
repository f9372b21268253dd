"""Which Gateways are the lab's controller's own, and what the objects that serve them are called.

Source: nginx/nginx-gateway-fabric 2.x: a Deployment and a Service GATEWAY-CLASS for each Gateway, beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from k8snetlab.api.core import Container, Node, Pod
from k8snetlab.api.gateway import Gateway, GatewayClass
from k8snetlab.api.snapshot import Key, Snapshot

CONTROLLER, CLASS = "gateway.nginx.org/nginx-gateway-controller", "nginx"
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
"""Label of what serves a Gateway, as the Gateway API has it."""
IMAGE = "ghcr.io/nginx/nginx-gateway-fabric/nginx:2.2.1"
WITHOUT = "gateway.nginx.org/without"
"""Annotation of a node whose machine lacks a Debian package of nginx': its name."""
STREAMS = "libnginx-mod-stream"
"""The package that brings nginx' stream module."""
LONGEST = 63
"""Characters of a Service's name, and of a label's value."""
_REPOSITORY = "nginx-gateway-fabric/nginx"


def own_classes(snapshot: Snapshot) -> dict[str, GatewayClass]:
    """None where the lab has no controller for them."""
    if snapshot.lab.spec.gateway.controller == "none":
        return {}
    classes = snapshot.all(GatewayClass).values()
    return {one.name: one for one in classes if one.spec.controllerName == CONTROLLER}


def is_taken(known: GatewayClass) -> bool:
    """Whether Gateways of the class are served: it has no parameters, of which there are none here."""
    return known.spec.parametersRef is None


def own(snapshot: Snapshot) -> dict[Key, Gateway]:
    """The Gateways that are seen to."""
    classes = {name for name, one in own_classes(snapshot).items() if is_taken(one)}
    if not classes:
        return {}
    return {key: one for key, one in snapshot.all(Gateway).items() if one.spec.gatewayClassName in classes}


def name_of(gateway: Gateway) -> str:
    """Of the Deployment and the Service."""
    return _shortened(f"{gateway.name}-{gateway.spec.gatewayClassName}".replace(".", "-"), gateway.name)


def label_of(gateway: Gateway) -> str:
    return _shortened(gateway.name, gateway.name)


def _shortened(text: str, whole: str) -> str:
    if len(text) <= LONGEST and "." not in whole:
        return text
    mark = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{text[: LONGEST - 9].rstrip('-.')}-{mark}"


def is_nginx(image: str) -> bool:
    """Whether an image is that of a Gateway's nginx, whatever its registry and tag."""
    name = image.partition("@")[0]
    name = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    return name.endswith(f"/{_REPOSITORY}") or name == _REPOSITORY


def container_of(pod: Pod) -> Container | None:
    """The pod's container that serves a Gateway, None where it has none."""
    if GATEWAY_NAME not in pod.metadata.labels:
        return None
    return next((one for one in pod.spec.containers if is_nginx(one.image) and not one.command), None)


def by_gateway(pod: Pod) -> Iterable[tuple[str, str]]:
    """The group of a pod that serves a Gateway: its namespace, and the label of the Gateway's name."""
    return [(pod.namespace, pod.metadata.labels[GATEWAY_NAME])] if container_of(pod) is not None else ()


def pods_of(gateway: Gateway, snapshot: Snapshot) -> list[Pod]:
    return list(snapshot.select(Pod, by_gateway, (gateway.namespace, label_of(gateway))).values())


def without_streams(gateway: Gateway, snapshot: Snapshot) -> list[str]:
    """The nodes of its pods where nginx can pass no connections on as they are."""
    nodes = {pod.spec.nodeName for pod in pods_of(gateway, snapshot)}
    return [name for name in lacking(snapshot) if name in nodes]


def lacking(snapshot: Snapshot) -> tuple[str, ...]:
    """The nodes of whose nginx it is said that it has no stream module."""
    nodes = snapshot.all(Node).values()
    return tuple(sorted(one.name for one in nodes if one.metadata.annotations.get(WITHOUT) == STREAMS))
