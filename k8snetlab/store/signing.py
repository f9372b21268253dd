"""ServiceAccounts' tokens: JSON web tokens that a key of the lab's own signs, as kube-apiserver makes them.

Source: Kubernetes pkg/serviceaccount/claims.go (Claims, Validate), jwt.go; the key is ECDSA P-256 (ES256).
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from k8snetlab.errors import StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ISSUER = "https://kubernetes.default.svc.cluster.local"
ALGORITHM = "ES256"
LEEWAY = 0
PRIVATE = "kubernetes.io"
"""The claim in which a token says what it is bound to."""


class Bound(msgspec.Struct, frozen=True):
    """An object that a token is good with, and not without."""

    name: str
    uid: str


class Account(msgspec.Struct, frozen=True):
    """Whom a token is for, and to what it is `bound` besides: a pod, a node, a secret."""

    namespace: str
    name: str
    uid: str
    bound: Mapping[str, Bound] = {}


class Claims(msgspec.Struct, frozen=True):
    """What a good token says. `expires` is in seconds of the epoch; `id` is the token's own."""

    account: Account
    audiences: tuple[str, ...]
    expires: int
    id: str = ""


class BadTokenError(Exception):
    """Not one of this lab's, or not any more; it says why, for the log alone."""


class Signer:
    """Signs and reads tokens with `sa.key` of a directory, which is made where there is none. Any thread may use it."""

    def __init__(self, directory: Path) -> None:
        self._file, self._lock = directory / "sa.key", threading.Lock()
        self._key: EllipticCurvePrivateKey | None = None
        self._kid = ""

    def token(self, account: Account, audiences: Sequence[str], seconds: int, now: float, warn_after: int = 0) -> str:
        """A token from `now` for so many seconds; where it is good for longer than was asked for, `warn_after` is how
        many that were. Raises StoreError."""
        import jwt  # loads OpenSSL

        began = int(now)
        private: dict[str, Any] = {
            "namespace": account.namespace,
            **{kind: {"name": one.name, "uid": one.uid} for kind, one in account.bound.items()},
            "serviceaccount": {"name": account.name, "uid": account.uid},
        }
        if warn_after:
            private["warnafter"] = began + warn_after
        claims = {
            "aud": list(audiences),
            "exp": began + seconds,
            "iat": began,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            PRIVATE: private,
            "nbf": began,
            "sub": f"system:serviceaccount:{account.namespace}:{account.name}",
        }
        key = self._own()
        return jwt.encode(claims, key, ALGORITHM, headers={"kid": self._kid})

    def claims(self, token: str, audiences: Sequence[str], now: float) -> Claims:
        """What a token says that is good for one of the `audiences`. Raises BadTokenError."""
        import jwt

        try:
            said = jwt.decode(
                token,
                self._own().public_key(),
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                options={
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "require": ["exp", "iat", "iss", "sub", "aud"],
                },
            )
            read = _read(said)
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, TypeError, KeyError) as error:
            raise BadTokenError(f"{type(error).__name__}: {error}") from error
        if now >= read.expires:
            raise BadTokenError("the token has expired")
        if said.get("nbf", 0) > now + LEEWAY:
            raise BadTokenError("the token is not good yet")
        good = tuple(one for one in read.audiences if one in audiences)
        if not good:
            raise BadTokenError(f"the token is for {list(read.audiences)}, not for {list(audiences)}")
        return msgspec.structs.replace(read, audiences=good)

    @property
    def pem(self) -> bytes:
        """The key that tokens are checked with, public."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._own().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def _own(self) -> EllipticCurvePrivateKey:
        with self._lock:
            if self._key is None:
                self._key = _load(self._file) or _make(self._file)
                from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

                der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                self._kid = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
            return self._key


class _Private(msgspec.Struct):
    namespace: str
    serviceaccount: Bound
    pod: Bound | None = None
    node: Bound | None = None
    secret: Bound | None = None


def _read(said: dict[str, Any]) -> Claims:
    private = msgspec.convert(said[PRIVATE], _Private)
    account = private.serviceaccount
    if said["sub"] != f"system:serviceaccount:{private.namespace}:{account.name}":
        raise ValueError("the subject is not the ServiceAccount")
    given = {"pod": private.pod, "node": private.node, "secret": private.secret}
    bound = {kind: one for kind, one in given.items() if one}
    audiences = [said["aud"]] if isinstance(said["aud"], str) else said["aud"]
    return Claims(
        Account(private.namespace, account.name, account.uid, bound),
        msgspec.convert(audiences, tuple[str, ...]),
        msgspec.convert(said["exp"], int),
        msgspec.convert(said.get("jti", ""), str),
    )


def _load(file: Path) -> EllipticCurvePrivateKey | None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{file} cannot be read: {error}", "remove it; tokens that were given are void then") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise StoreError(f"{file} is no key of the curve P-256", "remove it; tokens that were given are void then")
    return key


def _make(file: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fresh = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(pem)
        fresh.rename(file)
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror}", "a directory for keys is wanted") from error
    return key
