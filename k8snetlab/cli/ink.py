"""Text with colours, a run at a time: rich's takes as long to import as a question to the daemon."""

from __future__ import annotations

import os
import sys

import typer


class Text:
    """A line in runs. A style is words: "bold", "dim" and a colour."""

    def __init__(self, text: str = "", style: str = "") -> None:
        self._runs = [(text, style)]

    def append(self, text: str, style: str = "") -> None:
        self._runs.append((text, style))

    def rstrip(self) -> None:
        """Takes spaces off its end."""
        while self._runs:
            text, style = self._runs.pop()
            if kept := text.rstrip():
                self._runs.append((kept, style))
                break

    @property
    def plain(self) -> str:
        return "".join(text for text, _ in self._runs)

    @property
    def shown(self) -> str:
        """As it is printed: with its colours where standard output shows any."""
        return "".join(_styled(*run) for run in self._runs) if coloured() else self.plain


def coloured() -> bool:
    """Whether standard output is a terminal that shows colours to somebody who wants them."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"


def _styled(text: str, style: str) -> str:
    words = style.split()
    colour = next((word for word in words if word not in ("bold", "dim")), None)
    if not words or not text:
        return text
    return typer.style(text, fg=colour, bold="bold" in words or None, dim="dim" in words or None)
