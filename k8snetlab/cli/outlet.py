"""Standard output and error as all verbs write them: what is no text is shown, never sent to the terminal, and work
that has begun does not stop because nobody reads of it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable
from typing import IO, Any

_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f"
"""All control characters but tab and newline."""
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""They change the order in which what follows is shown (Unicode TR 36)."""
_UNSEEN = re.compile(f"[{_CONTROL}{_BIDI}\ud800-\udfff]")
_COLOUR = r"\x1b\[(?:0|[1-4]|3[0-9]|9[0-7]|38;5;\d+)(?:;(?:[1-4]|3[0-9]|9[0-7]))*m"
_STYLES = re.compile(f"({_COLOUR}|" + r"\x1b\[K(?=\n)|\x1b\[J\Z)")
_CLEARED = re.compile(r"\A(?:\x1b\[(?:H|2?J|3J|K|\?1049[hl]|\?25[hl])|\r)+")
_DRAWN = re.compile(f"({_COLOUR}|" + r"\x1b\[(?:\?25[hl]|\d*[ABGJK])|\r)")
OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)
"""What a write to standard output may fail with."""


def printable(text: str) -> str:
    """The text with each control character as JSON and YAML write it: \\u001b."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Outlet:
    """One of the two streams. `colours` where views may have styled their text; messages are plain.

    A failed write is kept in `failure`, and raised unless `steady`: then there is silence from there on.
    """

    def __init__(self, stream: IO[str], colours: bool, steady: bool = False) -> None:
        self.stream, self._colours, self.steady = stream, colours, steady
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        begin = found.end() if (found := _CLEARED.match(text)) else 0
        end = len(text) - 1 if not self._colours and begin and text.endswith("\r") else len(text)
        body = text[begin:end]
        if self._colours:
            # Every second part is a style.
            parts = _STYLES.split(body)
            body = "".join(part if number % 2 else printable(part) for number, part in enumerate(parts))
        else:
            body = printable(body)
        return self._sent(text[:begin] + body + text[end:], len(text))

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def draw(self, text: str) -> int:
        """What a progress bar writes, which moves about: its words were made printable before."""
        parts = _DRAWN.split(text)
        whole = "".join(part if number % 2 else printable(part) for number, part in enumerate(parts))
        return self._sent(whole, len(text))

    def _sent(self, text: str, length: int) -> int:
        if text:
            self._attempt(lambda: self.stream.write(text))
        return length

    def _attempt(self, work: Callable[[], object]) -> None:
        if self.failure is None:
            try:
                work()
                return
            except OSError as error:
                self.failure = error
        if not self.steady:
            raise self.failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Canvas:
    """A stream to draw progress on, for rich."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        drawn: int = self.stream.draw(text) if isinstance(self.stream, Outlet) else self.stream.write(text)
        return drawn

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def install() -> None:
    """From now on all that is printed goes through an Outlet. In the place of a stream that is closed is one from which
    nothing comes, to which nothing can be written; its number is not given to another file."""
    sys.stdin = sys.stdin or _closed("r")
    if not isinstance(sys.stdout, Outlet):
        sys.stdout = Outlet(sys.stdout or _closed("w"), colours=True)
    if not isinstance(sys.stderr, Outlet):
        sys.stderr = Outlet(sys.stderr or _closed("w"), colours=False, steady=True)


def _closed(mode: str) -> IO[str]:
    return os.fdopen(os.open(os.devnull, os.O_RDONLY), mode)


def keep_working() -> None:
    """What the verb has begun, it finishes, even when nobody reads of it any more."""
    if isinstance(sys.stdout, Outlet):
        sys.stdout.steady = True


def is_of_output(error: Exception) -> bool:
    """Whether it is because of standard output that a verb ended."""
    if error is getattr(sys.stdout, "failure", None):
        return True
    return isinstance(error, OSError) and error.errno in OUTPUT and not error.filename


def finish(code: int) -> int:
    """The exit code when all is written: 1 instead of 0 where it could not be. Nothing is written after this."""
    out = sys.stdout
    if isinstance(out, Outlet):
        with contextlib.suppress(OSError):
            out.flush()
        if out.failure is not None:
            code = code or 1
            if out.failure.errno != errno.EPIPE and sys.stderr is not None:
                sys.stderr.write(f"error: standard output: {out.failure.strerror}\n")
    if sys.stderr is not None:
        sys.stderr.flush()
    for name in ("stdout", "stderr"):
        outlet = getattr(sys, name)
        if isinstance(outlet, Outlet):
            if outlet.failure is not None:
                # What is still in a buffer would make the interpreter's own end fail.
                with contextlib.suppress(OSError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), outlet.fileno())
            setattr(sys, name, outlet.stream)
    return code
