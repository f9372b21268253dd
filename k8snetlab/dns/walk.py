"""Which names a resolver asks for, one after another, until one is there.

Source: glibc, resolv/res_query.c (__res_context_search); musl, src/network/lookup_name.c (name_from_dns_search).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from k8snetlab.dns.resolv import Resolv

Library = Literal["glibc", "musl"]


def names(name: str, resolv: Resolv, library: Library = "glibc") -> Generator[str, str, None]:
    """Each name to be asked for, with its dot. Sent is what became of it, as `Answer.status` has it: "NOERROR" ends the
    walk, and so does, in musl, all but NXDOMAIN."""
    for asked in _in_order(name, resolv, library):
        status = yield asked
        if status == "NOERROR" or (library == "musl" and status != "NXDOMAIN"):
            return


def _in_order(name: str, resolv: Resolv, library: Library) -> list[str]:
    if name.endswith("."):
        return [name]
    alone, searched = f"{name}.", [f"{name}.{domain.rstrip('.')}." for domain in resolv.searches]
    many = name.count(".") >= resolv.ndots
    if library == "musl":
        return [alone] if many else [*searched, alone]
    return [alone, *searched] if many else [*searched, alone]
