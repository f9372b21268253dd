"""Packets of several points of a lab as they pass, until somebody ends it.

In the process that asked, not in the daemon: what it looks through ends with it, and a busy link costs nobody else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec

from k8snetlab.api.snapshot import ALIKE
from k8snetlab.capturing.expression import KEYWORDS
from k8snetlab.capturing.predicates import Subject, Test, layers
from k8snetlab.dataplane import names
from k8snetlab.dataplane.packet import TUNNEL_PORTS, Packet, decode, ethernet
from k8snetlab.errors import NotFoundError, UnsupportedError
from k8snetlab.kernel.capture import Capture, Seen, devices
from k8snetlab.messages.places import RESOLVE, Resolve
from k8snetlab.wording import nearest

if TYPE_CHECKING:
    from k8snetlab.client.client import Client

PERIOD = 1.0
"""Seconds between two looks for whether the places are still there."""


class Point(msgspec.Struct, frozen=True):
    """Where to look: `device` of the place's network namespace, "" for each of them."""

    place: str
    netns: str
    device: str = ""

    @property
    def title(self) -> str:
        return f"{self.place}:{self.device}" if self.device else self.place


class Sight(msgspec.Struct, frozen=True):
    """A packet seen. `point` is "PLACE:DEVICE"; `packet` None for what cannot be read."""

    point: str
    netns: str
    seen: Seen
    packet: Packet | None


class Count(msgspec.Struct):
    """`seen` packets passed, `shown` of them matched the filter, `dropped` the kernel could not keep; `gone` names the
    places that were taken down meanwhile; `unread`: it ended because nobody reads the output any more."""

    seen: int = 0
    shown: int = 0
    dropped: int = 0
    gone: list[str] = []
    unread: bool = False


def find_points(client: Client, words: Sequence[str], namespace: str) -> list[Point]:
    """Of words as `node1`, `node1:flannel.1`, `default/client:eth0`. A place named whole takes its single devices in.

    Raises NotFoundError, UnsupportedError for a place of another machine.
    """
    found: dict[tuple[str, str], Point] = {}
    for word in words:
        name, _, device = word.partition(":")
        try:
            place = client.call(RESOLVE, Resolve(name, "" if "/" in name else namespace))
        except NotFoundError as error:
            filters = "a filter begins with a word as tcp, host or port; `k8snetlab get pods -A` lists pods"
            hint = nearest(name, sorted(KEYWORDS)) or error.hint
            raise NotFoundError(
                error.message, f"{hint}; {filters}" if hint else f"POINT... FILTER: {filters}"
            ) from None
        if place.machine:
            raise UnsupportedError(
                f"{name} is on another machine, {place.machine}: its packets are seen there only",
                f"`ssh {place.machine.partition(' ')[0]}`, then `k8snetlab capture {word}`; "
                f"`k8snetlab exec {name} -- tcpdump -l -ni {device or 'any'}` shows it from here",
            )
        short, space = place.name, place.namespace
        title = short if space in ("", "default") else f"{space}/{short}"
        known = devices(place.netns)
        if device and device not in known:
            hint = nearest(device, known, f"its devices: {', '.join(known)}", ALIKE)
            raise NotFoundError(f"{title} has no device {device!r}", hint)
        found.setdefault((place.netns, device), Point(title, place.netns, device))
    return [point for (inside, device), point in found.items() if not device or (inside, "") not in found]


def tunnel_ports(client: Client) -> frozenset[int]:
    """UDP ports that VXLAN packets of this lab come to."""
    own = [lab.get("spec", {}).get("network", {}).get("port") for lab in client.list("Lab")]
    return frozenset((*TUNNEL_PORTS, *(port for port in own if port)))


class Wish(msgspec.Struct, frozen=True):
    """What to look for: `test` of a packet, `octets` to keep of each, `most` packets (None: no end). `ports` are those
    of VXLAN. `output` is the file descriptor whose reader may go away, -1 for none. Without `reading` a packet is only
    kept, not read, which is quicker: `test` must let all through then."""

    test: Test
    ports: frozenset[int]
    octets: int
    most: int | None = None
    output: int = -1
    reading: bool = True


def watch(points: Sequence[Point], wish: Wish, count: Count) -> Iterator[list[Sight]]:
    """Packets by time, in batches; the first one is empty and tells that it has begun. `count` is kept up to date.

    Ends after `most` packets, at SIGINT or SIGTERM, when whoever reads `output` has gone, or when every place was taken
    down. Call it from the main thread.
    """
    looked, over = time.monotonic(), False
    taps = [(point.netns, point.device) for point in points]
    with Capture(taps, wish.octets) as capture, _interruptions() as interrupted:
        capture.also(interrupted)
        if wish.output >= 0:
            capture.also(wish.output, 0)
        yield []
        while not over:
            found, ready = capture.read(PERIOD)
            if time.monotonic() - looked >= PERIOD:
                looked = time.monotonic()
                count.gone += [points[number].title for number in capture.vanished()]
            count.unread = wish.output in ready
            over = bool(ready) or not capture.open
            if over and not count.unread:
                found += capture.rest()
            count.dropped = capture.dropped()
            if sights := list(_matching(points, found, wish, count)):
                yield sights
            over = over or count.shown == wish.most


def _matching(points: Sequence[Point], found: Sequence[Seen], wish: Wish, count: Count) -> Iterator[Sight]:
    for seen in found:
        if count.shown == wish.most:
            return
        count.seen += 1
        read = ethernet if seen.framed else decode
        packet = read(seen.data, wish.ports) if wish.reading else None
        if wish.test(Subject(layers(packet) if packet else (), seen.outgoing, seen.length)):
            count.shown += 1
            point = points[seen.tap]
            yield Sight(f"{point.place}:{seen.device}", point.netns, seen, packet)


@contextlib.contextmanager
def _interruptions() -> Iterator[int]:
    """A file descriptor that becomes readable when the user has had enough."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writer, b"\0")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def devices_of(points: Sequence[Point]) -> list[str]:
    """ "PLACE:DEVICE" of every device that there is now at the points."""
    return [f"{p.place}:{device}" for p in points for device in ([p.device] if p.device else devices(p.netns))]


def behind(client: Client) -> dict[str, str]:
    """Which pod is behind a node's device, by the device's name."""
    pods = [pod["metadata"] for pod in client.list("Pod")]
    return {
        device: f"to pod {p['namespace']}/{p['name']}"
        for p in pods
        for device in (names.veth(p["namespace"], p["name"], _run_uid(p)), names.cali(p["namespace"], p["name"]))
    }


def _run_uid(metadata: dict[str, Any]) -> str:
    """As `Pod.run_uid`."""
    from k8snetlab.api.core import MIRROR

    static: str = metadata.get("annotations", {}).get(MIRROR, "")
    return static or str(metadata["uid"])
