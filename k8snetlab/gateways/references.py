"""What objects refer to: whether a ReferenceGrant lets them, and whether it is there.

Source: kubernetes-sigs/gateway-api, apis/v1beta1/referencegrant_types.go; apis/v1/shared_types.go (reasons).
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from k8snetlab.api.config import Secret
from k8snetlab.api.core import Service
from k8snetlab.api.gateway import GROUP, BackendRef, HTTPRoute, ReferenceGrant, SecretObjectReference, is_service
from k8snetlab.api.routes import Route
from k8snetlab.api.snapshot import Key, Snapshot

UNSERVED_PROTOCOLS = ("kubernetes.io/h2c", "kubernetes.io/wss")
"""Values of a port's appProtocol that nginx does not speak to a backend."""


class Trouble(NamedTuple):
    """A reason of the Gateway API's, and a sentence."""

    reason: str
    message: str


def is_granted(snapshot: Snapshot, who: tuple[str, str], what: tuple[str, str, Key]) -> bool:
    """Whether objects of a kind and a namespace may refer to an object: group, kind and key of it."""
    kind, namespace = who
    group, target, (there, name) = what
    if namespace == there:
        return True
    for grant in snapshot.all(ReferenceGrant).values():
        if grant.namespace != there or grant.metadata.deletionTimestamp:
            continue
        known = any((one.group, one.kind, one.namespace) == (GROUP, kind, namespace) for one in grant.spec.from_)
        if known and any(
            (one.group, one.kind) == (group, target) and one.name in (None, name) for one in grant.spec.to
        ):
            return True
    return False


def backend_trouble(snapshot: Snapshot, route: Route, backend: BackendRef) -> Trouble | None:
    """Why a backend's share of the requests is answered with 500, and its share of the connections is closed."""
    if not is_service(backend):
        kind = f"{backend.group}/{backend.kind}" if backend.group else backend.kind
        return Trouble("InvalidKind", f"backend {backend.name} is of kind {kind}; only Services are served")
    key = backend.namespace or route.namespace, backend.name
    shown = f"service {key[0]}/{key[1]}"
    if not is_granted(snapshot, (route.KIND, route.namespace), ("", "Service", key)):
        why = f"no ReferenceGrant in namespace {key[0]} lets {route.KIND}s of namespace {route.namespace} refer to it"
        return Trouble("RefNotPermitted", f"{shown}: {why}")
    service = snapshot.get(Service, key[1], key[0])
    if service is None:
        return Trouble("BackendNotFound", f"{shown} does not exist")
    port = next((one for one in service.spec.ports if one.port == backend.port), None)
    if port is None:
        there = ", ".join(str(one.port) for one in service.spec.ports) or "none"
        return Trouble("BackendNotFound", f"{shown} has no port {backend.port} (it has {there})")
    if service.spec.type == "ExternalName":
        return Trouble("UnsupportedValue", f"{shown} is of type ExternalName, to which nothing is passed on here")
    if isinstance(route, HTTPRoute) and (port.appProtocol or "") in UNSERVED_PROTOCOLS:
        said = f"{shown}, port {port.port}: appProtocol {port.appProtocol} is not spoken here"
        return Trouble("UnsupportedProtocol", said)
    if not isinstance(route, HTTPRoute) and port.protocol != "TCP":
        return Trouble("UnsupportedProtocol", f"{shown}, port {port.port} is of {port.protocol}, and not of TCP")
    return None


class Certificate(NamedTuple):
    """PEM of certificate and key, or what is wrong with them."""

    key: Key = ("", "")
    text: str = ""
    trouble: Trouble | None = None

    @property
    def file(self) -> str:
        """No name has a "_": no two Secrets have one file."""
        return f"{self.key[0]}_{self.key[1]}.pem"


def certificate(snapshot: Snapshot, namespace: str, reference: SecretObjectReference) -> Certificate:
    key = reference.namespace or namespace, reference.name
    shown = f"secret {key[0]}/{key[1]}"
    if (reference.group, reference.kind) != ("", "Secret"):
        kind = f"{reference.group}/{reference.kind}" if reference.group else reference.kind
        return _wrong(key, f"certificateRef {reference.name} is of kind {kind}; only Secrets are read")
    if not is_granted(snapshot, ("Gateway", namespace), ("", "Secret", key)):
        why = f"no ReferenceGrant in namespace {key[0]} lets Gateways of namespace {namespace} refer to it"
        return Certificate(key, trouble=Trouble("RefNotPermitted", f"{shown}: {why}"))
    secret = snapshot.get(Secret, key[1], key[0])
    if secret is None:
        return _wrong(key, f"{shown} does not exist")
    texts = [_entry(secret, entry) for entry in ("tls.crt", "tls.key")]
    if not all(texts):
        return _wrong(key, f"{shown} has no tls.crt and tls.key")
    if why := pair_problem(texts[0], texts[1]):
        return _wrong(key, f"{shown}: {why}")
    return Certificate(key, "\n".join(text.strip() for text in texts) + "\n")


def _wrong(key: Key, message: str) -> Certificate:
    return Certificate(key, trouble=Trouble("InvalidCertificateRef", message))


def _entry(secret: Secret, name: str) -> str:
    try:
        return base64.b64decode(secret.data.get(name, "")).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


def pair_problem(certificate: str, key: str) -> str:
    """What is wrong with a certificate and its key, both PEM."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        public = x509.load_pem_x509_certificates(certificate.encode())[0].public_key()
    except (ValueError, IndexError, UnsupportedAlgorithm):
        return "tls.crt is no certificate in PEM"
    try:
        private = load_pem_private_key(key.encode(), None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "tls.key is no key in PEM, or one with a password"
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return "" if public.public_bytes(*form) == private.public_bytes(*form) else "tls.key is not the certificate's key"
