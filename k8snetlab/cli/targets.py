"""Where a packet is to go, as the user writes it."""

from __future__ import annotations

from k8snetlab.errors import InputError
from k8snetlab.wording import whole


def split_target(text: str) -> tuple[str, int | None]:
    """("client", 80) of "client:80"; an IPv6 address with a port stands in brackets, as in a URL."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InputError(f"{text!r}: the bracket is not closed", "write [fd00::1]:80")
        port = rest[1:]
    elif text.count(":") > 1:
        return text, None
    else:
        host, _, port = text.partition(":")
    if not host or (not port and text.endswith(":")):
        raise InputError(f"{text!r} is not TO or TO:PORT", "k8snetlab probe client business-manager:80")
    if port and not whole(port, 65536):
        raise InputError(
            f"{text!r}: port {port!r} is not a number from 1 to 65535",
            "a port is a number here; `k8snetlab get services` shows them",
        )
    return host, int(port) if port else None
