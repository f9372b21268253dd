"""What this machine offers, found by trying it in a namespace that is thrown away again."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from k8snetlab.dataplane.links import Address, Bridge, Device, Ipip, Veth, Vxlan
from k8snetlab.dataplane.names import HOST_NETNS, MASQUERADE_MARK, TUNL0
from k8snetlab.dataplane.operations import Item, ItemOperation
from k8snetlab.dataplane.rules import ChainKey, RuleDelta
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import iptables, modules, netns, shaping, sysctl
from k8snetlab.kernel.execute import execute

_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
_NO_LAB = "every lab"
_CHAIN = ChainKey("nat", "K8SNETLAB-PROBE")
_RULES = {
    "statistic": ("-m statistic --mode random --probability 0.5 -j ACCEPT", "Services with several endpoints"),
    "recent": ("-m recent --name K8SNETLAB --rcheck --seconds 10 --reap -j ACCEPT", "session affinity (ClientIP)"),
    "addrtype": ("-m addrtype --dst-type LOCAL -j ACCEPT", "NodePorts"),
    "comment": ("-m comment --comment probe -j ACCEPT", "Services"),
    "conntrack": ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "Services"),
    "mark": (
        f"-m mark --mark {MASQUERADE_MARK:#x}/{MASQUERADE_MARK:#x} -j MARK --xor-mark {MASQUERADE_MARK:#x}",
        "Services, masquerading",
    ),
    "MASQUERADE --random-fully": ("-j MASQUERADE --random-fully", "masquerading"),
}
_TOOLS = {
    "ip": ("`ip netns exec` on the lab's namespaces", "apt-get install iproute2"),
    "iptables-restore": ("Services, masquerading", "apt-get install iptables"),
    "conntrack": ("forgetting UDP connections to endpoints that went; looking at them", "apt-get install conntrack"),
    "ping": ("`exec POD -- ping`; `probe -p icmp` needs none", "apt-get install iputils-ping"),
    "curl": ("`exec POD -- curl`; `probe` needs none", "apt-get install curl"),
    "tcpdump": ("`exec NODE -- tcpdump`; `capture` needs none", "apt-get install tcpdump"),
    "bird": ("network.backend: bgp and rip", "apt-get install bird2"),
    "/usr/lib/frr/zebra": ("network.backend: ospf (with routing.daemon: bird it needs bird)", "apt-get install frr"),
}
_NEEDED_TOOLS = ("ip", "iptables-restore")


class Feature(msgspec.Struct, frozen=True):
    """One thing a lab uses."""

    name: str
    """In a few words."""
    present: bool
    """Whether this machine has it."""
    rules_out: str
    """What does not work without it."""
    how_to_get: str
    """What to type or change."""
    needed: bool = True
    """By every lab as this machine would build it; the others are needed by some labs only."""


def probe() -> list[Feature]:
    """Try everything. Leaves nothing behind; br_netfilter, which nothing loads by itself, is loaded for the time."""
    found = [*_privileges(), *_tools()]
    loaded = os.geteuid() == 0 and modules.load_bridge_filter()
    with _scratch() as name:
        made = bool(name)
        found.append(Feature("network namespaces", made, _NO_LAB, "run as root; in a container, run it privileged"))
        found += _devices(name) if made else []
        found += _sysctls(name) if made else []
        found += _iptables(name) if made else []
    if loaded:
        modules.unload_bridge_filter()
    return found


def has_ipip() -> bool:
    """Whether the kernel knows IP in IP. Where that is a module it is loaded, and every namespace has tunl0 then."""
    with _scratch() as name:
        return bool(name) and _can_add(name, Ipip(TUNL0))


def _privileges() -> Iterator[Feature]:
    yield Feature("root", os.geteuid() == 0, _NO_LAB, "use sudo")
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    effective = int(status["CapEff"], 16)
    for capability, bit in _CAPABILITIES.items():
        yield Feature(
            capability, bool(effective >> bit & 1), _NO_LAB, "use sudo; in a container, run it with --privileged"
        )


def _tools() -> Iterator[Feature]:
    for tool, (rules_out, how_to_get) in _TOOLS.items():
        present = shutil.which(tool) is not None
        yield Feature(f"{Path(tool).name} (program)", present, rules_out, how_to_get, tool in _NEEDED_TOOLS)


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """The name of a namespace for the block, or "" when none can be made."""
    name = f"k8snetlab-doctor-{os.getpid()}-{secrets.token_hex(2)}"
    made_directory = False
    try:
        made_directory = netns.make_directory()
        netns.create(name)
    except (K8sNetLabError, OSError):
        yield ""
    else:
        try:
            yield name
        finally:
            netns.delete(name)
    finally:
        if made_directory:
            netns.remove_directory()


def _devices(name: str) -> Iterator[Feature]:
    items: dict[str, tuple[Item, str]] = {
        "veth": (Veth("probe0", "probe1", name), _NO_LAB),
        "bridge": (Bridge("probe2"), _NO_LAB),
        "vxlan": (Vxlan("probe3", 1, "192.0.2.1", "lo"), "the vxlan backend (host-gw works without)"),
    }
    for kind, (item, rules_out) in items.items():
        how_to_get = f"modprobe {kind} (Debian: apt-get install linux-image-$(uname -r))"
        yield Feature(kind, _can_add(name, item), rules_out, how_to_get)
    loaded = modules.ipip_is_loaded()
    yield Feature("ipip", _can_add(name, Ipip(TUNL0)), "Calico's ipipMode", "modprobe ipip", False)
    if not loaded:
        modules.unload_ipip()
    for kind, rules_out in (("netem", "link set --delay, --jitter, --loss"), ("tbf", "link set --rate")):
        yield Feature(kind, shaping.try_on(name, kind), rules_out, f"modprobe sch_{kind}", False)
    works = _can_add(name, Device("lo")) and _can_add(name, Address("lo", "fd00::1/64"))
    yield Feature("IPv6", works, "IPv6 and dual-stack labs", "boot without ipv6.disable=1", False)


def _sysctls(name: str) -> Iterator[Feature]:
    yield Feature(
        "writable /proc/sys/net",
        _works(lambda: sysctl.write(name, {"net.ipv4.ip_forward": "1"})),
        _NO_LAB,
        "in a container, run it with --privileged (or --security-opt systempaths=unconfined)",
    )
    key = "net.bridge.bridge-nf-call-iptables"
    own = _works(lambda: sysctl.write(name, {key: "1"})) and _per_namespace(key, name)
    yield Feature(
        "br_netfilter per namespace",
        own,
        "Services whose endpoint is on the client's own bridge",
        "modprobe br_netfilter (Linux 5.3 or newer)",
    )


def _per_namespace(key: str, name: str) -> bool:
    """Whether setting the key in one namespace leaves it alone in another."""
    before = sysctl.read(HOST_NETNS, [key])
    sysctl.write(name, {key: "0"})
    inside_zero = sysctl.read(name, [key])[key] == "0"
    sysctl.write(name, {key: "1"})
    return inside_zero and sysctl.read(HOST_NETNS, [key]) == before


def _iptables(name: str) -> Iterator[Feature]:
    lockfile = Path("/run", f"{name}.lock")
    try:
        own = iptables.variant()
    except K8sNetLabError:
        own = "nft"
    try:
        for variant in ("nft", "legacy"):
            table = iptables.open(name, "ipv4", variant, lockfile)
            every = _takes(table, *(rule for rule, _ in _RULES.values()))  # a program started for each takes 0.15 s
            works = every or _takes(table, "-j RETURN")
            needed = variant == own
            how_to_get = "apt-get install iptables; a kernel with nf_tables or ip_tables"
            yield Feature(f"iptables-{variant}", works, f"labs with proxy.iptables: {variant}", how_to_get, needed)
            if not works:
                continue
            for extension, (rule, rules_out) in _RULES.items():
                how_to_get = f"modprobe xt_{extension.split()[0]}"
                taken = every or _takes(table, rule)
                yield Feature(f"iptables-{variant}: {extension}", taken, rules_out, how_to_get, needed)
    finally:
        lockfile.unlink(missing_ok=True)


def _can_add(name: str, item: Item) -> bool:
    return _works(lambda: execute([ItemOperation("add", name, item)]))


def _takes(table: iptables.Iptables, *rules: str) -> bool:
    """Whether all of them can be written; they stay, and go with the namespace."""
    return _works(lambda: table.apply(RuleDelta("ipv4", {_CHAIN: rules})))


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (K8sNetLabError, OSError):
        return False
    return True
