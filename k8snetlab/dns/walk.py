"""Which names a resolver asks for, one after another, until one is there.

Source: glibc, resolv/res_query.c (__res_context_search); musl, src/network/lookup_name.c (name_from_dns_search).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from k8snetlab.dns.resolv import Resolv

Library = Literal["glibc", "musl"]


REFUSED = "refused"
"""What is sent to a walk where the server's port is closed; "" where nobody answered."""
_GOES_ON = ("NXDOMAIN", "NODATA", "SERVFAIL")


def names(name: str, resolv: Resolv, library: Library = "glibc") -> Generator[str, str, None]:
    """Each name to be asked for, with its dot. Sent is what became of it, as `Answer.status` has it: "NOERROR" ends the
    walk, and so does, in musl, all but NXDOMAIN. In glibc other failures than those of `_GOES_ON` end the search list,
    and the name as it is, is asked for yet, where it was not."""
    ended = False
    for asked, of_list in _in_order(name, resolv, library):
        if ended and of_list:
            continue
        status = yield asked
        if status in ("NOERROR", REFUSED) or (library == "musl" and status != "NXDOMAIN"):
            return
        ended = ended or (of_list and status not in _GOES_ON)


def _in_order(name: str, resolv: Resolv, library: Library) -> list[tuple[str, bool]]:
    """Names, and whether each is of the search list."""
    if name.endswith("."):
        return [(name, False)]
    alone, searched = (f"{name}.", False), [(f"{name}.{domain.rstrip('.')}.", True) for domain in resolv.searches]
    many = name.count(".") >= resolv.ndots
    if library == "musl":
        return [alone] if many else [*searched, alone]
    return [alone, *searched] if many else [*searched, alone]
