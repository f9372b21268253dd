"""The faults that are in a lab, in its directory: written before one is done, and after it is undone.

A drill's is not among them: it stands sealed in the drill.
"""

from __future__ import annotations

import msgspec

from k8snetlab.errors import StoreError
from k8snetlab.faults.injected import Injected
from k8snetlab.state import drills
from k8snetlab.state.paths import LabPaths, write_private


class InjectedFaults:
    """Read once; what is changed is on the disk before `put` and `drop` return."""

    def __init__(self, paths: LabPaths) -> None:
        """Raises StoreError where the file cannot be read: nobody knows then what is to be undone."""
        self._file = paths.faults
        try:
            held = msgspec.json.decode(self._file.read_bytes(), type=tuple[Injected, ...])
        except FileNotFoundError:
            held = ()
        except msgspec.DecodeError as error:
            hint = "take the lab down and up again, or delete the file and mend what is damaged"
            raise StoreError(f"{self._file} cannot be read: {error}", hint) from None
        drill = drills.running(paths)
        self._held = held + ((drill.fault,) if drill else ())

    @property
    def all(self) -> tuple[Injected, ...]:
        return self._held

    def put(self, fault: Injected) -> None:
        """Adds one."""
        self._write((*self._held, fault))

    def drop(self, fault: Injected) -> None:
        self._write(tuple(one for one in self._held if one != fault))

    def replace(self, fault: Injected, other: Injected) -> None:
        """Writes one down otherwise, in its place."""
        self._write(tuple(other if one == fault else one for one in self._held))

    def _write(self, faults: tuple[Injected, ...]) -> None:
        if plain := [one for one in faults if not one.hidden]:
            write_private(self._file, msgspec.json.encode(plain))
        else:
            self._file.unlink(missing_ok=True)
        self._held = faults
