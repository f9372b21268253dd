"""Requests from the host outside to a lab's nginx, as a browser there would send them, and certificates for it."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from k8snetlab.kernel import netns
from k8snetlab.testing import Lab

NODE, HTTP, HTTPS = "192.168.0.21", 30799, 31522


class Answer:
    """`pod` is who answered, "" for nginx itself; `certificate` is the one that was shown, as DER."""

    def __init__(self, response: http.client.HTTPResponse, certificate: bytes | None) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()
        self.certificate = certificate
        try:
            said: dict[str, Any] = json.loads(self.body)
        except ValueError:
            said = {}
        self.said = said
        self.pod = str(said.get("pod", said.get("echo", "")))

    @property
    def told(self) -> str | int:
        """The pod where one answered well, else the status."""
        return self.pod if self.pod and self.status == 200 else self.status


def ask(
    lab: Lab,
    host: str,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    tls: bool = False,
    node: str = NODE,
    port: int = 0,
) -> Answer:
    """At a node's `port`, by default one of the Ingress controller's. Raises OSError."""
    with netns.inside(lab.netns("outside")):
        raw = socket.create_connection((node, port or (HTTPS if tls else HTTP)), timeout=20)
    connection = http.client.HTTPConnection(node)
    certificate = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secure = context.wrap_socket(raw, server_hostname=host)
        certificate, raw = secure.getpeercert(True), secure
    connection.sock = raw
    try:
        connection.request(method, path, body=body, headers={"Host": host, **(headers or {})})
        return Answer(connection.getresponse(), certificate)
    finally:
        connection.close()


def certificate(host: str) -> tuple[str, str, bytes]:
    """Certificate and key as PEM, and the certificate as DER."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return made.public_bytes(Encoding.PEM).decode(), private, made.public_bytes(Encoding.DER)
