"""Which of the frames seen are the probe packet or its answer, whatever was done to their addresses on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from k8snetlab.dataplane.frames import Connection, Frame
from k8snetlab.dataplane.packet import ACK, RST, SYN, Fate, Packet
from k8snetlab.kernel.shot import Shot
from k8snetlab.trace.way import Flow

End = tuple[str, int]
_PORT_UNREACHABLE = ((3, 3), (1, 4))
"""ICMP's and ICMPv6's type and code."""


class Recognition:
    """Knows a TCP packet by its sequence number, the others by their token; a UDP answer by its ends.

    The first TCP packet is known by its ports, which may have been translated before it was seen: conntrack's new
    `connections` tell. Timestamps are not relied upon, because neighbouring devices may give the same one.
    """

    def __init__(
        self, shot: Shot, origin: str, target: End, protocol: str, connections: Iterable[Connection] = ()
    ) -> None:
        self._shot, self._origin, self._protocol = shot, origin, protocol
        self._made = [c for c in connections if c.protocol == protocol]
        self._asked = (shot.sport, *target)
        own = [c for c in self._made if c.netns == origin and c.original[1:] == self._asked]
        self._starts = {self._asked} | {(c.reply[3], *c.reply[:2]) for c in own}
        self._servers = {target} | {c.reply[:2] for c in self._made}
        self._clients = {c.original[:2] for c in own}

    def of(self, frames: Sequence[Frame]) -> Iterator[tuple[Frame, bool]]:
        """The frames that are it, each with whether it is the answer; the start first, then in the order of time."""
        start = next((f for f in frames if self._begins(f)), None)
        if start is None:
            return
        sequence = _carried(start).sequence
        forward = [f for f in frames if f is not start and self._goes(_carried(f), sequence)]
        clients = self._clients | {(p.src, p.sport) for p in map(_carried, (start, *forward))}
        going = {id(f) for f in forward}
        yield start, False
        for frame in frames:
            if id(frame) in going:
                yield frame, False
            elif frame is not start and self._answers(_carried(frame), sequence, clients):
                yield frame, True

    def connections(self, frames: Sequence[Frame]) -> list[Connection]:
        """Those that conntrack made for this packet, on every node, in the order in which it came to them."""
        going = [(frame.netns, _carried(frame)) for frame, back in self.of(frames) if not back]
        tuples = {(p.src, p.sport, p.dst, p.dport) for _, p in going}
        order = {netns: number for number, netns in enumerate(dict.fromkeys(netns for netns, _ in going))}
        made = [c for c in self._made if c.original in tuples or c.original[1:] == self._asked]
        return sorted(made, key=lambda c: order.get(c.netns, len(order)))

    def icmp_error(self, frames: Sequence[Frame]) -> Fate | None:
        """What an ICMP error about the packet says, when one came back to its sender.

        The process learns of it later: while connect(2) still holds the socket, the kernel waits for the next error.
        """
        for frame in frames:
            about = frame.packet.quoted
            if not about or frame.netns != self._origin or frame.outgoing:
                continue
            own = about.identifier if self._protocol == "icmp" else about.sport
            if about.protocol == self._protocol and (own, about.dst, about.dport) == self._asked:
                return "refused" if frame.packet.code in _PORT_UNREACHABLE else "unreachable"
        return None

    def silenced(self, frames: Sequence[Frame]) -> bool:
        """Whether no ICMP error about the packet was seen anywhere: a kernel sends few of them (icmp_ratelimit)."""
        ends = {(p.sport, p.dst, p.dport) for frame, back in self.of(frames) if not back and (p := _carried(frame))}
        errors = (_carried(frame).quoted for frame in frames)
        return not any(e and e.protocol == self._protocol and (e.sport, e.dst, e.dport) in ends for e in errors)

    def _begins(self, frame: Frame) -> bool:
        packet = _carried(frame)
        if frame.netns != self._origin or not frame.outgoing or not self._goes(packet, packet.sequence):
            return False
        return self._protocol != "tcp" or (packet.sport, packet.dst, packet.dport) in self._starts

    def _goes(self, packet: Packet, sequence: int) -> bool:
        if packet.protocol != self._protocol or packet.quoted:
            return False
        if self._protocol == "tcp":
            return packet.flags & (SYN | ACK | RST) == SYN and packet.sequence == sequence
        if not packet.payload.startswith(self._shot.token):
            return False
        return packet.code[0] in (8, 128) if self._protocol == "icmp" else not self._served(packet)

    def _answers(self, packet: Packet, sequence: int, clients: set[End]) -> bool:
        if packet.protocol != self._protocol or packet.quoted:
            return False
        if self._protocol == "tcp":
            return bool(packet.flags & (SYN | RST)) and packet.acknowledged == (sequence + 1) % (1 << 32)
        if self._protocol == "icmp":
            return packet.payload.startswith(self._shot.token) and packet.code[0] in (0, 129)
        return self._served(packet) and (packet.dst, packet.dport) in clients

    def _served(self, packet: Packet) -> bool:
        return (packet.src, packet.sport) in self._servers


def flow_of(packet: Packet) -> Flow:
    return Flow(packet.src, packet.dst, packet.protocol, packet.sport, packet.dport)


def _carried(frame: Frame) -> Packet:
    return frame.packet.inner or frame.packet
