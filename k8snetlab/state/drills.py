"""The drill of a lab, sealed in its directory."""

from __future__ import annotations

import msgspec

from k8snetlab.errors import NotFoundError, StoreError
from k8snetlab.faults.drill import Drill
from k8snetlab.state import sealed
from k8snetlab.state.paths import LabPaths, write_private


def read(paths: LabPaths) -> Drill | None:
    """Raises StoreError where it cannot be opened, or is none."""
    try:
        data = paths.drill.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(sealed.opened(paths, data), type=Drill)
    except msgspec.DecodeError as error:
        raise StoreError(f"{paths.drill} is no drill: {error}", sealed.WAYS_OUT) from None


def write(paths: LabPaths, drill: Drill) -> None:
    write_private(paths.drill, sealed.seal(paths, msgspec.json.encode(drill)))


def running(paths: LabPaths) -> Drill | None:
    """The one that is not over."""
    drill = read(paths)
    return drill if drill is not None and not drill.ended else None


def off() -> NotFoundError:
    """What `diagnose` says to who is to find out by other means."""
    return NotFoundError("diagnose is off: a drill is under way", "look yourself; `k8snetlab drill give-up` ends it")
