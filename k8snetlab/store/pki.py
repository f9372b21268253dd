"""The certificates of what k8snetlab serves itself over TLS: a CA of its own, the server's, and one for each client.

As kubeadm makes them (cmd/kubeadm/app/phases/certs): ECDSA P-256, the CA for ten years, everything else for one. A
machine is told the CA by the SHA-256 of its public key ("sha256:…", RFC 7469's pin), as `kubeadm join` is.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from k8snetlab.errors import InputError, StoreError

ORGANISATION = "k8snetlab:machines"
CA_LIFE, LIFE = timedelta(days=3650), timedelta(days=365)
RENEW = timedelta(days=120)
"""A certificate with less than this left is made anew when the store starts."""
_EARLY = timedelta(hours=1)
"""Machines' clocks differ; a certificate is valid from this long before it was made."""


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


class Authority:
    """A CA in a directory (0700): `ca.crt`, `ca.key`, and the pairs it has signed for this machine. `of` is what it is
    the CA of, in its subject."""

    def __init__(self, directory: Path, of: str = "k8snetlab store") -> None:
        """Makes the CA where there is none. Raises StoreError for a directory that cannot be used."""
        self.directory, self._of = directory, of
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._cert, self._key = self._load() or self._make()
        except OSError as error:
            raise StoreError(f"{directory}: {error.strerror}", "a directory for certificates is wanted") from error

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def pem(self) -> bytes:
        return self._cert.public_bytes(Encoding.PEM)

    @property
    def hash(self) -> str:
        return public_key_hash(self._cert)

    def server(self, hosts: Iterable[str], name: str = "server") -> Pair:
        """The pair of a server at these names and addresses; etcd's own gateway shows it as a client too. `name` tells
        several servers' apart."""
        names = [_general(host) for host in dict.fromkeys((*hosts, "localhost", "127.0.0.1", "::1", _hostname()))]
        return self._pair(name, self._of, x509.SubjectAlternativeName(names))

    def client(self) -> Pair:
        """The pair by which this machine itself uses the store."""
        return self._pair("client", _hostname(), None)

    def user(self, name: str, group: str) -> Pair:
        """The pair by which a user of the API shows who it is: name as common name, group as organisation."""
        return self._pair(name, name, None, group)

    def sign(self, request: bytes, node: str) -> bytes:
        """The client certificate (PEM) for the key of a signing request (PEM), with the node's name in it.

        Nothing of the request but its key is taken over. Raises InputError for what is no request.
        """
        try:
            asked = x509.load_pem_x509_csr(request)
            proven = asked.is_signature_valid
            key = asked.public_key()
        except (ValueError, TypeError, InvalidSignature) as error:
            raise InputError("that is no certificate signing request") from error
        if not proven or not isinstance(key, ec.EllipticCurvePublicKey):
            raise InputError("the request is not signed with an elliptic-curve key of its own")
        return self._signed(key, node, None).public_bytes(Encoding.PEM)

    def _pair(
        self, name: str, subject: str, names: x509.SubjectAlternativeName | None, organisation: str = ORGANISATION
    ) -> Pair:
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        if not self._serves(pair, names):
            key = ec.generate_private_key(ec.SECP256R1())
            write(pair.key, _private(key))
            signed = self._signed(key.public_key(), subject, names, organisation)
            write(pair.cert, signed.public_bytes(Encoding.PEM))
        return pair

    def _serves(self, pair: Pair, names: x509.SubjectAlternativeName | None) -> bool:
        """Whether a pair that was made before is still good."""
        try:
            cert = x509.load_pem_x509_certificate(pair.cert.read_bytes())
            key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
            cert.verify_directly_issued_by(self._cert)
        except (OSError, ValueError, TypeError, InvalidSignature):
            return False
        if _spki(cert.public_key()) != _spki(key.public_key()) or cert.not_valid_after_utc - _now() < RENEW:
            return False
        if names is None:
            return True
        held = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(names) <= set(held)

    def _signed(
        self,
        key: ec.EllipticCurvePublicKey,
        subject: str,
        names: x509.SubjectAlternativeName | None,
        organisation: str = ORGANISATION,
    ) -> x509.Certificate:
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])
        builder = (
            _builder(subject, self._cert.subject, key, LIFE, organisation)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_issuer(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
        try:
            cert = x509.load_pem_x509_certificate(self.ca.read_bytes())
            key = serialization.load_pem_private_key((self.directory / "ca.key").read_bytes(), None)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise StoreError(
                f"{self.directory}: ca.crt and ca.key cannot be read: {error}",
                "remove the directory; every machine then joins anew",
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or _spki(key.public_key()) != _spki(cert.public_key()):
            raise StoreError(f"{self.directory}: ca.key is not the key of ca.crt")
        return cert, key

    def _make(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self._of} CA")])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        cert = (
            _builder(f"{self._of} CA", name, key.public_key(), CA_LIFE, organisation="")
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        write(self.directory / "ca.key", _private(key))  # first: a ca.crt without its key would stand for ever
        write(self.ca, cert.public_bytes(Encoding.PEM))
        return cert, key


def new_request(node: str) -> tuple[bytes, bytes]:
    """A fresh key (PEM) and the signing request (PEM) for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return _private(key), request.public_bytes(Encoding.PEM)


def hash_of(pem: bytes) -> str:
    """The pin of a CA's certificate. Raises InputError for what is none."""
    try:
        return public_key_hash(x509.load_pem_x509_certificate(pem))
    except ValueError as error:
        raise InputError("what was sent is no certificate") from error


def public_key_hash(cert: x509.Certificate) -> str:
    return f"sha256:{hashlib.sha256(_spki(cert.public_key())).hexdigest()}"


def _builder(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta, organisation: str = ORGANISATION
) -> x509.CertificateBuilder:
    named = [x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]
    if organisation:
        named.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    now = _now()
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(named))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _issuer(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _spki(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write(file: Path, data: bytes) -> None:
    """For root's eyes only, whole or not at all."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(file)


def _hostname() -> str:
    name = socket.gethostname()
    return name if name.isascii() and name.isprintable() and name else "localhost"


def _now() -> datetime:
    return datetime.now(UTC)
