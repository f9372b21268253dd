"""The objects that serve Gateways: the class, and for each Gateway a Deployment of nginx and its Service.

Source: nginx/nginx-gateway-fabric 2.x, internal/controller/provisioner/objects.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.apps import Deployment, DeploymentSpec
from k8snetlab.api.core import Container, PodSpec, PodTemplateSpec, Service, ServicePort, ServiceSpec
from k8snetlab.api.gateway import Gateway, GatewayClass, GatewayClassSpec
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import LabelSelector, Object, ObjectMeta, OwnerReference
from k8snetlab.gateways.names import CLASS, CONTROLLER, GATEWAY_NAME, IMAGE, label_of, name_of


def objects(lab: Lab) -> tuple[Object, ...]:
    """What the lab's controller consists of before there is a Gateway; nothing where it has none."""
    if lab.spec.gateway.controller == "none":
        return ()
    return (GatewayClass(metadata=ObjectMeta(name=CLASS), spec=GatewayClassSpec(controllerName=CONTROLLER)),)


def labels(gateway: Gateway) -> dict[str, str]:
    """By which the pods of a Gateway are known."""
    return {
        "app.kubernetes.io/instance": label_of(gateway),
        "app.kubernetes.io/managed-by": "nginx-gateway",
        "app.kubernetes.io/name": name_of(gateway),
        GATEWAY_NAME: label_of(gateway),
    }


def _meta(gateway: Gateway, owner: OwnerReference) -> ObjectMeta:
    given = gateway.spec.infrastructure
    return ObjectMeta(
        name=name_of(gateway),
        namespace=gateway.namespace,
        labels={**(given.labels if given else {}), **labels(gateway)},
        annotations=dict(given.annotations) if given else {},
        ownerReferences=(owner,),
    )


def deployment(gateway: Gateway, owner: OwnerReference, replicas: int) -> Deployment:
    """Its pods name no ports: another listener is a reload, and no new pod."""
    known = labels(gateway)
    given = gateway.spec.infrastructure
    template = PodTemplateSpec(
        metadata=ObjectMeta(
            labels={**(given.labels if given else {}), **known}, annotations=dict(given.annotations) if given else {}
        ),
        spec=PodSpec(containers=(Container(name="nginx", image=IMAGE),), terminationGracePeriodSeconds=300),
    )
    spec = DeploymentSpec(replicas=replicas, selector=LabelSelector(matchLabels=known), template=template)
    return Deployment(metadata=_meta(gateway, owner), spec=spec)


def service(gateway: Gateway, owner: OwnerReference, lab: Lab, numbers: Iterable[int]) -> Service:
    """`numbers` are the ports of listeners that are served: the pods have the same."""
    ports = tuple(ServicePort(name=f"port-{number}", port=number, targetPort=number) for number in numbers)
    spec = ServiceSpec(type=lab.spec.gateway.serviceType, selector=labels(gateway), ports=ports)
    return Service(metadata=_meta(gateway, owner), spec=spec)
