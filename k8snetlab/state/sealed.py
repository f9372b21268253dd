"""What is not to be read by chance: sealed with a key of the lab's own, that only root may read.

It keeps a drill's fault out of `cat`, `grep` and backups. Who is root and means to can open it, as all else here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8snetlab.errors import StoreError
from k8snetlab.state.paths import LabPaths, write_private

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

WAYS_OUT = "`k8snetlab drill give-up` ends it, or take the lab down and up again"
"""Of who has a drill that nobody can read."""


def seal(paths: LabPaths, data: bytes) -> bytes:
    return _box(paths, make=True).encrypt(data)


def opened(paths: LabPaths, sealed: bytes) -> bytes:
    """Raises StoreError where the key has gone, or is another one."""
    from cryptography.fernet import InvalidToken

    try:
        return _box(paths, make=False).decrypt(sealed)
    except (InvalidToken, FileNotFoundError, ValueError):
        raise StoreError(f"{paths.drill} cannot be opened by the key {paths.drill_key}", WAYS_OUT) from None


def _box(paths: LabPaths, make: bool) -> Fernet:
    from cryptography.fernet import Fernet  # loads OpenSSL

    if make and not paths.drill_key.exists():
        write_private(paths.drill_key, Fernet.generate_key())
    return Fernet(paths.drill_key.read_bytes())
