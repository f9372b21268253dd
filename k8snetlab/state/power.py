"""Which nodes of a lab of namespaces have no power: kept beside the lab, not in it, as no API knows of a switch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from k8snetlab.state.paths import write_private


class Power:
    """Kept in a file, so that a node stays off when the daemon is another one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.off: Mapping[str, float] = _read(file)
        """Since when (seconds since 1970) each of these nodes is off."""

    def cut(self, node: str, at: float) -> None:
        """Takes the node's power away; one that is off already stays so as it is."""
        if node not in self.off:
            self._keep({**self.off, node: at})

    def give(self, node: str) -> None:
        self._keep({name: since for name, since in self.off.items() if name != node})

    def _keep(self, off: Mapping[str, float]) -> None:
        write_private(self._file, msgspec.json.encode(off))
        self.off = off


def _read(file: Path) -> Mapping[str, float]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, float])
    except (OSError, msgspec.MsgspecError, ValueError):
        return {}
