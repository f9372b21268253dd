"""The Ingress controller as its own manifest has it: namespace ingress-nginx, Deployment, Service, IngressClass.

Source: kubernetes/ingress-nginx deploy/static/provider/baremetal/deploy.yaml (controller v1.15.1).
"""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.apps import Deployment, DeploymentSpec
from k8snetlab.api.config import ServiceAccount
from k8snetlab.api.core import (
    Container,
    ContainerPort,
    Namespace,
    Pod,
    PodSpec,
    PodTemplateSpec,
    Service,
    ServicePort,
    ServiceSpec,
)
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import LabelSelector, Object, ObjectMeta
from k8snetlab.api.networking import DEFAULT_CLASS, IngressClass, IngressClassSpec
from k8snetlab.render.ingress.collect import CONTROLLER
from k8snetlab.render.ingress.conf import HEALTH, HTTP, HTTPS

NAMESPACE, NAME, CLASS = "ingress-nginx", "ingress-nginx-controller", "nginx"
IMAGE = "registry.k8s.io/ingress-nginx/controller:v1.15.1"
LABELS = {
    "app.kubernetes.io/component": "controller",
    "app.kubernetes.io/instance": "ingress-nginx",
    "app.kubernetes.io/name": "ingress-nginx",
}
_REPOSITORY = "ingress-nginx/controller"


def objects(lab: Lab) -> tuple[Object, ...]:
    """What the lab's controller consists of; nothing where it has none."""
    spec = lab.spec.ingress
    if spec.controller == "none":
        return ()
    default = {DEFAULT_CLASS: "true"} if spec.defaultClass else {}
    return (
        Namespace(metadata=ObjectMeta(name=NAMESPACE, labels={"app.kubernetes.io/name": "ingress-nginx"})),
        ServiceAccount(metadata=_meta("ingress-nginx")),
        IngressClass(
            metadata=ObjectMeta(name=CLASS, labels=LABELS, annotations=default),
            spec=IngressClassSpec(controller=CONTROLLER),
        ),
        Deployment(metadata=_meta(NAME), spec=_deployment(lab)),
        Service(metadata=_meta(NAME), spec=_service(lab)),
    )


def _meta(name: str) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=NAMESPACE, labels=LABELS)


def _deployment(lab: Lab) -> DeploymentSpec:
    ports = (
        ContainerPort(containerPort=HTTP, name="http"),
        ContainerPort(containerPort=HTTPS, name="https"),
        ContainerPort(containerPort=HEALTH, name="metrics"),
    )
    pod = PodSpec(
        containers=(Container(name="controller", image=IMAGE, ports=ports),),
        serviceAccountName="ingress-nginx",
        terminationGracePeriodSeconds=300,
    )
    return DeploymentSpec(
        replicas=lab.spec.ingress.replicas,
        selector=LabelSelector(matchLabels=LABELS),
        template=PodTemplateSpec(metadata=ObjectMeta(labels=LABELS), spec=pod),
    )


def _service(lab: Lab) -> ServiceSpec:
    spec = lab.spec.ingress
    ports = (
        ServicePort(port=HTTP, name="http", targetPort="http", nodePort=spec.nodePorts.http),
        ServicePort(port=HTTPS, name="https", targetPort="https", nodePort=spec.nodePorts.https),
    )
    return ServiceSpec(type=spec.serviceType, selector=LABELS, ports=ports, clusterIP=spec.address)


def is_controller(image: str) -> bool:
    """Whether an image is ingress-nginx', whatever its registry and tag."""
    name = image.partition("@")[0]
    name = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    return name.endswith((f"/{_REPOSITORY}", "/nginx-ingress-controller")) or name == _REPOSITORY


def container_of(pod: Pod) -> Container | None:
    """The pod's container that is the controller, None where it has none."""
    return next((one for one in pod.spec.containers if is_controller(one.image) and not one.command), None)


def controlling(pod: Pod) -> Iterable[bool]:
    """The group of the pods that are controllers."""
    return (True,) if container_of(pod) is not None else ()
