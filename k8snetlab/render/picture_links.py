"""Where the routers and links of a picture stand: rows below the first router, as many links away as the row says.

Links with nodes stand in the last row, one column for each. A line that passes a row of others has a place of its own
in it, so that it goes between them. Sizes are in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from zlib import crc32

import msgspec

from k8snetlab.dataplane.names import ROUTER
from k8snetlab.render.canvas import LINE, PAD, Box, Point, text_width
from k8snetlab.render.picture_boxes import LinkBox, Picture

BETWEEN, BELOW = 26.0, 44.0
"""The room between two of a row, and between rows."""
PASSING = 6.0
"""The width of a line's place."""
SWEEPS, TRIALS = 6, 16

Key = tuple[str, str]
""" ("router", name), ("link", name), or ("line", ...) for the place of a line that passes."""
TOP: Key = ("router", ROUTER)


class Line(msgspec.Struct, frozen=True):
    """From a router to a link, by way of the points."""

    router: str
    link: str
    points: tuple[Point, ...]


class Layout(msgspec.Struct, frozen=True):
    """Of everything below the first router."""

    boxes: Mapping[Key, Box]
    lines: tuple[Line, ...]
    bottom: float
    """Of the last row, or of the first router where there is none."""


def texts(picture: Picture) -> dict[Key, tuple[str, ...]]:
    """What each box says, but for the first router's."""
    found = {("router", one.name): one.lines for one in picture.routers if one.name != ROUTER}
    return found | {("link", link.name): told(link) for link in picture.links}


def told(link: LinkBox) -> tuple[str, ...]:
    """What a link's box says."""
    return (link.name, link.network, *filter(None, (link.counts,)))


def width(picture: Picture, columns: Mapping[str, float]) -> float:
    """That the widest row takes; `columns` as for `laid_out`."""
    sizes = _widths(picture, columns)
    return max((_span(row, sizes) for row in _rows(picture)[0][1:]), default=0.0)


def laid_out(picture: Picture, top: Box, middle: float, columns: Mapping[str, float]) -> Layout:
    """`top` is the first router's box; `columns` is how wide the nodes of a link are, by its name."""
    rows, paths = _rows(picture)
    said, sizes = texts(picture), _widths(picture, columns)
    boxes: dict[Key, Box] = {TOP: top}
    floors = [top.bottom]
    y = top.bottom + BELOW
    for row in rows[1:]:
        x = middle - _span(row, sizes) / 2
        tall = max((2 * PAD + LINE * len(said[key]) - 4 for key in row if key in said), default=0.0)
        for key in row:
            own = 2 * PAD + LINE * len(said[key]) - 4 if key in said else tall
            least = max(map(text_width, said[key])) if key in said else PASSING
            boxes[key] = Box(x + (sizes[key] - least) / 2, y, least, own)
            x += sizes[key] + BETWEEN
        floors.append(y + tall)
        y += tall + BELOW
    level = {key: number for number, row in enumerate(rows) for key in row}
    lines = tuple(_line(path, boxes, floors, level, paths.values()) for path in paths.values())
    return Layout(boxes, lines, floors[-1])


def _line(
    path: Sequence[Key],
    boxes: Mapping[Key, Box],
    floors: Sequence[float],
    level: Mapping[Key, int],
    paths: Iterable[Sequence[Key]],
) -> Line:
    """From top to bottom; at a box it begins beside the others that do."""
    steps = [step for one in paths for step in pairwise(one)]
    points: list[Point] = []
    for upper, lower in pairwise(path):
        below = sorted((low for up, low in steps if up == upper), key=lambda key: boxes[key].middle)
        above = sorted((up for up, low in steps if low == lower), key=lambda key: boxes[key].middle)
        x = _beside(boxes[upper], below.index(lower), len(below))
        points += [(x, boxes[upper].bottom), (x, floors[level[upper]])]
        points.append((_beside(boxes[lower], above.index(upper), len(above)), boxes[lower].y))
    router = next(name for kind, name in (path[0], path[-1]) if kind == "router")
    link = next(name for kind, name in (path[0], path[-1]) if kind == "link")
    return Line(router, link, tuple(points))


def _beside(box: Box, number: int, count: int) -> float:
    return box.x + box.width * (number + 1) / (count + 1)


def _widths(picture: Picture, columns: Mapping[str, float]) -> dict[Key, float]:
    found = {key: max(map(text_width, said)) for key, said in texts(picture).items()}
    for link in picture.links:
        if link.nodes:
            found["link", link.name] = max(found["link", link.name], columns.get(link.name, 0.0))
    for row in _rows(picture)[0]:
        found |= {key: PASSING for key in row if key[0] == "line"}
    return found


def _span(row: Sequence[Key], sizes: Mapping[Key, float]) -> float:
    return sum(sizes[key] for key in row) + BETWEEN * (len(row) - 1)


def _rows(picture: Picture) -> tuple[list[list[Key]], dict[tuple[str, str], tuple[Key, ...]]]:
    """The rows from the first router on, and for each (router, link) what its line passes, from above."""
    levels = _levels(picture)
    rows: list[list[Key]] = [[] for _ in range(max(levels.values()) + 1)]
    for key, level in levels.items():
        rows[level].append(key)
    paths: dict[tuple[str, str], tuple[Key, ...]] = {}
    for link in picture.links:
        for name, _ in link.routers:
            ends: tuple[Key, Key] = (("router", name), ("link", link.name))
            high, low = sorted(ends, key=levels.__getitem__)
            passed: list[Key] = [("line", f"{name}:{link.name}:{n}") for n in range(levels[high] + 1, levels[low])]
            for number, key in enumerate(passed, levels[high] + 1):
                rows[number].append(key)
            paths[name, link.name] = (high, *passed, low)
    return _ordered(rows, paths.values()), paths


def _levels(picture: Picture) -> dict[Key, int]:
    """How far each is below the first router. All are reached from there."""
    found: dict[Key, int] = {TOP: 0}
    queue = [TOP]
    while queue:
        kind, name = queue.pop(0)
        for link in picture.links:
            on_it = [router for router, _ in link.routers]
            near: list[Key] = [("router", router) for router in on_it if kind == "link" and name == link.name]
            near += [("link", link.name)] if kind == "router" and name in on_it else []
            for key in near:
                if key not in found:
                    found[key] = found[kind, name] + 1
                    queue.append(key)
    ends = {("link", link.name) for link in picture.links if link.nodes}
    last = max((level for key, level in found.items() if key not in ends), default=0) + 1
    return {key: last if key in ends else level for key, level in found.items()}


def _ordered(rows: list[list[Key]], paths: Iterable[Sequence[Key]]) -> list[list[Key]]:
    """Each row so that few lines cross: members near those that they have lines to (barycentres, row by row), from
    several beginnings, always the same ones."""
    near: dict[Key, set[Key]] = {}
    for path in paths:
        for upper, lower in pairwise(path):
            near.setdefault(upper, set()).add(lower)
            near.setdefault(lower, set()).add(upper)
    best, fewest = rows, _crossings(rows, near)
    for trial in range(TRIALS):
        rows = [[*row] for row in rows]
        for row in rows if trial else []:
            row.sort(key=partial(_mixed, trial))
        for sweep in range(SWEEPS):
            _sweep(rows, near, down=sweep % 2 == 0)
            if (found := _crossings(rows, near)) < fewest:
                best, fewest = [[*row] for row in rows], found
        if not fewest:
            break
    return best


def _mixed(trial: int, key: Key) -> int:
    """An order that has nothing to do with names, another one each time."""
    return crc32(f"{trial} {key}".encode())


def _sweep(rows: list[list[Key]], near: Mapping[Key, set[Key]], *, down: bool) -> None:
    for number in range(1, len(rows)) if down else range(len(rows) - 2, 0, -1):
        beside = rows[number - 1 if down else number + 1]
        place = {key: (at + 1) / (len(beside) + 1) for at, key in enumerate(beside)}
        where = {}
        for at, key in enumerate(rows[number]):
            known = [place[other] for other in near.get(key, ()) if other in place]
            where[key] = sum(known) / len(known) if known else (at + 1) / (len(rows[number]) + 1)
        rows[number].sort(key=where.__getitem__)


def _crossings(rows: Sequence[Sequence[Key]], near: Mapping[Key, set[Key]]) -> int:
    """How many pairs of lines cross."""
    count = 0
    for upper, lower in pairwise(rows):
        place = {key: at for at, key in enumerate(lower)}
        ends = [sorted(place[other] for other in near.get(key, ()) if other in place) for key in upper]
        before: list[int] = []
        for end in ends:
            count += sum(1 for one in before for other in end if one > other)
            before += end
    return count
