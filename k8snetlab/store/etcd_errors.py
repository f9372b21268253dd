"""What etcd's refusals, and failures on the way to it, mean to a person."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from enum import IntEnum

import httpx

from k8snetlab.errors import CompactedError, NotFoundError, StoreError
from k8snetlab.store.etcd_messages import Refusal


class Code(IntEnum):
    """The gRPC status codes by which etcd's answers are told apart."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    OUT_OF_RANGE = 11
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_WANTS_USER = re.compile(r"user|auth|permission")
_PASSING = re.compile(r"leader|stopped|deadline exceeded")
"""Words of refusals that pass by themselves, whatever their code."""


class TlsRefusedError(StoreError):
    """One side did not accept the other's certificate; asking again does not help."""


def explain(endpoint: str, error: Exception) -> StoreError:
    """What a failed exchange with `endpoint` means to a person."""
    tls = tls_error(error)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return TlsRefusedError(
            f"{endpoint}: the server's certificate is not accepted: {tls.verify_message}",
            "store.ca must be the CA that signed the server's certificate, and the certificate must name the endpoint's"
            " host",
        )
    if tls is not None and "ALERT" in str(tls).upper():
        return TlsRefusedError(
            f"{endpoint}: the server refused the client certificate: {_alert(tls)}",
            "store.cert and store.key must be a client certificate signed by the CA in etcd's --trusted-ca-file",
        )
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return StoreError(f"{endpoint}: no answer in time")
    ended = isinstance(tls, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    if isinstance(error, httpx.ConnectError) and (ended or not str(error)):
        return StoreError(
            f"{endpoint}: the server ended the TLS handshake",
            "if etcd does not speak TLS, write http:// in store.endpoints",
        )
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and endpoint.startswith("http:"):
        return StoreError(
            f"{endpoint}: the server disconnected: {str(error) or 'connection reset'}",
            "if this etcd speaks TLS, write https:// in store.endpoints",
        )
    return StoreError(f"{endpoint}: {str(error) or type(error).__name__}")


def raise_refusal(endpoint: str, refusal: Refusal) -> None:
    """Raises the error that etcd's answer means, unless another attempt or member may answer better."""
    text, code = refusal.message or refusal.error, refusal.code or refusal.grpc_code
    match code:
        case Code.NOT_FOUND if "lease" in text:
            raise NotFoundError("the lease does not exist or has expired", "ask for a new one")
        case Code.OUT_OF_RANGE if "compacted" in text:
            raise CompactedError("what etcd held at that revision is no longer kept: list again")
        case Code.RESOURCE_EXHAUSTED if "space" in text:
            raise StoreError(
                f"{endpoint}: etcd is full: {text}",
                "`etcdctl compact`, `etcdctl defrag`, then `etcdctl alarm disarm`; or a larger --quota-backend-bytes",
            )
        case Code.RESOURCE_EXHAUSTED if "larger" in text:
            raise StoreError(f"{endpoint}: etcd refuses a value of more than 1.5 MiB: {text}")
        case Code.RESOURCE_EXHAUSTED | Code.UNAVAILABLE:
            return
        case Code.UNAUTHENTICATED | Code.PERMISSION_DENIED | Code.INVALID_ARGUMENT if _WANTS_USER.search(text):
            raise StoreError(f"{endpoint}: etcd wants a user: {text}", "give store.cert and store.key of one it knows")
    if not _PASSING.search(text):
        raise StoreError(f"{endpoint}: etcd refuses: {text}")


def all_failed(problems: Mapping[str, StoreError]) -> StoreError:
    hints = [problem.hint for problem in problems.values() if problem.hint]
    hint = hints[0] if hints else "is etcd running there, and can this machine reach it? traffic goes on meanwhile"
    kind = TlsRefusedError if all(isinstance(p, TlsRefusedError) for p in problems.values()) else StoreError
    return kind("etcd does not answer: " + "; ".join(problem.message for problem in problems.values()), hint)


def tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS failure somewhere beneath httpx's own exception."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _alert(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
