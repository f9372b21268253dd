"""What shapes or drops packets in a namespace and is read by nothing else: qdiscs, nftables, policy rules.

Told by tc, nft and ip themselves; where one of them is not on the machine, nothing of its kind is told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from k8snetlab.errors import KernelError, UnsupportedError
from k8snetlab.kernel import listing

USUAL_QDISCS = {"noqueue", "pfifo_fast", "pfifo", "fq_codel", "fq", "mq", "noop"}
"""The disciplines a kernel gives to devices by itself."""
USUAL_RULES = {0, 32766, 32767}
"""The priorities of the rules that lead to the tables local, main and default."""
IPTABLES = {"nat", "filter", "mangle", "raw", "security"}


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
    for six in ((), ("-6",)):
        for found in _objects(namespace, ["ip", *six, "-j", "rule", "show"]):
            priority = found.get("priority")
            if priority not in USUAL_RULES:
                words = " ".join(f"{key} {value}" for key, value in found.items() if value not in ("", None))
                command = " ".join(("ip", "-n", namespace, *six, "rule"))
                mend = f"{command} del priority {priority}"
                drops = found.get("action") in ("blackhole", "unreachable", "prohibit")
                yield Unmanaged("ip rule", str(priority), "", words, f"{command} show", mend, drops)


def _objects(namespace: str, argv: Sequence[str]) -> list[dict[str, Any]]:
    with contextlib.suppress(UnsupportedError, KernelError, ValueError):
        found: Any = listing.objects(namespace, argv)
        return found if isinstance(found, list) else [found]
    return []
