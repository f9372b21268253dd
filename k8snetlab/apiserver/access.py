"""Who may ask what of a lab's daemon: root everything, a group that an instructor makes may look and try.

That is told of the processes at its socket. Over TCP come users, who show a certificate or a token; what they may do,
`authorization` says.

The group is `k8snetlab` (K8SNETLAB_GROUP names another one); where the machine has no such group, root alone is let in.
Whoever may change objects may run commands as root, so that is never the group's. `docs/security.md` has the table.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping

import msgspec

from k8snetlab.errors import ForbiddenError, RequestError

MASTERS = "system:masters"
"""The group of users who may do everything."""
VIEWERS = "k8snetlab:view"
"""The group of users who may look."""
AUTHENTICATED = "system:authenticated"
"""The group of all who have said who they are."""


class User(msgspec.Struct, frozen=True):
    """Who asks over TCP."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = {}


ACCOUNTS = "system:serviceaccounts"
"""The group of all ServiceAccounts; those of a namespace have one that begins so."""
ACCOUNT_PREFIX = "system:serviceaccount:"
"""What the name of a ServiceAccount as a user begins with."""
ROOT = User("root", (MASTERS, AUTHENTICATED), "0")
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Caller(msgspec.Struct, frozen=True):
    """The process at the other end of the socket."""

    uid: int
    gid: int


def unauthorized() -> RequestError:
    """Who shows no certificate and no token that is good."""
    return RequestError("Unauthorized", "`k8snetlab kubeconfig` makes a kubeconfig", "Unauthorized", 401)


def group_id() -> int | None:
    """The number of the group, None where the machine has none."""
    try:
        return grp.getgrnam(os.environ.get("K8SNETLAB_GROUP", "k8snetlab")).gr_gid
    except KeyError:
        return None


def admit(caller: Caller | None) -> None:
    """Raises ForbiddenError for who may ask nothing; None is this process itself, for another machine."""
    if caller and not _is_root(caller) and not _is_member(caller):
        raise ForbiddenError(f"uid {caller.uid} may not use this lab", "use sudo")


def permit(caller: Caller | None, looks: bool, request: str) -> None:
    """Raises ForbiddenError where a member of the group asks for what does more than look or try, in words."""
    if caller and not looks and not _is_root(caller):
        raise ForbiddenError(
            f"{request}: the group may look, probe, trace and diagnose; the rest is root's", "use sudo"
        )


def user_of(caller: Caller) -> User:
    """A process at the socket as a user."""
    if _is_root(caller):
        return ROOT
    try:
        name = pwd.getpwuid(caller.uid).pw_name
    except KeyError:
        name = str(caller.uid)
    return User(name, (*((VIEWERS,) if _is_member(caller) else ()), AUTHENTICATED), str(caller.uid))


def _is_root(caller: Caller) -> bool:
    return caller.uid in (0, os.geteuid())


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
