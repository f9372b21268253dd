"""Named packet counters of netfilter, for the `nfacct` match of iptables."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from k8snetlab.kernel.nfnetlink import Nfnetlink, attribute

_NEW = 7 << 8
"""NFNL_SUBSYS_ACCT, NFNL_MSG_ACCT_NEW."""
_CREATE = 0x400
_NAME, _PACKETS, _BYTES = 1, 2, 3


def ensure(namespace: str, names: Iterable[str]) -> bool:
    """Makes the counters that the namespace does not have; False where the kernel has no such counters at all."""
    with Nfnetlink(namespace) as netfilter:
        for name in names:
            zero = bytes(8)
            said = attribute(_NAME, name.encode() + b"\0") + attribute(_PACKETS, zero) + attribute(_BYTES, zero)
            if netfilter.request(_NEW, said, flags=_CREATE) not in (0, errno.EBUSY, errno.EEXIST):
                return False
    return True
