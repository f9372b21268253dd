"""Who announces an address now, as speakers themselves tell it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from k8snetlab.addons.balancing import SPEAKER, STATE


def announcers(files: Path, nodes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The nodes that announce each address. `files` is where the add-ons of all nodes have their directories."""
    found: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # it begins, or has ended
            for address in json.loads((files / node / SPEAKER / STATE).read_text())["announced"]:
                found[address] = (*found.get(address, ()), node)
    return found
