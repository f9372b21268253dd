"""token: what other machines join a lab's store with."""

from __future__ import annotations

import msgspec


class TokenCreated(msgspec.Struct, frozen=True):
    """A token that was made, and what else a machine needs to join with it."""

    address: str
    """Host and port to join at."""
    token: str
    """The token with its secret: "abcdef.0123456789abcdef"."""
    caCertHash: str
    """Hash of the store's CA certificate, as `node join --discovery-token-ca-cert-hash` takes it."""
    expires: float
    """In epoch seconds; 0 for never."""


class Token(msgspec.Struct, frozen=True):
    """A token that is good now."""

    token: str
    """The token with its secret."""
    expires: float
    """In epoch seconds; 0 for never."""


class TokenList(msgspec.Struct, frozen=True):
    """The tokens that are good now."""

    tokens: tuple[Token, ...]
    """By the tokens' first six signs."""


class TokenDeleted(msgspec.Struct, frozen=True):
    """A token that is good no longer."""

    deleted: str
    """Its first six signs."""
