"""What `store serve` keeps of itself in its directory, for the other commands on the same machine."""

from __future__ import annotations

from pathlib import Path

import msgspec

from k8snetlab.errors import NotFoundError

DIRECTORY = Path("/var/lib/k8snetlab/etcd")
"""etcd's data and log, and beside them the store's CA, certificates and tokens; kept when the store ends."""


class Served(msgspec.Struct, frozen=True):
    """`endpoint` is the URL for clients, `join` the address (host:port) where machines get their certificate, `ca_hash`
    that CA's pin. The last two are "" where the store is served without TLS."""

    endpoint: str
    join: str = ""
    ca_hash: str = ""


class Directory:
    """The files of one store."""

    def __init__(self, path: Path = DIRECTORY) -> None:
        self.path = path
        self.pki = path / "pki"
        self.tokens = path / "tokens"
        self._served = path / "served.json"

    def write(self, served: Served) -> None:
        fresh = self._served.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(served))
        fresh.rename(self._served)

    def forget(self) -> None:
        self._served.unlink(missing_ok=True)

    def read(self) -> Served:
        """Raises NotFoundError where no store has been served."""
        try:
            return msgspec.json.decode(self._served.read_bytes(), type=Served)
        except (FileNotFoundError, msgspec.DecodeError) as error:
            raise NotFoundError(f"no store is served from {self.path}", "`k8snetlab store serve`") from error

    def client_files(self, endpoint: str) -> tuple[str, str, str]:
        """CA, certificate and key by which this machine uses the store at `endpoint`; "" each where it is another's."""
        try:
            ours = self.read().endpoint == endpoint
        except NotFoundError:
            ours = False
        names = ("ca.crt", "client.crt", "client.key") if ours and (self.pki / "client.key").exists() else ()
        files = tuple(str(self.pki / name) for name in names)
        return (files[0], files[1], files[2]) if files else ("", "", "")
