"""What a lab is called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

LAB = "lab"
"""The name of a lab that nobody names."""
_KIND = re.compile(r"^kind:\s*Lab\b", re.MULTILINE)
_NAME = re.compile(r"^metadata:\s*\{?\s*name:\s*([a-z0-9-]+)", re.MULTILINE)


def of_file(file: str) -> str:
    """The name of a lab whose file does not give one: that of its directory, as a DNS label."""
    name = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(file).parent.name.lower()).strip("-")[:63].strip("-")
    return name or LAB


def likely(files: Iterable[tuple[str, str]]) -> str:
    """What the lab in these (name, text) pairs is probably called, without reading them as YAML. May be wrong."""
    for name, text in files:
        for document in re.split(r"^---", text, flags=re.MULTILINE) if _KIND.search(text) else ():
            if _KIND.search(document):
                found = _NAME.search(document)
                return found[1] if found else of_file(name)
    return LAB
