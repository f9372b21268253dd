"""Kernel modules a lab needs that nothing loads by itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from k8snetlab.kernel import fault

BRIDGE_FILTER = "br_netfilter"
_IPIP = Path("/sys/module/ipip")
_BRIDGE_SYSCTLS = Path("/proc/sys/net/bridge")
_CALLS = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")


def load_bridge_filter(announce: Callable[[], None] = lambda: None) -> bool:
    """Loads br_netfilter, which makes frames between a bridge's ports pass iptables; True when it was not there;
    `announce` is called before it is loaded.

    The machine's own bridges stay as they were: the calls are switched off outside the lab's namespaces. Where the
    module cannot be loaded (a container without modprobe) the lab's first sysctl says so.
    """
    if _BRIDGE_SYSCTLS.is_dir() or shutil.which("modprobe") is None:
        return False
    announce()
    fault.point()
    subprocess.run(["modprobe", "-q", BRIDGE_FILTER], capture_output=True, check=False)
    if not _BRIDGE_SYSCTLS.is_dir():
        return False
    for call in _CALLS:
        (_BRIDGE_SYSCTLS / call).write_text("0")
    return True


def unload_bridge_filter() -> bool:
    """Undoes `load_bridge_filter`, unless somebody on this machine has begun to use it meanwhile."""
    if not _BRIDGE_SYSCTLS.is_dir() or any((_BRIDGE_SYSCTLS / call).read_text().strip() != "0" for call in _CALLS):
        return False
    subprocess.run(["modprobe", "-q", "-r", BRIDGE_FILTER], capture_output=True, check=False)
    return not _BRIDGE_SYSCTLS.is_dir()


def ipip_is_loaded() -> bool:
    return _IPIP.is_dir()


def unload_ipip() -> None:
    """Takes tunl0 from all namespaces: for whoever had it loaded a moment ago."""
    if ipip_is_loaded() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "-r", "ipip"], capture_output=True, check=False)
