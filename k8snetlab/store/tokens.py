"""Bootstrap tokens: what a machine shows once, for its own certificate.

Form and life are kubeadm's: `[a-z0-9]{6}.[a-z0-9]{16}`, an ID and a secret, for 24 hours unless said otherwise. Each is
a file beside the CA, so that a store that is served anew still knows it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import time
from pathlib import Path

import msgspec

from k8snetlab.errors import InputError, NotFoundError

TTL = 24 * 3600
_FORM = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_SIGNS = string.ascii_lowercase + string.digits


class Token(msgspec.Struct, frozen=True):
    """`expires` is in epoch seconds, 0 for never."""

    id: str
    secret: str
    expires: float = 0.0

    def __str__(self) -> str:
        return f"{self.id}.{self.secret}"

    @property
    def expired(self) -> bool:
        return bool(self.expires) and time.time() >= self.expires

    def proof(self, data: bytes) -> str:
        """What only who knows the secret can say of `data`."""
        return hmac.new(self.secret.encode(), data, hashlib.sha256).hexdigest()


def parse(text: str) -> Token:
    """Raises InputError for what is no token."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise InputError(f"{text!r} is no token", "6 and 16 small letters or digits: abcdef.0123456789abcdef")
    return Token(found[1], found[2])


class Tokens:
    """The tokens in a directory (made when the first is)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, ttl: float = TTL, text: str = "") -> Token:
        """A token for `ttl` seconds (0: for ever), a new one or `text`. Raises InputError for one that is there."""
        given = parse(text) if text else Token(_random(6), _random(16))
        token = msgspec.structs.replace(given, expires=time.time() + ttl if ttl else 0.0)
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = self.find(token.id)
        if held is not None and str(held) != str(token):
            raise InputError(f"there is a token {token.id} with another secret", f"`k8snetlab token delete {token.id}`")
        fresh = self._directory / f".{token.id}"
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(token))
        fresh.rename(self._directory / token.id)
        return token

    def list(self) -> list[Token]:
        """Those that are good now; what has expired is removed."""
        if not self._directory.is_dir():
            return []
        ids = sorted(file.name for file in self._directory.iterdir() if _FORM.fullmatch(f"{file.name}.{'0' * 16}"))
        return [token for id_ in ids if (token := self.find(id_))]

    def find(self, id_: str) -> Token | None:
        """The token with this ID, unless it has expired."""
        if not re.fullmatch(r"[a-z0-9]{6}", id_):
            return None
        file = self._directory / id_
        try:
            token = msgspec.json.decode(file.read_bytes(), type=Token)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        if token.expired:
            file.unlink(missing_ok=True)
            return None
        return token

    def allows(self, text: str) -> bool:
        """Whether this is a token that is good now."""
        found = _FORM.fullmatch(text)
        held = self.find(found[1]) if found else None
        return held is not None and hmac.compare_digest(str(held), text)

    def delete(self, text: str) -> None:
        """By its ID or as a whole. Raises NotFoundError."""
        id_ = text.partition(".")[0]
        if self.find(id_) is None:
            raise NotFoundError(f"no token {id_!r}", "`k8snetlab token list` shows them")
        (self._directory / id_).unlink(missing_ok=True)


def _random(length: int) -> str:
    return "".join(secrets.choice(_SIGNS) for _ in range(length))
