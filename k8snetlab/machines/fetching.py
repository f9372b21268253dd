"""Getting a client certificate for the lab's store, by a token: the other end of `store.bootstrap`."""

from __future__ import annotations

import contextlib
import hmac
import http.client
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from k8snetlab.api.lab import StoreSpec
from k8snetlab.errors import ConflictError, InputError, StoreError
from k8snetlab.state.paths import LabPaths, root, write_private
from k8snetlab.store import tokens
from k8snetlab.store.bootstrap import (
    CA,
    LIMIT,
    SIGN,
    Grant,
    Offer,
    Refusal,
    SigningRequest,
)

T = TypeVar("T")
TIMEOUT = 10.0
FILES = ("ca.crt", "client.crt", "client.key")


@contextlib.contextmanager
def fetched(address: str, token: str, pin: str, node: str, trusting: bool = False) -> Iterator[StoreSpec]:
    """The store that is joined at `address` (HOST:PORT), with this machine's certificate in files that last as long as
    the context: `kept` gives them to a lab.

    The CA must have the public key that `pin` ("sha256:…") names and be vouched for by the token's secret; without a
    pin, only where `trusting` says so, the secret alone decides. Raises InputError for words that are none, StoreError
    when nobody answers, ConflictError when it is not the CA that was meant.
    """
    from k8snetlab.store import pki

    shown = tokens.parse(token)
    host, port = _address(address)
    if not pin and not trusting:
        raise InputError(
            "which CA is the store's? --discovery-token-ca-cert-hash sha256:… is wanted",
            "`k8snetlab token create` prints it; --discovery-token-unsafe-skip-ca-verification goes by the token alone",
        )
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    offer = _asked(_connection(host, port, unverified), "GET", f"{CA}?token={shown.id}", None, Offer)
    ca = offer.ca.encode()
    if pin and not hmac.compare_digest(pki.hash_of(ca), pin.lower()):
        raise ConflictError(
            f"{address} shows a CA with the public key {pki.hash_of(ca)}, not {pin}",
            "another machine may pose as the store: compare with `k8snetlab token create` there",
        )
    if not hmac.compare_digest(offer.proof, shown.proof(ca)):
        raise ConflictError(
            f"{address} does not know the token {shown.id}, or it has expired",
            "`k8snetlab token create` on the store's machine",
        )
    key, request = pki.new_request(node)
    body = msgspec.json.encode(SigningRequest(token, request.decode(), node))
    verified = ssl.create_default_context(cadata=offer.ca)
    grant = _asked(_connection(host, port, verified), "POST", SIGN, body, Grant)
    root().mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=".join-", dir=root()))
    try:
        for name, data in zip(FILES, (ca, grant.certificate.encode(), key), strict=True):
            write_private(directory / name, data)
        yield _spec(grant.endpoints, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            root().rmdir()


def kept(spec: StoreSpec, lab: str) -> StoreSpec:
    """The same store with the files of `fetched` copied to where they stay until the lab has gone from this machine.

    A store with files of the user's own, or with none, as it is.
    """
    if Path(spec.ca).parent.parent != root():
        return spec
    paths = LabPaths(lab)
    paths.create()
    paths.pki.mkdir(mode=0o700, exist_ok=True)
    for name, file in zip(FILES, (spec.ca, spec.cert, spec.key), strict=True):
        write_private(paths.pki / name, Path(file).read_bytes())
    return _spec(spec.endpoints, paths.pki)


def _spec(endpoints: tuple[str, ...], directory: Path) -> StoreSpec:
    ca, cert, key = (str(directory / name) for name in FILES)
    return StoreSpec("etcd", endpoints, ca, cert, key)


def _address(text: str) -> tuple[str, int]:
    try:
        url = urlsplit(f"//{text}")
        if url.hostname and url.port and url.netloc == text and text.isprintable():
            return url.hostname, url.port
    except ValueError:
        pass
    raise InputError(f"{text!r} is no address to join at", "`k8snetlab token create` prints it: 192.168.56.11:2378")


def _connection(host: str, port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)


def _asked(connection: http.client.HTTPSConnection, method: str, path: str, body: bytes | None, type_: type[T]) -> T:
    host, port = connection.host, connection.port
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        said = answer.read(4 * LIMIT)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise StoreError(f"{where} does not answer: {reason}", "does `k8snetlab store serve` run there?") from error
    finally:
        connection.close()
    try:
        if answer.status == 200:
            return msgspec.json.decode(said, type=type_)
        refusal = msgspec.json.decode(said, type=Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"what answers at {where} is no `k8snetlab store serve`") from error
    raise ConflictError(f"{where}: {refusal.message}", refusal.hint)
