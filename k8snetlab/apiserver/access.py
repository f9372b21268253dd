"""Who may ask what of a lab's daemon: root everything, a group that an instructor makes may look and try.

The group is `k8snetlab` (K8SNETLAB_GROUP names another one); where the machine has no such group, root alone is let in.
Whoever may change objects may run commands as root, so that is never the group's. `docs/security.md` has the table.
"""

from __future__ import annotations

import grp
import os
import pwd

import msgspec

from k8snetlab.errors import ForbiddenError

TRIED = frozenset({"probe", "trace", "diagnose"})
"""Of the lab's own operations those that send packets and change nothing."""
ROOTS = frozenset({"exec", "watch", "store", "agents", "survey", "findings", "chains", "machine"})
"""Operations below GET that are between daemons, or show what is root's."""


class Caller(msgspec.Struct, frozen=True):
    """The process at the other end of the socket."""

    uid: int
    gid: int


def group_id() -> int | None:
    """The number of the group, None where the machine has none."""
    try:
        return grp.getgrnam(os.environ.get("K8SNETLAB_GROUP", "k8snetlab")).gr_gid
    except KeyError:
        return None


def refuse(caller: Caller | None, method: str, path: tuple[str, ...]) -> None:
    """Raises ForbiddenError for what the caller may not ask; None is this process itself, for another machine.

    `path` is what follows the lab's own group and version, or, for Kubernetes' paths, ("objects",).
    """
    if caller is None or caller.uid in (0, os.geteuid()):
        return
    if not _is_member(caller):
        raise ForbiddenError(f"uid {caller.uid} may not use this lab", "use sudo")
    looks = method == "GET" and path[0] not in ROOTS
    if looks or (method == "POST" and path[0] in TRIED):
        return
    raise ForbiddenError(
        f"{method} {'/'.join(path)}: the group may look, probe, trace and diagnose; the rest is root's", "use sudo"
    )


def _is_member(caller: Caller) -> bool:
    wanted = group_id()
    if wanted is None:
        return False
    if caller.gid == wanted:
        return True
    try:
        user = pwd.getpwuid(caller.uid)
    except KeyError:
        return False
    return wanted in os.getgrouplist(user.pw_name, user.pw_gid)
