"""Named packet counters of netfilter, for the `nfacct` match of iptables."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from k8snetlab.errors import KernelError
from k8snetlab.kernel.netlink import attributes
from k8snetlab.kernel.nfnetlink import Nfnetlink, attribute

_NEW, _GET, _DELETE = 7 << 8, 7 << 8 | 1, 7 << 8 | 3
"""NFNL_SUBSYS_ACCT, NFNL_MSG_ACCT_NEW, _GET and _DEL."""
_CREATE = 0x400
_NAME, _PACKETS, _BYTES = 1, 2, 3


def held(namespace: str) -> frozenset[str]:
    """The names of those that the namespace has; none where the kernel has no such counters."""
    with Nfnetlink(namespace) as netfilter:
        try:
            return frozenset(attributes(data)[_NAME].rstrip(b"\0").decode() for data in netfilter.dump(_GET))
        except KernelError:
            return frozenset()


def delete(namespace: str, names: Iterable[str]) -> None:
    """Deletes those that are there and that no rule uses."""
    with Nfnetlink(namespace) as netfilter:
        for name in names:
            netfilter.request(_DELETE, attribute(_NAME, name.encode() + b"\0"))


def ensure(namespace: str, names: Iterable[str]) -> bool:
    """Makes the counters that the namespace does not have; False where the kernel has no such counters at all."""
    with Nfnetlink(namespace) as netfilter:
        for name in names:
            zero = bytes(8)
            said = attribute(_NAME, name.encode() + b"\0") + attribute(_PACKETS, zero) + attribute(_BYTES, zero)
            if netfilter.request(_NEW, said, flags=_CREATE) not in (0, errno.EBUSY, errno.EEXIST):
                return False
    return True
