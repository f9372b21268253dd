"""Names of labs and of namespaces that tests make up, each unlike any other, so that what is left of one is known."""

from __future__ import annotations

import secrets

from k8snetlab.kernel import netns

_made: set[str] = set()


def name(beginning: str = "t") -> str:
    """Another one at each call: that beginning and six hexadecimal digits."""
    made = f"{beginning}{secrets.token_hex(3)}"
    _made.add(made)
    return made


def namespaces() -> set[str]:
    """The network namespaces whose name, up to its first dot, was made up by this process."""
    return {one for one in netns.names() if one.partition(".")[0] in _made}
