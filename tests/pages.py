"""Pages of documentation whose blocks of commands are run: what a page shows is what is answered."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ENDED = "-- ended --"
QUIET = 1.0
"""Seconds without a word, after which a command in the background is taken to wait."""


class Shell:
    """A bash that is told one command after another."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._waits = selectors.DefaultSelector()
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)
        self._waits.register(self._process.stdout, selectors.EVENT_READ)

    def said(self, command: str) -> str:
        """What the command writes; of one in the background, what it writes at first."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\necho '{ENDED}'\n".encode())
        self._process.stdin.flush()
        behind, heard, end = command.endswith("&"), "", time.monotonic() + 90
        while time.monotonic() < end:
            if not self._waits.select(QUIET):
                if behind and heard.replace(f"{ENDED}\n", ""):
                    break
                continue
            piece = self._process.stdout.read()
            assert piece, f"the shell ended at: {command}"
            heard += piece.decode(errors="replace")
            if not behind and heard.endswith(f"{ENDED}\n"):
                break
        else:
            raise AssertionError(f"no end of: {command}\n{heard}")
        return heard.replace(f"{ENDED}\n", "").rstrip("\n")

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """What stands before each block of code, its language, and what is in it."""
    pieces = re.split(r"^```(\w+)\n(.*?)^```\n", text, flags=re.MULTILINE | re.DOTALL)
    yield from zip(pieces[0::3], pieces[1::3], pieces[2::3], strict=False)


def commands(block: str) -> list[str]:
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def answered(text: str, said: Callable[[str], str], directory: Path) -> str:
    """The page with what its commands answer now; `said` runs one. Blocks of YAML become files of the directory, by the
    name that stands before them."""
    page, rest = "", text
    for before, language, block in blocks(text):
        page += before
        if language == "yaml":
            name = before.strip().rpartition("\n")[2].strip("`:")
            if re.fullmatch(r"[\w.-]+", name):
                (directory / name).write_text(block)
        if language == "console":
            block = "\n".join(shown(command, said(command)) for command in commands(block))
        page += f"```{language}\n{block}```\n"
        rest = text[text.rindex("```\n") + 4 :]
    return page + rest


def shown(command: str, said: str) -> str:
    lines = "\n".join(line.rstrip() for line in said.splitlines())
    return f"$ {command}\n{lines}\n" if lines else f"$ {command}\n"
