"""A picture as SVG, laid out by simple rules: outside and router on top, nodes in rows below, Services at the foot.

Background and boxes are light, so that it can be read in a dark viewer too; what is broken is red. Which pods serve a
Service is told by numbered dots, not by lines: they would cross everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from k8snetlab.dataplane.names import BRIDGE, ROUTER
from k8snetlab.render import picture_links
from k8snetlab.render.canvas import (
    ALARM,
    DOT,
    DOTS,
    LINE,
    PAD,
    SOFT,
    WIRE,
    Box,
    Canvas,
    Point,
    text_width,
)
from k8snetlab.render.picture_boxes import LinkBox, NodeBox, Picture, PodBox, ServiceBox
from k8snetlab.wording import counted

GAP = 14
MARGIN = 24
RAIL = 18
"""The room to the left of a column of pods, where the line from the bridge runs."""
NODES_IN_A_ROW = 3
PODS_IN_A_COLUMN = 6
SESSION = 5.0
"""How far the line of BGP's sessions is beside that of the link which they go by."""
TUNNEL_LEVEL, COLUMN = 24.0, 58.0
"""How far below the last row of links the line of tunnels runs, and a column of nodes begins."""
PODS_DRAWN = 36
ENDPOINTS_NAMED = SESSIONS_NAMED = 6
ALARMS_NAMED, ALARM_LENGTH = 6, 140


def svg(picture: Picture) -> str:
    """The whole file."""
    return _Drawing(picture).draw()


class _Drawing:
    """Places one thing after another, from top to bottom; lines are below boxes."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._canvas = Canvas()
        pods = [pod for node in picture.nodes for pod in node.pods]
        self._pod = Box(0, 0, _pod_width(pods), 2 * PAD + LINE * (1 + max((len(p.addresses) for p in pods), default=1)))
        self._columns = max((_columns(node) for node in picture.nodes), default=1)
        chips = [text_width(_port(node)) + GAP + text_width(_tunnel(node)) for node in picture.nodes]
        rails = self._columns * RAIL + (self._columns - 1) * GAP
        inner = max(
            [
                self._columns * self._pod.width + rails,
                *chips,
                *(text_width(_bridge(node)) for node in picture.nodes),
                *(text_width(_title(node)) + 2 * PAD for node in picture.nodes),
            ]
        )
        self._pod = msgspec.structs.replace(self._pod, width=(inner - rails) / self._columns)
        self._node_width = inner + 2 * GAP
        per_row = min(NODES_IN_A_ROW, max(1, len(picture.nodes)))
        nodes = per_row * self._node_width + (per_row - 1) * 2 * GAP + 4 * MARGIN
        hosts = [line for host in picture.hosts for line in host.lines]
        widest = max(map(text_width, (*_backend(picture), *hosts)))
        beside = max(map(text_width, _router(picture))) / 2 + 2 * GAP + widest + MARGIN
        self._columns_of = {link.name: self._node_width + 2 * MARGIN for link in picture.links if link.nodes}
        if picture.links:
            nodes = picture_links.width(picture, self._columns_of) + 4 * MARGIN
        self._width = max(nodes, 2 * beside)
        self._label = self._top = Box(0, 0, 0, 0)

    def draw(self) -> str:
        bus = self._world()
        nodes = self._links(bus) if self._picture.links else self._nodes(bus)
        bottom = self._alarms(self._services(nodes))
        return self._canvas.text_of(f"lab {self._picture.lab}", self._width, bottom)

    # --- outside and router ---

    def _world(self) -> float:
        """Returns where the underlay's line runs; with several links where the first router's box ends."""
        picture, middle, top = self._picture, self._width / 2, float(MARGIN)
        if picture.outside:
            outside = self._canvas.framed("world", middle, top, [("outside", True), *_plain(picture.outside)])
            top = outside.bottom + 24
            self._canvas.wire((middle, outside.bottom), (middle, top))
        router = [("router" if picture.router else "network", True), *_plain(_router(picture))]
        box = self._canvas.framed("world", middle, top, router)
        label = _plain(_backend(picture))
        center = self._width - MARGIN - max(text_width(text) for text, _ in label) / 2
        self._label = self._canvas.framed("tunnel" if picture.tunnelled else "chip", center, top, label)
        bottom = max(box.bottom, self._hosts(box))
        if picture.links:
            self._top = box
            return max(bottom, self._label.bottom)
        self._canvas.wire((middle, box.bottom), (middle, bottom + 20))
        return bottom + 20

    def _hosts(self, router: Box) -> float:
        """The other hosts outside, below each other at the router's side; returns their lowest point."""
        bottom = router.y
        for host in self._picture.hosts:
            center = MARGIN + max(map(text_width, host.lines)) / 2 + PAD
            text = [(host.name, True), *_plain(host.lines[1:])]
            box = self._canvas.framed("world", center, bottom, text)
            level = min(box.y + PAD, router.bottom - PAD / 2)
            self._canvas.wire((box.right, box.y + PAD), (router.x, level))
            bottom = box.bottom + GAP
        return bottom - GAP if self._picture.hosts else 0.0

    # --- several links ---

    def _links(self, floor: float) -> float:
        """Routers and links in rows, and below each link its nodes in a column; returns the lowest point."""
        picture, canvas = self._picture, self._canvas
        top = msgspec.structs.replace(self._top, height=max(self._top.height, floor - self._top.y))
        placed = picture_links.laid_out(picture, top, self._width / 2, self._columns_of)
        down = {(name, link.name) for link in picture.links for name in link.down}
        for line in placed.lines:
            first, *rest = line.points
            start = (first[0], self._top.bottom) if first[1] == top.bottom else first
            self._led((start, *rest), (line.router, line.link) in down)
        for key, said in picture_links.texts(picture).items():
            box = placed.boxes[key]
            canvas.framed(
                "world" if key[0] == "router" else "chip", box.middle, box.y, [(said[0], True), *_plain(said[1:])]
            )
        lowest = placed.bottom
        rails: list[float] = []
        for link in picture.links:
            if link.nodes:
                low, rail = self._column(link, placed.boxes["link", link.name], placed.bottom)
                lowest, rails = max(lowest, low), [*rails, rail]
        if picture.tunnelled and rails:
            level = placed.bottom + TUNNEL_LEVEL
            canvas.wire((min(rails), level), (max(rails), level), tunnel=True)
        return lowest

    def _led(self, points: Sequence[Point], broken: bool = False, down: float = 0.0) -> None:
        """A link's line, and beside it (or so far below) that of the sessions which go by it."""
        for one, other in pairwise(points):
            self._canvas.wire(one, other, broken=broken)
            if self._picture.sessions:
                beside = [(x + SESSION, y + down) for x, y in (one, other)]
                self._canvas.wire(beside[0], beside[1], session=True)

    def _column(self, link: LinkBox, chip: Box, top: float) -> tuple[float, float]:
        """The nodes of a link below each other. Returns the lowest point, and where their tunnels' line runs."""
        x = chip.middle - self._node_width / 2
        rail, tunnels, level = x - MARGIN / 2, x + self._node_width + MARGIN / 2, top + TUNNEL_LEVEL
        y, bus = top + COLUMN, top + COLUMN
        for number in link.nodes:
            node = self._picture.nodes[number]
            bus = y - 10
            port, tunnel = self._node(node, x, y, bus, y - 18)
            self._led(((rail, bus), (port - SESSION, bus)), down=SESSION)
            self._canvas.wire((port - SESSION, bus), (port, bus))
            if self._picture.tunnelled:
                self._canvas.wire((tunnel, y - 18), (tunnels, y - 18), tunnel=True)
            y += self._node_height(node) + 34
        self._led(((chip.x + 14, chip.bottom), (chip.x + 14, top + 12), (rail, top + 12), (rail, bus)), down=SESSION)
        if self._picture.tunnelled:
            self._canvas.wire((tunnels, level), (tunnels, y - 34 - self._node_height(node) - 18), tunnel=True)
        return y - 10, tunnels

    # --- nodes ---

    def _nodes(self, bus: float) -> float:
        """All rows of nodes below the line at `bus`; returns the lowest point."""
        nodes, left, right = self._picture.nodes, MARGIN, self._width - MARGIN
        rows = [nodes[i : i + NODES_IN_A_ROW] for i in range(0, len(nodes), NODES_IN_A_ROW)]
        buses: list[tuple[float, float]] = []
        y = bus
        for row in rows:
            tunnel = y + 22
            top = tunnel + (30 if self._picture.tunnelled else 10)
            span = len(row) * self._node_width + (len(row) - 1) * 2 * GAP
            x = (self._width - span) / 2
            ends = []
            for node in row:
                ends.append(self._node(node, x, top, y, tunnel))
                x += self._node_width + 2 * GAP
            first, last = min(port for port, _ in ends), max(port for port, _ in ends)
            first, last = (left if len(rows) > 1 else first), max(last, self._width / 2)
            self._canvas.wire((min(first, self._width / 2), y), (last, y), thick=True)
            if self._picture.tunnelled:
                end = right if len(rows) > 1 else max(ends[-1][1], self._label.x + GAP)
                self._canvas.wire((ends[0][1], tunnel), (end, tunnel), tunnel=True)
                if row is rows[0]:
                    end = min(end, self._label.right - GAP)
                    self._canvas.wire((end, self._label.bottom), (end, tunnel), tunnel=True)
            buses.append((y, tunnel))
            y = top + max(self._node_height(node) for node in row) + 34
        if len(rows) > 1:
            self._canvas.wire((left, buses[0][0]), (left, buses[-1][0]), thick=True)
            if self._picture.tunnelled:
                self._canvas.wire((right, buses[0][1]), (right, buses[-1][1]), tunnel=True)
        return y - 10

    def _node(self, node: NodeBox, x: float, y: float, bus: float, tunnel: float) -> tuple[float, float]:
        """Returns where its line meets the underlay's, and where its tunnel's does."""
        box = Box(x, y, self._node_width, self._node_height(node))
        hurt = node.is_broken("")
        self._canvas.rect(box, "node", stroke=ALARM if hurt else WIRE)
        name = _title(node)
        self._canvas.text(box.middle, y + 20, name, bold=True, anchor="middle", colour=ALARM if hurt else "")
        inside, chips = x + GAP, y + 32
        port = self._canvas.chip("chip", inside, chips, _port(node), node.is_broken(node.uplink))
        ends = port.x + 14, 0.0
        self._canvas.wire((ends[0], bus), (ends[0], y))
        self._canvas.over((ends[0], y), (ends[0], port.y))
        bridge = Box(inside, chips + 24 + GAP, box.width - 2 * GAP, 24)
        if self._picture.tunnelled:
            text = _tunnel(node)
            down = any(node.is_broken(tunnel.split()[0]) for tunnel in node.tunnel)
            device = self._canvas.chip("tunnel", box.right - GAP - text_width(text), chips, text, down)
            ends = ends[0], device.right - 14
            self._canvas.wire((ends[1], tunnel), (ends[1], y), tunnel=True)
            self._canvas.over((ends[1], y), (ends[1], device.y), tunnel=True)
            self._canvas.over((device.x, device.y + 12), (port.right, port.y + 12), tunnel=True)
            self._canvas.over((device.middle, device.bottom), (device.middle, bridge.y))
        else:
            self._canvas.over((port.middle, port.bottom), (port.middle, bridge.y))
        down = node.is_broken(BRIDGE)
        self._canvas.rect(bridge, "broken" if down else "bridge", stroke=ALARM if down else WIRE)
        self._canvas.text(bridge.middle, bridge.y + 16, _bridge(node), anchor="middle", colour=ALARM if down else "")
        self._pods(node, inside, bridge.bottom)
        return ends

    def _node_height(self, node: NodeBox) -> float:
        rows = -(-_drawn(node) // _columns(node))
        return 32 + 24 + GAP + 24 + rows * (self._pod.height + 8) + GAP + (LINE if len(node.pods) > PODS_DRAWN else 0)

    def _pods(self, node: NodeBox, x: float, y: float) -> None:
        columns = _columns(node)
        rows = -(-_drawn(node) // columns)
        for place, pod in enumerate(node.pods[:PODS_DRAWN]):
            column, row = divmod(place, max(1, rows))
            left = x + column * (self._pod.width + RAIL + GAP) + RAIL
            top = y + 8 + row * (self._pod.height + 8)
            box = Box(left, top, self._pod.width, self._pod.height)
            if not pod.host:
                self._canvas.over((left - RAIL / 2, y), (left - RAIL / 2, top + box.height / 2))
                self._canvas.over((left - RAIL / 2, top + box.height / 2), (left, top + box.height / 2))
            self._pod_box(pod, box)
        if len(node.pods) > PODS_DRAWN:
            low = y + 8 + rows * (self._pod.height + 8) + 12
            self._canvas.text(x, low, f"and {counted(len(node.pods) - PODS_DRAWN, 'more pod')}", soft=True)

    def _pod_box(self, pod: PodBox, box: Box) -> None:
        kind, stroke = ("broken", ALARM) if pod.broken else ("pod", WIRE)
        self._canvas.rect(box, kind, title=pod.name, stroke=stroke)
        self._canvas.text(box.x + PAD, box.y + PAD + 10, _pod_title(pod), colour=ALARM if pod.broken else "")
        addresses = ("the node's network",) if pod.host else pod.addresses or ("no address yet",)
        for number, address in enumerate(addresses, 1):
            self._canvas.text(box.x + PAD, box.y + PAD + 10 + LINE * number, address, soft=True)
        for place, service in enumerate(pod.services):
            self._canvas.dot(box.right - PAD - DOT / 2 - place * (DOT + 3), box.bottom - PAD - DOT / 2 + 3, service)

    # --- Services ---

    def _services(self, y: float) -> float:
        """Boxes from left to right in lines; returns the picture's height."""
        x, lowest = 2.0 * MARGIN, y
        for number, service in enumerate(self._picture.services):
            lines = _service_lines(service)
            width = max(text_width(text) for text, _ in lines) + (DOT + 6)
            if x > 2 * MARGIN and x + width > self._width - 2 * MARGIN:
                x, y = 2.0 * MARGIN, lowest + GAP
            box = Box(x, y, width, 2 * PAD + LINE * len(lines) - 2)
            kind, stroke = ("broken", ALARM) if service.broken else ("service", DOTS[number % len(DOTS)])
            self._canvas.rect(box, kind, stroke=stroke)
            self._canvas.dot(x + PAD + DOT / 2, y + PAD + DOT / 2 - 2, number)
            for row, (text, colour) in enumerate(lines):
                left = x + PAD + (DOT + 6)
                self._canvas.text(left, y + PAD + 10 + LINE * row, text, bold=not row, colour=colour)
            x, lowest = box.right + GAP, max(lowest, box.bottom)
            self._width = max(self._width, box.right + 2 * MARGIN)
        return lowest + MARGIN

    def _alarms(self, y: float) -> float:
        """What is broken, in words; returns the picture's height."""
        alarms = self._picture.alarms[:ALARMS_NAMED]
        if not alarms:
            return y
        rows = [("broken:", True), *((f"{n}. {text}", False) for n, text in enumerate(_wrapped(alarms), 1))]
        if len(self._picture.alarms) > len(alarms):
            rows.append((f"and {len(self._picture.alarms) - len(alarms)} more", False))
        width = max(text_width(text) for text, _ in rows)
        box = Box(2 * MARGIN, y - GAP, width, 2 * PAD + LINE * len(rows) - 2)
        self._canvas.rect(box, "broken", stroke=ALARM)
        for row, (text, bold) in enumerate(rows):
            self._canvas.text(box.x + PAD, box.y + PAD + 10 + LINE * row, text, bold=bold, colour=ALARM)
        self._width = max(self._width, box.right + 2 * MARGIN)
        return box.bottom + MARGIN


def _wrapped(alarms: Sequence[str]) -> list[str]:
    """Each in one line, not wider than a picture may be."""
    return [text if len(text) <= ALARM_LENGTH else f"{text[:ALARM_LENGTH]}…" for text in alarms]


def _plain(texts: Iterable[str]) -> list[tuple[str, bool]]:
    return [(text, False) for text in texts]


def _router(picture: Picture) -> list[str]:
    if picture.links:
        return [line for box in picture.routers[:1] for line in box.lines[1:]]
    return [*picture.router, f"nodes' network {', '.join(picture.underlay)}"]


def _backend(picture: Picture) -> list[str]:
    """The backend's words in two lines."""
    first, comma, rest = picture.backend.rpartition(", ")
    return [first + comma.rstrip(), rest, *_sessions(picture)]


def _sessions(picture: Picture) -> list[str]:
    """Of BGP: who has them, in words where lines would cross everything."""
    told = picture.sessions
    if picture.links:
        return ["BGP (dashed): between all on a link"] if told else []
    ends = dict.fromkeys(name for one in told for name in (one.one, one.other))
    if told and len(told) == len(ends) * (len(ends) - 1) // 2 and len(ends) > 2:
        router = " and the router" if ROUTER in ends else ""
        return [f"{told[0].words.partition(',')[0]} sessions: every two nodes{router}"]
    lines = [f"{one.one} and {one.other}: {one.words}" for one in told[:SESSIONS_NAMED]]
    return [*lines, *([f"and {counted(len(told) - len(lines), 'more session')}"] if len(told) > len(lines) else [])]


def _title(node: NodeBox) -> str:
    return node.name + (f", AS {node.number}" if node.number else "") + (" (broken)" if node.is_broken("") else "")


def _port(node: NodeBox) -> str:
    return " ".join([node.uplink, *node.addresses])


def _tunnel(node: NodeBox) -> str:
    return ", ".join(node.tunnel)


def _bridge(node: NodeBox) -> str:
    return " ".join([node.joint, *node.bridge])


def _drawn(node: NodeBox) -> int:
    return min(len(node.pods), PODS_DRAWN)


def _columns(node: NodeBox) -> int:
    return max(1, -(-_drawn(node) // PODS_IN_A_COLUMN))


def _pod_width(pods: Sequence[PodBox]) -> float:
    """Wide enough for every name, and for every address with its pod's dots beside it."""
    widths = [text_width(_pod_title(pod)) for pod in pods]
    widths += [text_width(a) + GAP + (DOT + 3) * len(pod.services) for pod in pods for a in pod.addresses]
    return max([150.0, *widths])


def _pod_title(pod: PodBox) -> str:
    return f"{pod.name} ({pod.broken})" if pod.broken else pod.name


def _service_lines(service: ServiceBox) -> list[tuple[str, str]]:
    """Text and colour of each line of a Service's box."""
    lines = [(f"Service {service.name}", ""), *((text, "") for text in service.addresses)]
    named = service.endpoints[:ENDPOINTS_NAMED]
    lines += [(f"→ {end}{' (no pod)' if end in service.foreign else ''}", SOFT) for end in named]
    if len(service.endpoints) > len(named):
        lines.append((f"→ and {len(service.endpoints) - len(named)} more", SOFT))
    if not service.endpoints:
        lines.append(("no endpoints", ALARM))
    return lines
