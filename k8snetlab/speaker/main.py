"""A node's speaker: reads its file, answers for the addresses that it has won, and tells the other speakers.

It begins in its own directory, where `conf/speaker.json` says which addresses there are. What it has read last it
writes to `loaded.json`, and what it announces to `state.json`. SIGHUP has it read again; SIGTERM has it give all up.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from k8snetlab.speaker import frames
from k8snetlab.speaker.election import BEAT, Election

CONF, LOADED, STATE = Path("conf/speaker.json"), Path("loaded.json"), Path("state.json")
ICMP6_FILTER, HOPS = 1, 255
FLAGS, ADDRESS, NAME, RUNNING = 0x8913, 0x8927, 16, 0x41
"""SIOCGIFFLAGS and SIOCGIFHWADDR; the size of a device's name; IFF_UP and IFF_RUNNING."""
_PASSED = struct.pack("=8I", *(0xFFFFFFFF ^ (1 << (frames.SOLICITATION & 31) if n == 4 else 0) for n in range(8)))
"""An ICMPv6 socket's filter that passes solicitations alone: a set bit keeps a type away."""
TURN = BEAT / 2
"""Seconds between two looks at the clock."""


class Speaker:
    """Its sockets are in the namespace of this process, on one device."""

    def __init__(self, node: str, device: str) -> None:
        self._device, self._election = device, Election(node)
        self._arp = _packets(device, frames.ARP)
        self._beats = _packets(device, frames.BEATS)
        self._solicitations = _icmp6(device)
        self._own, self._index = b"", socket.if_nametoindex(device)
        self._groups: set[str] = set()
        self._told = 0.0
        self._state: list[str] | None = None

    def configure(self, text: str) -> None:
        conf = json.loads(text)
        self._election.configure(conf["addresses"], time.monotonic())
        self._join({one for one in conf["addresses"] if ":" in one})
        self.turn()
        _write(LOADED, text)

    def turn(self) -> None:
        """Takes over, gives up, tells the others, announces unasked: whatever it is time for."""
        now = time.monotonic()
        released = self._election.turn(now, self._look())
        if released or now - self._told >= BEAT:
            self._told = now
            self._tell(released)
        for address in self._election.due(now):
            self._announce(address)
        self._note()

    def serve(self, wake: socket.socket) -> None:
        """Until a byte of a signal comes."""
        with selectors.DefaultSelector() as selector:
            for one in filter(None, (self._arp, self._beats, self._solicitations, wake)):
                selector.register(one, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(TURN):
                    if key.fileobj is wake:
                        return
                    with contextlib.suppress(OSError):  # the device went down, or another one has the address
                        self._read(key.fileobj)
                self.turn()

    def end(self) -> None:
        """Others take over at once."""
        self._tell(self._election.announced)

    def _read(self, one: object) -> None:
        if self._solicitations is not None and one is self._solicitations:
            message, sender = self._solicitations.recvfrom(2048)
            address = frames.solicited(message)
            if address in self._election.announced:
                asker = sender[0].partition("%")[0]
                known = asker != "::"
                self._advertise(address, asker if known else frames.ALL_NODES, known)
        elif one is self._arp:
            frame, whence = self._arp.recvfrom(2048)
            request = frames.arp_request(frame, self._own) if whence[2] != socket.PACKET_OUTGOING else None
            if request is not None and request.target in self._election.announced:
                self._arp.send(frames.arp_reply(request, self._own))
        elif one is self._beats:
            frame, whence = self._beats.recvfrom(2048)
            said = frames.beat(frame) if whence[2] != socket.PACKET_OUTGOING else None
            if said is not None:
                self._election.hear(said.node, said.claims, said.releases, time.monotonic())

    def _look(self) -> bool:
        """Whether the device is up. Raises SystemExit where it is another one: these sockets hear nothing any more."""
        try:
            flags = struct.unpack_from("=H", self._asked(FLAGS), NAME)[0]
            own = self._asked(ADDRESS)[NAME + 2 : NAME + 8]
            index = socket.if_nametoindex(self._device)
        except OSError:
            return False
        if index != self._index or (self._own and own != self._own):
            raise SystemExit(f"{self._device} is another device now, or has another MAC")
        self._own = own
        return bool(flags & RUNNING == RUNNING)

    def _asked(self, what: int) -> bytes:
        return fcntl.ioctl(self._arp, what, struct.pack("16s24x", self._device.encode()))

    def _announce(self, address: str) -> None:
        with contextlib.suppress(OSError):
            if ":" in address:
                self._advertise(address, frames.ALL_NODES, asked=False)
            else:
                for frame in frames.gratuitous(address, self._own):
                    self._arp.send(frame)

    def _advertise(self, address: str, to: str, asked: bool) -> None:
        if self._solicitations is None:
            return
        index = socket.if_nametoindex(self._device)
        self._solicitations.sendto(frames.advertisement(address, self._own, asked), (to, 0, 0, index))

    def _tell(self, released: frozenset[str]) -> None:
        with contextlib.suppress(OSError):
            for frame in frames.beats(self._election.node, self._election.announced - released, released, self._own):
                self._beats.send(frame)

    def _join(self, addresses: set[str]) -> None:
        """The multicast groups at which an IPv6 address is asked for; one that cannot be had is not asked for."""
        if self._solicitations is None:
            return
        groups = {frames.group_of(one) for one in addresses}
        for group, option in [(one, socket.IPV6_JOIN_GROUP) for one in groups - self._groups] + [
            (one, socket.IPV6_LEAVE_GROUP) for one in self._groups - groups
        ]:
            with contextlib.suppress(OSError):
                wanted = socket.inet_pton(socket.AF_INET6, group)
                member = wanted + struct.pack("=I", socket.if_nametoindex(self._device))
                self._solicitations.setsockopt(socket.IPPROTO_IPV6, option, member)
        self._groups = groups

    def _note(self) -> None:
        announced = sorted(self._election.announced)
        if announced == self._state:
            return
        for address in sorted(set(announced) ^ set(self._state or ())):
            event = "serviceAnnounced" if address in announced else "serviceWithdrawn"
            moment = datetime.now(UTC).isoformat(timespec="milliseconds")
            sys.stdout.write(json.dumps({"ts": moment, "event": event, "ip": address, "protocol": "layer2"}) + "\n")
        sys.stdout.flush()
        self._state = announced
        _write(STATE, json.dumps({"announced": announced}))


def _packets(device: str, ethertype: int) -> socket.socket:
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    one.bind((device, ethertype))
    one.setblocking(False)
    return one


def _icmp6(device: str) -> socket.socket | None:
    """In a namespace without IPv6 it hears nothing; None where the kernel has no IPv6 at all."""
    try:
        one = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    one.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, _PASSED)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
    for option in (socket.IPV6_UNICAST_HOPS, socket.IPV6_MULTICAST_HOPS):
        one.setsockopt(socket.IPPROTO_IPV6, option, HOPS)
    one.setblocking(False)
    return one


def _write(file: Path, text: str) -> None:
    """Whole or not at all."""
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.replace(file)


def main() -> None:
    node, device = sys.argv[1:]
    LOADED.unlink(missing_ok=True)
    wake, signals = socket.socketpair()
    signals.setblocking(False)
    signal.set_wakeup_fd(signals.fileno())
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    speaker = Speaker(node, device)
    while True:
        speaker.configure(CONF.read_text())
        speaker.serve(wake)
        if set(wake.recv(64)) - {signal.SIGHUP}:
            break
    speaker.end()
    STATE.unlink(missing_ok=True)
    os._exit(0)
