"""Devices that are not as desired, as findings; and what all findings on a namespace's tables have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from k8snetlab.dataplane.links import Bridge, Device, Ipip, Link, Veth, Vxlan
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation, Operation
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.trace.owners import Owners

_FIXED = {"vni": "VNI", "port": "UDP port", "local": "local address", "dev": "device", "learning": "learning"}


class Names(NamedTuple):
    """Names for people: owners of addresses, and what a namespace is called."""

    owners: Owners
    places: Mapping[str, str]


class Explanation:
    """One namespace: what it should be, and what it is."""

    def __init__(self, where: Where, desired: Netns, actual: Netns, names: Names) -> None:
        self.where, self.desired, self.actual, self.names = where, desired, actual, names

    def wanted(self, name: str) -> bool:
        return any(link.name == name for link in self.desired.links)


class Links(Explanation):
    """Explains operations on devices."""

    def link(self, operation: ItemOperation, want: Link, recreated: Operation | None) -> Finding:
        have = next((k for k in self.actual.links if k.name == want.name), None)
        if operation.verb == "del":
            message, fault = f"{want.name}{self._peer_words(want)} should not be there", "stale"
            consequence = "what is plugged into it takes part though nobody wants it to"
        elif have is None:
            message, fault = f"{want.name}{self._peer_words(want)} is missing", "missing"
            consequence = self._cut(want)
        else:
            fault, words, consequence = self._difference(self._desired(want.name), have)
            message = f"{want.name}{self._peer_words(want)} {words}"
        mend = f"{recreated}\n{operation}" if recreated else str(operation)
        peer = self._desired(want.name) if self.wanted(want.name) else want
        return Finding(
            kind="link",
            fault=fault,
            node=self.where.node,
            object=want.name,
            message=f"{self.where.place}: {message}",
            consequence=consequence,
            show=f"ip -n {self.where.netns} -d link show dev {want.name}",
            mend=mend,
            device=want.name,
            beyond=(peer.peer_netns, peer.peer) if isinstance(peer, Veth) and peer.peer_netns else None,
            netns=self.where.netns,
        )

    def _desired(self, name: str) -> Link:
        return next(link for link in self.desired.links if link.name == name)

    def _difference(self, want: Link, have: Link) -> tuple[str, str, str]:
        """The fault in a word, the fault in words, and its consequence; the gravest fault decides."""
        cut = self._cut(want)
        if type(want) is not type(have) and not isinstance(want, Device):
            return "wrong", f"is a {type(have).__name__.lower()}, not a {type(want).__name__.lower()}", cut
        if isinstance(want, Vxlan) and isinstance(have, Vxlan):
            for field, title in _FIXED.items():
                if getattr(want, field) != getattr(have, field):
                    return "wrong", f"has {title} {getattr(have, field)}, not {getattr(want, field)}", cut
            if (want.l2miss, want.l3miss) != (have.l2miss, have.l3miss):
                consequence = "pods of other nodes are found as the lab's backend does not find them"
                return "wrong", f"has l2miss and l3miss {'off' if want.l2miss else 'on'}", consequence
        if want.up and not have.up:
            return "down", "is down", cut
        if isinstance(want, Veth) and isinstance(have, Veth) and want.master != have.master:
            return "wrong", f"is a port of {have.master}" if have.master else f"is no port of {want.master}", cut
        if want.mac and want.mac != have.mac:
            consequence = f"frames for {want.mac} are not taken by {want.name}"
            return (
                "wrong",
                f"has MAC {have.mac}, not {want.mac}",
                f"{consequence}: {cut}" if isinstance(want, Vxlan) else consequence,
            )
        if want.mtu and want.mtu != have.mtu:
            return "mtu", f"has MTU {have.mtu}, not {want.mtu}", self._too_big(want, have)
        pod = self._peer(want) or "the pod behind it"
        consequence = (
            f"{pod} does not reach itself through a Service: {want.name} sends no frame back where it came from"
        )
        return "hairpin", "has hairpin off", consequence

    def _too_big(self, want: Link, have: Link) -> str:
        if have.mtu > want.mtu:
            return f"packets of more than {want.mtu} octets leave by it and are too big for what follows: they are lost"
        return f"packets of more than {have.mtu} octets do not pass; where senders are not told, connections hang"

    def _cut(self, link: Link) -> str:
        """What fails without the device."""
        match link:
            case Vxlan() | Ipip():
                return f"packets to and from pods of other nodes are dropped at {link.name}"
            case Bridge() if self.where.kind == "node":
                return f"no pod of {self.where.place} reaches anything"
            case Bridge():
                return "no node reaches another"
            case Veth():
                return f"{self._peer(link) or 'what is behind it'} is cut off"
            case _ if link.name == "lo":
                return f"{self.where.place} does not reach itself"
            case _ if self.where.kind == "router":  # it may stand on others
                return f"nothing passes {self.where.place} by {link.name}"
            case _:
                return f"{self.where.place} is cut off"

    def _peer(self, link: Link) -> str:
        want = self._desired(link.name) if self.wanted(link.name) else link
        return self.names.places.get(want.peer_netns, "") if isinstance(want, Veth) else ""

    def _peer_words(self, link: Link) -> str:
        peer = self._peer(link)
        return f" (to {peer})" if peer else ""
