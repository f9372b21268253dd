"""The listeners of a Gateway: which of them can be served, and what keeps the others from it.

Source: kubernetes-sigs/gateway-api, apis/v1/gateway_types.go (listeners, their conditions and reasons).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from k8snetlab.api.core import Namespace
from k8snetlab.api.gateway import GROUP, Gateway, Listener, RouteGroupKind
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.gateways import names
from k8snetlab.gateways.references import Certificate, Trouble, certificate

ROUTES: Mapping[str, tuple[str, ...]] = {
    "HTTP": ("HTTPRoute",),
    "HTTPS": ("HTTPRoute",),
    "TLS": ("TLSRoute",),
    "TCP": ("TCPRoute",),
}
"""Which kinds of routes a protocol takes; another protocol is not served."""
RESERVED = (10246, 10254)
"""Ports that nginx' own status and health have in the pod."""
OF_HTTP = 8181
"""The port of its default backend at 127.0.0.1, beside which servers of HTTP alone can listen."""
STREAMS = ("TLS", "TCP")
"""Protocols of connections that are passed on as they are."""


class ListenerState(msgspec.Struct, frozen=True):
    """One listener. `conflict`, `refused` and `unresolved` are what keeps it from being served, as far as something
    does; with `unresolved` InvalidRouteKinds the kinds that there are are served."""

    listener: Listener
    kinds: tuple[RouteGroupKind, ...] = ()
    conflict: Trouble | None = None
    refused: Trouble | None = None
    unresolved: Trouble | None = None
    certificate: Certificate = Certificate()

    @property
    def accepted(self) -> bool:
        return self.conflict is None and self.refused is None

    @property
    def serves(self) -> bool:
        """Whether it is in nginx' configuration."""
        if self.listener.protocol == "HTTPS" and not self.certificate.text:
            return False
        return self.accepted and bool(self.kinds or self.unresolved is None)

    @property
    def secure(self) -> bool:
        return self.listener.protocol == "HTTPS"

    @property
    def streams(self) -> bool:
        """Whether it passes connections on as they are."""
        return self.listener.protocol in STREAMS


def states(gateway: Gateway, snapshot: Snapshot) -> tuple[ListenerState, ...]:
    """In the order in which they are written."""
    listeners = gateway.spec.listeners
    return tuple(_state(one, listeners, gateway, snapshot) for one in listeners)


def _state(listener: Listener, all_: tuple[Listener, ...], gateway: Gateway, snapshot: Snapshot) -> ListenerState:
    refused = _refused(listener, gateway, snapshot)
    known = () if refused and refused.reason == "UnsupportedValue" else ROUTES.get(listener.protocol, ())
    others = sorted({_spoken(one) for one in all_ if one.port == listener.port} - {_spoken(listener)})
    conflict = None
    if others:
        said = f"port {listener.port} is listened on by {' and '.join(others)}, too: one port has one protocol"
        conflict = Trouble("ProtocolConflict", said)
    kinds, unresolved = _kinds(listener, known)
    held = Certificate()
    if listener.protocol == "HTTPS":
        held = _certificate(listener, gateway, snapshot)
        unresolved = held.trouble or unresolved
    return ListenerState(listener, kinds, conflict, refused, unresolved, held)


def _refused(listener: Listener, gateway: Gateway, snapshot: Snapshot) -> Trouble | None:
    protocol = listener.protocol
    if protocol not in ROUTES:
        *most, last = ROUTES
        said = f"protocol {protocol} is not served here; {', '.join(most)} and {last} are"
        return Trouble("UnsupportedProtocol", said)
    if listener.port in RESERVED or (protocol in STREAMS and listener.port == OF_HTTP):
        return Trouble("PortUnavailable", f"port {listener.port} is nginx' own; take another one")
    if protocol == "TLS" and (listener.tls is None or listener.tls.mode != "Passthrough"):
        return Trouble("UnsupportedValue", "tls.mode Terminate is not served with protocol TLS; Passthrough is")
    lacking = names.without_streams(gateway, snapshot) if protocol in STREAMS else []
    if lacking:
        said = f"protocol {protocol} needs nginx' stream module, which {', '.join(lacking)} lacks"
        return Trouble("UnsupportedProtocol", f"{said} (apt-get install {names.STREAMS})")
    return None


def _spoken(listener: Listener) -> str:
    """The protocol; two modes of TLS are two."""
    if listener.protocol == "TLS" and listener.tls is not None:
        return f"TLS ({listener.tls.mode})"
    return listener.protocol


def _kinds(listener: Listener, known: tuple[str, ...]) -> tuple[tuple[RouteGroupKind, ...], Trouble | None]:
    supported = tuple(RouteGroupKind(kind=one) for one in known)
    asked = listener.allowedRoutes.kinds
    if not asked:
        return supported, None
    wrong = [one for one in asked if one not in supported]
    kinds = tuple(one for one in supported if one in asked)
    if not wrong:
        return kinds, None
    shown = ", ".join(f"{one.group}/{one.kind}" for one in wrong)
    return kinds, Trouble("InvalidRouteKinds", f"{shown} cannot attach to a listener of protocol {listener.protocol}")


def _certificate(listener: Listener, gateway: Gateway, snapshot: Snapshot) -> Certificate:
    """The first that is written: a name has one certificate here."""
    references = listener.tls.certificateRefs if listener.tls else ()
    if not references:
        said = f"listener {listener.name} has no certificateRefs"
        return Certificate(trouble=Trouble("InvalidCertificateRef", said))
    found = [certificate(snapshot, gateway.namespace, one) for one in references]
    return next((one for one in found if one.trouble), found[0])


def lets_in(state: ListenerState, kind: str, namespace: str, gateway: Gateway, snapshot: Snapshot) -> bool:
    """Whether routes of a kind and a namespace may attach."""
    if RouteGroupKind(group=GROUP, kind=kind) not in state.kinds:
        return False
    allowed = state.listener.allowedRoutes.namespaces
    if allowed.from_ == "All":
        return True
    if allowed.from_ == "Same":
        return namespace == gateway.namespace
    held = snapshot.get(Namespace, namespace)
    return held is not None and allowed.selector is not None and allowed.selector.matches(held.metadata.labels)
