"""The lines and words of a Corefile, and what is said where one is not served."""

from __future__ import annotations

from collections.abc import Iterator

TTL = 3600
"""The longest that `kubernetes` and `hosts` may say, in seconds."""
DIGITS = 9
"""So many a number has at most; Python refuses to read 5,000."""


class CorefileError(ValueError):
    """`line` is where, counted from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"Corefile:{line}: {message}")
        self.line = line


Word = tuple[str, int]
"""A word of a Corefile, and its line."""


class Words:
    """The words of a file, line by line. `{` ends a line, `}` stands in one of its own."""

    def __init__(self, text: str) -> None:
        self._lines = [line for line in _lines(text) if line]
        self._last = text.count("\n") + 1

    @property
    def more(self) -> bool:
        return bool(self._lines)

    def line(self) -> list[Word]:
        if not self._lines:
            raise CorefileError(self._last, "ends within a block: a } is missing")
        return self._lines.pop(0)

    def body(self, line: list[Word]) -> Iterator[list[Word]]:
        """The lines of the block that `line` opens, if it opens one; its { is taken away."""
        if line[-1][0] != "{":
            return
        line.pop()
        while (inner := self.line())[0][0] != "}":
            yield inner


def _lines(text: str) -> Iterator[list[Word]]:
    for number, line in enumerate(text.splitlines(), 1):
        yield list(_words_of(line, number))


def _words_of(line: str, number: int) -> Iterator[Word]:
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
        elif line[at] == "#":
            return
        elif line[at] == '"':
            end = line.find('"', at + 1)
            if end < 0:
                raise CorefileError(number, "a quotation mark is not closed")
            yield line[at + 1 : end], number
            at = end + 1
        else:
            end = next((n for n in range(at, len(line)) if line[n].isspace()), len(line))
            yield line[at:end], number
            at = end


def dotted(zone: str) -> str:
    return zone.lower() if zone.endswith(".") else f"{zone.lower()}."


def seconds(text: str, line: int, what: str) -> int:
    if not is_number(text) or int(text) > TTL:
        raise CorefileError(line, f"{what}: {text} is no number of seconds from 0 to {TTL}")
    return int(text)


def is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= DIGITS
