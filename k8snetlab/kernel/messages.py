"""pyroute2's rtnetlink message classes and the numbers of rtnetlink(7) that go with them.

`import pyroute2` loads every subsystem it has (0.12 s); these four need a quarter of that. So its package is entered
here without running its `__init__`; whoever imports pyroute2 later still gets all of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any, NamedTuple


class NetlinkRequest(NamedTuple):
    """A message to the kernel: an RTM_ number, NLM_F_ flags besides REQUEST and ACK, and a pyroute2 nlmsg."""

    type: int
    flags: int
    message: Any


RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300

AF_BRIDGE = 7
IFF_UP = 0x1
IFA_F_NODAD = 0x2
NTF_SELF = 0x2
RTNH_F_ONLINK = 0x4
RT_TABLE_MAIN = 254
RTPROT_KERNEL, RTPROT_BOOT, RTPROT_RA = 2, 3, 9
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RTN_UNICAST = 1
RTEXT_FILTER_SKIP_STATS = 8
NUD = {
    "INCOMPLETE": 0x01,
    "REACHABLE": 0x02,
    "STALE": 0x04,
    "DELAY": 0x08,
    "PROBE": 0x10,
    "FAILED": 0x20,
    "NOARP": 0x40,
    "PERMANENT": 0x80,
}


def _classes() -> list[Any]:
    stand_in = "pyroute2" not in sys.modules
    if stand_in:
        spec = importlib.util.find_spec("pyroute2")
        assert spec is not None and spec.submodule_search_locations is not None
        package = types.ModuleType("pyroute2")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["pyroute2"] = package
    try:
        return [
            getattr(importlib.import_module(f"pyroute2.netlink.rtnl.{name}"), name)
            for name in ("ifinfmsg", "ifaddrmsg", "rtmsg", "ndmsg")
        ]
    finally:
        if stand_in:
            del sys.modules["pyroute2"]


ifinfmsg, ifaddrmsg, rtmsg, ndmsg = _classes()
