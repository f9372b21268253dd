"""What shapes or drops packets in a namespace and is read by nothing else: qdiscs, nftables, policy rules.

Told by tc, nft and ip themselves, of which each takes 5 ms: the kernel is asked first whether there is anything to
tell. Where one of them is not on the machine, nothing of its kind is told.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import listing
from k8snetlab.kernel.messages import HEADER, NetlinkRequest
from k8snetlab.kernel.netlink import Netlink, attributes
from k8snetlab.kernel.nfnetlink import Nfnetlink

USUAL_QDISCS = {"noqueue", "pfifo_fast", "pfifo", "fq_codel", "fq", "mq", "noop"}
"""The disciplines a kernel gives to devices by itself."""
USUAL_RULES = {0, 32766, 32767}
"""The priorities of the rules that lead to the tables local, main and default."""
IPTABLES = {"nat", "filter", "mangle", "raw", "security"}
_RTM_GETRULE, _FRA_PRIORITY, _FIB_RULE_HDR = 34, 6, 12
_RTM_GETQDISC, _TCA_KIND, _TCMSG = 38, 1, 20
_NFT_MSG_GETTABLE, _NFTA_TABLE_NAME = 10 << 8 | 1, 1
"""Source: linux/fib_rules.h, linux/rtnetlink.h, linux/netfilter/nf_tables.h."""


class Unmanaged(msgspec.Struct, frozen=True):
    """`kind` is qdisc, nftables or "ip rule"; `text` what the tool prints of it, `mend` takes it away.
    `drops`: it is there to lose packets.
    """

    kind: str
    name: str
    device: str
    text: str
    show: str
    mend: str
    drops: bool = False


def qdiscs(namespace: str) -> Iterator[Unmanaged]:
    """Queueing disciplines that somebody put on a device."""
    if not _strange(_has_qdisc, namespace):
        return
    for found in _objects(namespace, ["tc", "-j", "qdisc", "show"]):
        kind, device = str(found.get("kind", "")), str(found.get("dev", ""))
        if kind in USUAL_QDISCS or not device:
            continue
        options = " ".join(f"{key} {value}" for key, value in sorted((found.get("options") or {}).items()))
        place = "ingress" if kind == "ingress" else "clsact" if kind == "clsact" else "root"
        yield Unmanaged(
            "qdisc",
            f"{kind} {device}",
            device,
            f"{kind} {options}".strip(),
            f"tc -n {namespace} qdisc show dev {device}",
            f"tc -n {namespace} qdisc del dev {device} {place}",
            drops=kind == "blackhole" or "loss" in options or "corrupt" in options,
        )


def others(namespace: str) -> Iterator[Unmanaged]:
    """Tables of nftables that are not iptables', and rules that choose other routing tables."""
    if _strange(_has_table, namespace):
        yield from _tables(namespace)
    for family, words in ((socket.AF_INET, ()), (socket.AF_INET6, ("-6",))):
        if _strange(functools.partial(_has_rule, family=family), namespace):
            yield from _rules(namespace, words)


def _tables(namespace: str) -> Iterator[Unmanaged]:
    for found in _objects(namespace, ["nft", "-j", "list", "tables"]):
        for item in found.get("nftables", ()):
            table = item.get("table") or {}
            family, name = table.get("family", ""), table.get("name", "")
            if name and not (family in ("ip", "ip6") and name in IPTABLES):
                text = f"{family} {name}"
                command = f"ip netns exec {namespace} nft"
                yield Unmanaged(
                    "nftables", text, "", text, f"{command} list table {text}", f"{command} delete table {text}"
                )


def _rules(namespace: str, words: tuple[str, ...]) -> Iterator[Unmanaged]:
    for found in _objects(namespace, ["ip", *words, "-j", "rule", "show"]):
        priority = found.get("priority")
        if priority not in USUAL_RULES:
            text = " ".join(f"{key} {value}" for key, value in found.items() if value not in ("", None))
            command = " ".join(("ip", "-n", namespace, *words, "rule"))
            mend = f"{command} del priority {priority}"
            drops = found.get("action") in ("blackhole", "unreachable", "prohibit")
            yield Unmanaged("ip rule", str(priority), "", text, f"{command} show", mend, drops)


# --- whether there is anything to tell --------------------------------------------------------------------------------


def _strange(has: Callable[[str], bool], namespace: str) -> bool:
    """True too where the kernel does not say: the tool may know."""
    try:
        return has(namespace)
    except KernelError:
        return True


def _has_qdisc(namespace: str) -> bool:
    with Netlink(namespace) as netlink:
        held = netlink.dump(NetlinkRequest(_RTM_GETQDISC, 0, bytes(_TCMSG)))
    kinds = (attributes(message, HEADER.size + _TCMSG).get(_TCA_KIND, b"") for message in held)
    return any(kind.rstrip(b"\0").decode() not in USUAL_QDISCS for kind in kinds)


def _has_table(namespace: str) -> bool:
    with Nfnetlink(namespace) as netfilter:
        every = [*netfilter.dump(_NFT_MSG_GETTABLE)]
        known = [one for f in (socket.AF_INET, socket.AF_INET6) for one in netfilter.dump(_NFT_MSG_GETTABLE, f)]
    ours = [one for one in known if attributes(one)[_NFTA_TABLE_NAME].rstrip(b"\0").decode() in IPTABLES]
    return len(every) > len(ours)


def _has_rule(namespace: str, family: int) -> bool:
    with Netlink(namespace) as netlink:
        held = netlink.dump(NetlinkRequest(_RTM_GETRULE, 0, bytes([family]).ljust(_FIB_RULE_HDR, b"\0")))
    given = (attributes(message, HEADER.size + _FIB_RULE_HDR).get(_FRA_PRIORITY, b"") for message in held)
    return any(int.from_bytes(priority, sys.byteorder) not in USUAL_RULES for priority in given)


def _objects(namespace: str, argv: Sequence[str]) -> list[dict[str, Any]]:
    with contextlib.suppress(UnsupportedError, KernelError, ValueError):
        found: Any = listing.objects(namespace, argv)
        return found if isinstance(found, list) else [found]
    return []
