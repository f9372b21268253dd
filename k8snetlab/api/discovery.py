"""The kind of discovery.k8s.io/v1: EndpointSlice."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from k8snetlab.api.core import ObjectReference, Protocol
from k8snetlab.api.meta import Object, Port, Required, Value, always

SERVICE_NAME = "kubernetes.io/service-name"
"""Label: the Service an EndpointSlice belongs to."""
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
"""Label of Endpoints of which no EndpointSlice is to be made."""


class EndpointConditions(Value):
    """None means unknown: `ready` unknown counts as ready, `serving` unknown as `ready`, `terminating` as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Value):
    name: str


class ForNode(Value):
    name: str


class EndpointHints(Value):
    forZones: tuple[ForZone, ...] = ()
    forNodes: tuple[ForNode, ...] = ()


class Endpoint(Value):
    """Kubernetes uses the first of `addresses` only."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = always(EndpointConditions())
    hostname: str | None = None
    nodeName: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None
    targetRef: ObjectReference | None = None


class EndpointSlicePort(Value):
    """`port` None means every port (and no rules)."""

    name: str = always("")
    port: Port | None = None
    protocol: Protocol = always("TCP")
    appProtocol: str | None = None


class EndpointSlice(Object):
    KIND: ClassVar[str] = "EndpointSlice"
    API_VERSION: ClassVar[str] = "discovery.k8s.io/v1"
    counted: ClassVar[bool] = True

    addressType: Annotated[Literal["IPv4", "IPv6", "FQDN"], Required] = always("IPv4")
    endpoints: tuple[Endpoint, ...] = always(())
    ports: tuple[EndpointSlicePort, ...] = always(())

    @property
    def service_key(self) -> tuple[str, str] | None:
        """(namespace, name) of the Service this slice belongs to."""
        service = self.metadata.labels.get(SERVICE_NAME)
        return (self.namespace, service) if service else None
