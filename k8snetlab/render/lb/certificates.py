"""Certificates of Ingresses of class alb, from their Secrets: haproxy chooses among them by the name that is asked for.

haproxy refuses all of its file for one certificate that is none, so each is read here first.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator

import msgspec

from k8snetlab.api.config import Secret
from k8snetlab.api.networking import Ingress
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.render.lb.text import checked


class Certificate(msgspec.Struct, frozen=True):
    """One of `spec.tls`: a file beside haproxy.cfg, whose name changes with its content; or why there is none."""

    file: str = ""
    text: str = ""
    why: str = ""


def certificates(ingress: Ingress, snapshot: Snapshot) -> Iterator[Certificate]:
    """One for each entry of `spec.tls`, in their order."""
    for tls in ingress.spec.tls:
        if not tls.secretName:
            yield Certificate(why="an entry of spec.tls names no Secret")
            continue
        named = f"secret {ingress.namespace}/{tls.secretName}"
        secret = snapshot.get(Secret, tls.secretName, ingress.namespace)
        if secret is None:
            yield Certificate(why=f"{named} does not exist")
            continue
        pair = [_decoded(secret, entry) for entry in ("tls.crt", "tls.key")]
        if why := _unfit(*pair):
            yield Certificate(why=f"{named}: {why}")
            continue
        text = "\n".join(one.decode().strip() for one in pair) + "\n"
        number = hashlib.sha256(text.encode()).hexdigest()[:16]
        yield Certificate(f"{checked(ingress.namespace)}_{checked(secret.name)}.{number}.pem", text)


def _decoded(secret: Secret, entry: str) -> bytes:
    try:
        return base64.b64decode(secret.data.get(entry, ""))
    except (binascii.Error, ValueError):
        return b""


def _unfit(certificate: bytes, key: bytes) -> str:
    """Why the two are no certificate and its key, "" where they are."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    if not certificate or not key:
        return "it has no tls.crt and tls.key"
    try:
        first = x509.load_pem_x509_certificates(certificate)[0].public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "its tls.crt is no certificate"
    try:
        own = load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "its tls.key is no key, or one with a password"
    forms = [one.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for one in (first, own)]
    return "" if forms[0] == forms[1] else "its tls.key is not that of its tls.crt"
