"""Probes another machine's VXLAN port, and collects everything that comes back.

One datagram does it all. A kernel with a VXLAN device takes it for an echo request in a tunnel; the inner source is
this machine's own address, so the answer comes back outside the tunnel. Another `probe` on that machine reads in it
whose probes have arrived here. A machine without either refuses it.
Source: RFC 7348 (VXLAN), RFC 792 and 4443 (ICMP); net/ipv4/udp.c, net/ipv4/netfilter/nf_reject_ipv4.c.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Literal

import msgspec

from k8snetlab.kernel.shot import checksum

Answer = Literal["", "closed", "prohibited", "unreachable", "denied"]
"""Nothing; port unreachable; administratively prohibited; host or network unreachable; our own kernel did not send."""
PAUSE = 0.25
"""Seconds between two probes; 2 where they are refused: a kernel refuses 6 at once and then 1 a second."""
_MAGIC = b"k8snetlab knocks"
"""What the probes of every version carry."""
_INNER_MAC = bytes.fromhex("ffffffffffff 02006b386e6c")
_TRACEROUTE = range(33434, 33524)
"""Ports that nobody listens on and that firewalls tend to leave open."""
_PROHIBITED = (9, 10, 13)
_NOT_SENT: dict[int, Answer] = {
    errno.EPERM: "denied",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}


class Reply(msgspec.Struct, frozen=True):
    """What came back for one kind of probe, and the address that said so."""

    answer: Answer = ""
    by: str = ""


class Replies(msgspec.Struct, frozen=True):
    """What came back of all the probes.

    `source` is this machine's address on the way to the peer. `listened`: the port was free here. `port`, `torn` and
    `other` are the replies for the VXLAN port, for the same with a datagram that only a firewall answers (its length is
    wrong: UDP drops it, REJECT does not look) and for some other port. `ping`: the peer answers pings; `tunnel`: it
    answers the ping inside the tunnel. `probed`: the peer's own probes arrive here; `acknowledged`: they say that
    ours arrive.
    """

    source: str
    listened: bool = False
    port: Reply = Reply()
    torn: Reply = Reply()
    other: Reply = Reply()
    ping: bool = False
    tunnel: bool = False
    probed: bool = False
    acknowledged: bool = False


def probe(peer: str, port: int, vni: int, wait: float) -> Replies:
    """Probes until both ways are known, or for `wait` seconds. Needs CAP_NET_RAW."""
    try:
        source = _source(peer, port)
    except OSError as error:
        return Replies("", port=Reply(_NOT_SENT.get(error.errno or 0, "unreachable")))
    with _Prober(source, peer, port, vni) as prober:
        return prober.run(wait)


def _source(peer: str, port: int) -> str:
    with socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect((peer, port))
        return str(asker.getsockname()[0])


class _Prober:
    def __init__(self, source: str, peer: str, port: int, vni: int) -> None:
        self.source, self.peer, self.port, self.vni = source, peer, port, vni
        self.six = ":" in peer
        family = socket.AF_INET6 if self.six else socket.AF_INET
        self.replies: dict[str, Reply] = {}
        self.echoes: set[int] = set()
        self.rounds = self.torn = 0
        self.token, self.theirs, self.acknowledged = secrets.token_bytes(8), bytes(8), False
        self.ids = {"tunnel": secrets.randbelow(0x7FFF), "ping": secrets.randbelow(0x7FFF) + 0x8000}
        with contextlib.ExitStack() as stack:
            self.main = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            self.other = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            self.raw = stack.enter_context(socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP))
            number = socket.IPPROTO_ICMPV6 if self.six else socket.IPPROTO_ICMP
            self.icmp = stack.enter_context(socket.socket(family, socket.SOCK_RAW, number))
            self.selector = stack.enter_context(selectors.DefaultSelector())
            any_address = "::" if self.six else "0.0.0.0"
            if self.six:
                self.main.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                self.main.bind((any_address, port))
                self.listened = True
            except OSError:  # a VXLAN device's, most likely
                self.main.bind((any_address, 0))
                self.listened = False
            self.other.bind((any_address, 0))
            self.unlikely = secrets.choice(_TRACEROUTE)
            for sock in (self.main, self.icmp):
                sock.setblocking(False)
                self.selector.register(sock, selectors.EVENT_READ)
            self._stack = stack.pop_all()

    def __enter__(self) -> _Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, wait: float) -> Replies:
        deadline = time.monotonic() + wait
        while not self._known() and time.monotonic() < deadline:
            self._send()
            self._listen(min(time.monotonic() + self._pause(), deadline))
        if self.acknowledged:  # so that the other side knows it too
            self._send()
        return self._summary()

    def _known(self) -> bool:
        """Whether waiting cannot tell more."""
        final = self._answer("port") not in ("", "closed") or self._answer("torn") != ""
        refused = self._answer("port") == "closed" and self.torn > 1 and not self.listened
        return final or refused or self.acknowledged or self.ids["tunnel"] in self.echoes

    def _pause(self) -> float:
        return 8 * PAUSE if self._answer("port") == "closed" and self.torn > 1 else PAUSE

    def _answer(self, what: str) -> Answer:
        return self.replies.get(what, Reply()).answer

    def _summary(self) -> Replies:
        return Replies(
            self.source,
            self.listened,
            port=self.replies.get("port", Reply()),
            torn=self.replies.get("torn", Reply()),
            other=self.replies.get("other", Reply()),
            ping=self.ids["ping"] in self.echoes,
            tunnel=self.ids["tunnel"] in self.echoes,
            probed=bool(self.theirs.strip(b"\0")),
            acknowledged=self.acknowledged,
        )

    # --- out --------------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """A probe, and as much else as is not yet known: the peer's kernel does not refuse any number of datagrams."""
        word = _MAGIC + self.token + self.theirs
        with self._recording("port"):
            self.main.sendto(self._encapsulated(self._echo(self.ids["tunnel"], word)), (self.peer, self.port))
        if self.ids["ping"] not in self.echoes:
            with contextlib.suppress(OSError):
                self.icmp.sendto(self._echo(self.ids["ping"], b""), (self.peer, 0))
            if self.rounds in (1, 2, 3) and not self._answer("port"):
                with self._recording("other"):
                    self.other.sendto(b"k8snetlab doctor", (self.peer, self.unlikely))
        if self._answer("port") == "closed":
            self._send_torn()
        self.rounds += 1

    def _send_torn(self) -> None:
        if self.torn < 2:
            self.torn += 1
            with contextlib.suppress(OSError):
                self.raw.sendto(self._torn(), (self.peer, 0))

    @contextlib.contextmanager
    def _recording(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.replies[what] = Reply(_NOT_SENT.get(error.errno or 0, "unreachable"), self.source)

    def _encapsulated(self, message: bytes) -> bytes:
        """VXLAN header, Ethernet to everyone, IP from this machine to the peer."""
        header = struct.pack("!II", 1 << 27, self.vni << 8)
        return header + _INNER_MAC + self._ip(len(message)) + message

    def _ip(self, length: int) -> bytes:
        addresses = ip_address(self.source).packed + ip_address(self.peer).packed
        if self.six:
            return b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_ICMPV6, 64) + addresses
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_ICMP, 0) + addresses
        return b"\x08\x00" + head[:10] + struct.pack("!H", checksum(head)) + head[12:]

    def _echo(self, identifier: int, data: bytes) -> bytes:
        message = struct.pack("!BBHHH", 128 if self.six else 8, 0, 0, identifier, 1) + data
        summed = self._pseudo(len(message), socket.IPPROTO_ICMPV6) + message if self.six else message
        return message[:2] + struct.pack("!H", checksum(summed)) + message[4:]

    def _torn(self) -> bytes:
        """UDP to the same port whose header says it is longer than it is, with a checksum that is right for REJECT."""
        data = bytes(8)
        length = 8 + len(data)
        sport = self.other.getsockname()[1]
        head = struct.pack("!HHHH", sport, self.port, length + 8, 0)
        total = checksum(self._pseudo(length, socket.IPPROTO_UDP) + head + data) or 0xFFFF
        return head[:6] + struct.pack("!H", total) + data

    def _pseudo(self, length: int, protocol: int) -> bytes:
        addresses = ip_address(self.source).packed + ip_address(self.peer).packed
        return addresses + (
            struct.pack("!IxxxB", length, protocol) if self.six else struct.pack("!xBH", protocol, length)
        )

    # --- in ---------------------------------------------------------------------------------------------------------

    def _listen(self, until: float) -> None:
        while not self._known() and (left := until - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                with contextlib.suppress(OSError, struct.error, IndexError):
                    data, (sender, *_) = key.fileobj.recvfrom(2048)  # type: ignore[union-attr]
                    if key.fileobj is self.main:
                        self._take_probe(data, sender)
                    else:
                        self._take_icmp(data if self.six else data[(data[0] & 15) * 4 :], sender)

    def _take_probe(self, data: bytes, sender: str) -> None:
        start = 8 + 14 + (40 if self.six else 20) + 8
        magic, theirs, ours = data[start : start + 16], data[start + 16 : start + 24], data[start + 24 : start + 32]
        if ip_address(sender) == ip_address(self.peer) and magic == _MAGIC and theirs != self.token:
            new = theirs != self.theirs
            self.theirs, self.acknowledged = theirs, self.acknowledged or ours == self.token
            if new:
                self._send()

    def _take_icmp(self, message: bytes, sender: str) -> None:
        kind, code = message[0], message[1]
        if kind == (129 if self.six else 0):
            if sender == self.peer:
                self.echoes.add(int.from_bytes(message[4:6], "big"))
        elif kind == (1 if self.six else 3):
            quoted = message[8:]
            transport = quoted[40:] if self.six else quoted[(quoted[0] & 15) * 4 :]
            destination = quoted[24:40] if self.six else quoted[16:20]
            protocol = quoted[6] if self.six else quoted[9]
            if protocol == socket.IPPROTO_UDP and destination == ip_address(self.peer).packed:
                what = self._which(*struct.unpack_from("!HH", transport))
                self.replies[what] = Reply(self._meaning(code), sender)
                if what == "port" and self._answer("port") == "closed" and not self.torn:
                    self._send_torn()

    def _which(self, sport: int, dport: int) -> str:
        ours = {
            (self.main.getsockname()[1], self.port): "port",
            (self.other.getsockname()[1], self.port): "torn",
            (self.other.getsockname()[1], self.unlikely): "other",
        }
        return ours.get((sport, dport), "another's")

    def _meaning(self, code: int) -> Answer:
        if code == (4 if self.six else 3):
            return "closed"
        if code in ((1, 5, 6) if self.six else _PROHIBITED):
            return "prohibited"
        return "unreachable"
