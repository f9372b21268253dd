"""The API's own keys: the CA of its certificates and the key of ServiceAccounts' tokens, in a directory of root's.

They are made when somebody first needs them. Machines of one lab have them from its store.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from k8snetlab.errors import AlreadyExistsError, StoreError
from k8snetlab.store.protocol import Store
from k8snetlab.store.signing import Signer

if TYPE_CHECKING:
    from k8snetlab.store.pki import Authority

PREFIX = "/k8snetlab/api/"
"""Where a shared store has them: whoever may read it is root on every machine of the lab anyway."""
CERTIFICATE = "ca.crt"
FILES = ("ca.key", CERTIFICATE, "sa.key")


class Keys:
    """Any thread may use them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.signer = Signer(directory)
        self.ahead = 0.0
        """By how many seconds the clock that tokens are made and judged by is ahead of the machine's."""
        self._authority: Authority | None = None
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since 1970, as the API knows them."""
        return time.time() + self.ahead

    @property
    def authority(self) -> Authority:
        """Raises StoreError."""
        with self._lock:
            if self._authority is None:
                from k8snetlab.store.pki import Authority  # loads OpenSSL

                self._authority = Authority(self.directory, "k8snetlab API")
            return self._authority

    @property
    def pem(self) -> bytes:
        """The CA's certificate: where it has been made it is read, without OpenSSL. Raises StoreError."""
        return self._read(CERTIFICATE) or self.authority.pem

    def make(self) -> None:
        """Has the CA made where there is none. Raises StoreError."""
        if not self._read(CERTIFICATE):
            _ = self.authority

    async def share(self, store: Store) -> None:
        """Takes those of the store, or gives it this machine's: the first one's are everybody's. Raises StoreError."""
        held = {name: self._read(name) for name in FILES}
        if not all(held.values()):
            _ = self.authority.pem, self.signer.pem
            held = {name: self._read(name) for name in FILES}
        for name, own in held.items():
            try:
                await store.create(PREFIX + name, own)
            except AlreadyExistsError:
                entry = await store.get(PREFIX + name)
                if entry and entry.value != own:
                    self._write(name, entry.value)
        self.signer, self._authority = Signer(self.directory), None

    def _read(self, name: str) -> bytes:
        try:
            return (self.directory / name).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StoreError(f"{self.directory / name}: {error.strerror}", "a directory for keys is wanted") from error

    def _write(self, name: str, data: bytes) -> None:
        from k8snetlab.store.pki import write

        write(self.directory / name, data)
