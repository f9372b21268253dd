"""capture: packets as they pass, at several points of the lab at once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import (
    LabOption,
    NamespaceOption,
    OldProtocolOption,
    Protocol,
    as_json,
    client_of,
    complete_point,
    example,
    form_of,
    need_root,
)
from k8snetlab.errors import InputError

if TYPE_CHECKING:
    from k8snetlab.client.client import Client
    from k8snetlab.explain.capture import Count, Point, Sight

LONGEST = 262_144
"""Octets of a packet that fit into a file, as with tcpdump."""
HEADERS = 2_048
"""Octets that are looked at where nothing else is asked for."""
EXAMPLES = "capture client node1:flannel.1 'tcp port 80 and host 10.1.2.3' -w way.pcapng"


def register(app: typer.Typer) -> None:
    app.command(epilog=example(EXAMPLES))(capture)


def capture(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="POINT... [FILTER]",
            autocompletion=complete_point,
            help="POD or NODE, with :DEVICE for one of its devices; then what to show, in tcpdump's words.",
        ),
    ],
    file: Annotated[
        str | None,
        typer.Option("-w", "--write", metavar="FILE", help="Write a pcapng for Wireshark; - is standard output."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many packets.")] = None,
    old_count: Annotated[int | None, typer.Option("-c", min=1, hidden=True)] = None,
    protocol: Annotated[
        Protocol | None, typer.Option("-p", "--protocol", case_sensitive=False, help="Only packets of it.")
    ] = None,
    proto: OldProtocolOption = None,
    snaplen: Annotated[
        int, typer.Option("-s", "--snaplen", min=14, max=LONGEST, help="Octets to keep of each packet, with -w.")
    ] = LONGEST,
    namespace: NamespaceOption = "default",
    lab: LabOption = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FORM|FILE", help="json, an object a line; FILE.pcapng: as -w."),
    ] = None,
) -> None:
    """Show packets as they pass, a line each, with those that VXLAN carries; or write them into a file.

    Several points are merged by time. Ctrl-C ends it. A filter looks at a tunnelled packet too: `host`, `net`, `port`,
    `portrange` with src, dst; tcp, udp, icmp, icmp6, sctp, arp, ip, ip6, vxlan [VNI], ether host MAC,
    tcp[tcpflags] & tcp-syn != 0, inbound, outbound; and, or, not, ( ).
    """
    need_root("capture")
    if file and output:
        raise InputError("-w and -o are two forms of output", "choose one")
    count = count or old_count
    form = form_of(output, ("json", "pcapng")) if output else None
    if form and form.name == "pcapng":
        file, form = str(form.file or "-"), None
    named, wanted = split(words)
    if chosen := protocol or proto:
        only = "( icmp or icmp6 )" if chosen is Protocol.ICMP else chosen.value.lower()
        wanted = f"{only} and ( {wanted} )" if wanted else only
    if not named:
        raise InputError("capture needs a place to look at", EXAMPLES.join(("k8snetlab ", "")))
    from k8snetlab.capturing import expression
    from k8snetlab.explain import capture as room

    test = expression.parse(wanted)
    client = client_of(lab)
    points = room.find_points(client, named, namespace)
    reader = -1 if file and file != "-" else sys.stdout.fileno()
    ports = room.tunnel_ports(client)
    wish = room.Wish(test, ports, max(snaplen, HEADERS) if file else HEADERS, count, reader, not file or bool(wanted))
    counted = room.Count()
    with _sink(file, bool(form), client, points, wanted=wanted, snaplen=snaplen) as sink:
        for number, sights in enumerate(room.watch(points, wish, counted)):
            if number == 0:
                screen.say(f"listening at {', '.join(p.title for p in points)}; Ctrl-C ends it", err=True)
            sink.write(sights)
    if not counted.unread:
        _summary(counted, file, ports)


def split(words: Sequence[str]) -> tuple[list[str], str]:
    """The points, and the filter: it begins with the first word that only a filter has.

    A pod that is called like one of a filter's words is meant as `default/tcp` or `pod/tcp`.
    """
    from k8snetlab.capturing.expression import KEYWORDS

    for number, word in enumerate(words):
        if word in KEYWORDS or word[:1] in "!(" or any(sign in word for sign in " ["):
            return [*words[:number]], " ".join(words[number:])
    return [*words], ""


def _summary(count: Count, file: str | None, ports: Collection[int]) -> None:
    for place in count.gone:
        screen.say(f"{place} was taken down meanwhile", err=True)
    where = f" written to {file}" if file and file != "-" else ""
    text = f"{_packets(count.shown)}{where}"
    if count.shown != count.seen:
        text += f" of {count.seen} seen"
    screen.say(f"{text}; {count.dropped or 'none'} dropped by the kernel", err=True)
    if where:
        own = "".join(f" -d udp.port=={port},vxlan" for port in sorted(ports) if port != 4789)
        screen.say(f"wireshark{own} {file}", err=True)


def _packets(number: int) -> str:
    return f"{number} packet{'' if number == 1 else 's'}"


# --- where they go ----------------------------------------------------------------------------------------------------


class _Lines:
    """Text, or a JSON object a line."""

    def __init__(self, json: bool, devices: Sequence[str]) -> None:
        self._json = json
        self._width = max(map(len, devices))
        self._screen = screen.columns()

    def write(self, sights: Sequence[Sight]) -> None:
        from k8snetlab.cli import packets

        for sight in sights:
            if self._json:
                sys.stdout.write(as_json(packets.fields(sight)) + "\n")
            else:
                line = packets.line(sight, self._width)
                sys.stdout.write("\n".join(screen.fold(line, self._screen, 4)) + "\n")
        sys.stdout.flush()


class _File:
    """A pcapng. Devices that appear later are added as they are seen."""

    def __init__(
        self, file: BinaryIO, devices: Sequence[str], behind: Mapping[str, str], wanted: str, snaplen: int
    ) -> None:
        from k8snetlab import __version__
        from k8snetlab.capturing import pcapng

        self._file, self._behind, self._wanted, self._snaplen = file, behind, wanted, snaplen
        self._pcapng = pcapng
        self._numbers: dict[str, int] = {}
        file.write(pcapng.section(f"k8snetlab {__version__}"))
        for device in devices:
            self._number(device, True)
        file.flush()

    def write(self, sights: Sequence[Sight]) -> None:
        for sight in sights:
            seen = sight.seen
            number = self._number(sight.point, seen.framed)
            data = seen.data[: self._snaplen]
            self._file.write(self._pcapng.packet(number, seen.nanoseconds, data, seen.length, seen.outgoing))
        self._file.flush()

    def _number(self, point: str, framed: bool) -> int:
        known = self._numbers.get(point)
        if known is None:
            known = self._numbers[point] = len(self._numbers)
            link = self._pcapng.ETHERNET if framed else self._pcapng.RAW
            what = self._behind.get(point.rpartition(":")[2], "")
            self._file.write(self._pcapng.interface(point, self._snaplen, link, what, self._wanted))
        return known


@contextlib.contextmanager
def _sink(
    file: str | None, json: bool, client: Client, points: Sequence[Point], *, wanted: str, snaplen: int
) -> Iterator[_Lines | _File]:
    from k8snetlab.explain import capture as room

    devices = room.devices_of(points)
    if file is None:
        yield _Lines(json, devices)
    elif file == "-":
        if sys.stdout.isatty():
            raise InputError("-w - writes octets that are not for a terminal", "… -w - | wireshark -k -i -")
        yield _File(sys.stdout.buffer, devices, room.behind(client), wanted, snaplen)
    else:
        behind = room.behind(client)
        try:
            with Path(file).open("wb") as opened:
                yield _File(opened, devices, behind, wanted, snaplen)
        except OSError as error:
            raise InputError(f"cannot write {file}: {error.strerror}") from error
