"""The columns of `get`: kubectl's, some of which show without `-o wide` too; those that only a lab has come last."""

from __future__ import annotations

from collections.abc import Iterable

from k8snetlab.api.apps import Deployment
from k8snetlab.api.cells import Column, labels, some
from k8snetlab.api.columns import external_ip
from k8snetlab.api.core import Container, Node, Pod, Service
from k8snetlab.api.custom_columns import columns_for
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import Resource


def columns_of(resource: Resource, wide: bool = False) -> list[Column]:
    """Titles are in capitals, as kubectl prints them."""
    type_ = resource.type
    found = [*columns_for(resource), *OWN.get(type_, ())]
    shown = SHOWN.get(type_, ())
    chosen = [column for column in found if wide or not column.wide or column.title in shown]
    if not wide:
        chosen = [NARROW.get((type_, column.title), column) for column in chosen]
    return [column._replace(title=column.title.upper()) for column in chosen]


def _ports(containers: Iterable[Container]) -> str:
    return some(f"{port.containerPort}/{port.protocol}" for container in containers for port in container.ports)


SHOWN: dict[type[Object], tuple[str, ...]] = {Node: ("Internal-IP",), Pod: ("IP", "Node")}
"""What a lab is about shows without `-o wide` too."""
OWN: dict[type[Object], tuple[Column, ...]] = {
    Node: (
        Column("Pod-CIDR", lambda n: some(n.podCIDRs)),
        Column("Labels", lambda n: labels(n.metadata.labels), wide=True),
    ),
    Pod: (
        Column("Ports", lambda p: _ports(p.spec.serving_containers), wide=True),
        Column("Labels", lambda p: labels(p.metadata.labels), wide=True),
    ),
    Deployment: (Column("Ports", lambda d: _ports(d.spec.template.spec.serving_containers), wide=True),),
}
NARROW: dict[tuple[type[Object], str], Column] = {
    (Service, "External-IP"): Column("External-IP", lambda s: external_ip(s, wide=False)),
}
"""Columns that are cut without `-o wide`."""
