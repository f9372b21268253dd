"""The certificate that hosts without one of their own show, as ingress-nginx makes it for itself.

Source: kubernetes/ingress-nginx internal/net/ssl/ssl.go (GetFakeSSLCert).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from k8snetlab.state.paths import write_private

LIFE, EARLY = timedelta(days=365), timedelta(hours=1)
NAME, ORGANISATION, HOST = "Kubernetes Ingress Controller Fake Certificate", "Acme Co", "ingress.local"


def read(file: Path) -> str:
    """Certificate and key as PEM, made where the file does not have them. Raises OSError."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, _made())
    return file.read_text()


def _made() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION), x509.NameAttribute(NameOID.COMMON_NAME, NAME)]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLY)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + private
