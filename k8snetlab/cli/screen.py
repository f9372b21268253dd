"""What fits on the screen: lines are folded at a terminal's width, and never where a program reads them."""

from __future__ import annotations

import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import typer

from k8snetlab.cli.outlet import printable

NARROWEST = 40
"""Columns below which nothing is folded any further."""
_SGR = re.compile(r"\x1b\[[0-9;]*m")
_WORDS = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
"""A shell's words, with their quotes."""


def columns(err: bool = False) -> int | None:
    """The width of the terminal that is written to; None where it is none: in a pipe or a file lines stay whole, for
    grep."""
    if not (sys.stderr if err else sys.stdout).isatty():
        return None
    return max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def lines_high() -> int:
    """How many lines the terminal shows."""
    return shutil.get_terminal_size((80, 24)).lines


def cells(text: str) -> int:
    """How many columns a text takes: colours none, East Asian wide letters two."""
    plain = _SGR.sub("", text)
    if plain.isascii():
        return len(plain)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in plain)


def fold(line: str, width: int | None, hang: int | None = None) -> list[str]:
    """The line in pieces of at most `width` cells, cut between words, the later ones `hang` cells in (left out: two
    more than the line itself). A word that is longer than a line is cut after , / - or, where it has none, anywhere."""
    if width is None or cells(line) <= width:
        return [line]
    start = len(line) - len(line.lstrip(" "))
    begin = " " * min(start + 2 if hang is None else hang, width // 2)
    found: list[str] = []
    now, empty = line[:start], True
    for gap, word in re.findall(r"( *)([^ ]+)", line[start:]):
        rest = word
        if empty or cells(now + gap + rest) <= width:
            now += gap
        else:
            found.append(now)
            now, empty = begin, True
        while cells(now + rest) > width:
            piece, rest = _cut(rest, width - cells(now))
            found.append(now + piece)
            now = begin
        now, empty = now + rest, False
    return [*found, now]


def _cut(word: str, room: int) -> tuple[str, str]:
    """The word's beginning that fits, and the rest; a colour is not cut."""
    best, at, taken = 0, 0, 0
    while at < len(word):
        if code := _SGR.match(word, at):
            at = code.end()
            continue
        taken += cells(word[at])
        if taken > room:
            break
        at += 1
        if word[at - 1] in ",/-=" and taken > room // 2:
            best = at
    return word[: best or max(at, 1)], word[best or max(at, 1) :]


def command(text: str, width: int | None, indent: str = "", first: str | None = None) -> list[str]:
    r"""A shell's command in lines that can be copied as they stand: cut between words, with \ at a line's end. `first`
    stands before the first line in the place of `indent`."""
    head = indent if first is None else first
    if width is None or cells(head + text) <= width:
        return [head + text]
    found: list[str] = []
    now, empty = head, True
    for word in _WORDS.findall(text):
        if not empty and cells(f"{now} {word} \\") > width:
            found.append(f"{now} \\")
            now, empty = f"{indent}  ", True
        now, empty = now + ("" if empty else " ") + word, False
        while cells(now) > width and "'" not in word:  # what goes on at the line's beginning is the same word still
            found.append(f"{now[: width - 1]}\\")
            now = now[width - 1 :]
    return [*found, now]


def say(text: str, err: bool = False, hang: int | None = None) -> None:
    """Prints the text, each of its lines folded."""
    width = columns(err)
    text = printable(text) if err else text  # messages have no colours
    folded = "\n".join(part for line in text.split("\n") for part in fold(line, width, hang))
    # sys's own, which bars that are being drawn have put themselves before
    typer.echo(folded, file=sys.stderr if err else sys.stdout)


# --- tables -----------------------------------------------------------------------------------------------------------

GAPS = (3, 2)
"""Spaces between columns: as kubectl has it, and where room is scarce."""


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], width: int | None) -> str:
    """Left-aligned columns. Where they do not fit into `width`, long cells are folded once; where that is not enough,
    the last columns go below each row, named."""
    lines = [list(titles), *(list(row) for row in rows)]
    natural = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    gap = next((gap for gap in GAPS if width is None or _whole(natural, gap) <= width), GAPS[-1])
    if width is None or _whole(natural, gap) <= width:
        return "\n".join(_row(line, natural, gap) for line in lines)
    least = [_least(column) for column in zip(*lines, strict=True)]
    kept = next((n for n in range(len(least), 1, -1) if _whole(least[:n], gap) <= width), 1)
    widths = _narrowed(natural[:kept], least[:kept], width - gap * (kept - 1)) if kept > 1 else [min(width, natural[0])]
    found: list[str] = []
    for number, line in enumerate(lines):
        found += _folded_row(line[:kept], widths, gap)
        if number and kept < len(line):
            below = "  ".join(f"{title} {cell}" for title, cell in zip(titles[kept:], line[kept:], strict=True))
            found += fold(f"  {below}", width, 4)
    return "\n".join(found)


def _least(column: Sequence[str]) -> int:
    """How narrow a column may become: no piece of a cell is cut, and no cell takes more than two lines or so."""
    longest = max(map(cells, column))
    return max(longest // 2 + 3, *(cells(part.rstrip()) for cell in column for part in _parts(cell)), 0)


def _whole(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


def _narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """The widths, the widest made narrower one by one until they fit, none below its least."""
    found = list(widths)
    while sum(found) > room:
        able = [place for place, width in enumerate(found) if width > least[place]]
        if not able:
            break
        found[max(able, key=lambda place: found[place])] -= 1
    return found


def _parts(cell: str) -> list[str]:
    """What a cell can be divided into: after commas, hyphens and spaces."""
    return re.findall(r"[^,\- ]*[,\- ]+|[^,\- ]+", cell) or [""]


def _row(line: Sequence[str], widths: Sequence[int], gap: int) -> str:
    padded = (cell + " " * (width - cells(cell)) for cell, width in zip(line, widths, strict=True))
    return (" " * gap).join(padded).rstrip()


def _folded_row(line: Sequence[str], widths: Sequence[int], gap: int) -> Iterator[str]:
    columns = [_folded_cell(cell, width) for cell, width in zip(line, widths, strict=True)]
    for number in range(max(map(len, columns))):
        yield _row([column[number] if number < len(column) else "" for column in columns], widths, gap)


def _folded_cell(cell: str, width: int) -> list[str]:
    """A name goes on below, a space in, so that it is not taken for another row's."""
    found: list[str] = []
    now = ""
    for part in _parts(cell):
        rest = part
        if now.strip() and cells((now + rest).rstrip()) > width:
            found.append(now.rstrip())
            now = " "
        while cells((now + rest).rstrip()) > width:
            piece, rest = _cut(rest, max(1, width - cells(now)))
            found.append(now + piece)
            now = " "
        now += rest
    return [*found, now]
