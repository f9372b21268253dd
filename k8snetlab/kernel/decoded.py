"""What the kernel answers, decoded by pyroute2: all attributes by name, 60 to 110 µs a message.

For `survey`, which wants many of them. `import pyroute2` loads every subsystem it has (0.12 s); these four need a
quarter of that. So its package is entered here without running its `__init__`, when the first message is decoded;
whoever imports pyroute2 later still gets all of it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import threading
import types
from collections.abc import Mapping
from typing import Any

from k8snetlab.kernel.messages import RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETROUTE, NetlinkRequest
from k8snetlab.kernel.netlink import Netlink

_NAMES = {RTM_GETLINK: "ifinfmsg", RTM_GETADDR: "ifaddrmsg", RTM_GETROUTE: "rtmsg", RTM_GETNEIGH: "ndmsg"}

_importing = threading.Lock()
"""Nobody else finds the package that stands in for pyroute2."""


def dump(netlink: Netlink, kind: int, body: bytes) -> list[Any]:
    """What a request of this RTM_GET… number asks for, as pyroute2's messages. Raises KernelError."""
    with _importing:
        decode = _classes()[kind]
    found = [decode(message) for message in netlink.dump(NetlinkRequest(kind, 0, body))]
    for message in found:
        message.decode()
    return found


@functools.cache
def _classes() -> Mapping[int, Any]:
    stand_in = "pyroute2" not in sys.modules
    if stand_in:
        spec = importlib.util.find_spec("pyroute2")
        assert spec is not None and spec.submodule_search_locations is not None
        package = types.ModuleType("pyroute2")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["pyroute2"] = package
    try:
        return {
            kind: getattr(importlib.import_module(f"pyroute2.netlink.rtnl.{name}"), name)
            for kind, name in _NAMES.items()
        }
    finally:
        if stand_in:
            del sys.modules["pyroute2"]
