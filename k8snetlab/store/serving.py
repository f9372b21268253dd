"""`store serve`: an etcd with a CA of its own, and beside it the place where machines get their certificates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from k8snetlab.errors import InputError, StoreError
from k8snetlab.store.serve import EtcdProcess, ServerTls, refuse_url, serve
from k8snetlab.store.served import Directory, Served
from k8snetlab.store.tokens import Tokens

if TYPE_CHECKING:
    from k8snetlab.store.bootstrap import Bootstrap


class ServedStore:
    """A store that runs until `stop`."""

    def __init__(self, directory: Directory, etcd: EtcdProcess, served: Served, bootstrap: Bootstrap | None) -> None:
        self._directory, self._etcd, self._served, self._bootstrap = directory, etcd, served, bootstrap

    def wait_ready(self) -> None:
        """Until it answers; from then on other commands of this machine know it (`Directory.read`).

        Raises StoreError, with etcd's last words, when it does not come to answer.
        """
        self._etcd.wait_ready()
        self._directory.write(self._served)

    def wait(self) -> None:
        """Until etcd ends in peace. Raises StoreError when it does not."""
        if self._etcd.wait():
            raise self._etcd.ended()

    def stop(self) -> None:
        self._directory.forget()
        if self._bootstrap:
            self._bootstrap.stop()
        self._etcd.stop()


def start(path: Path, listen: str, join_port: int, insecure: bool, say: Callable[[str], None]) -> ServedStore:
    """An etcd at the URL `listen`, with its data, certificates and tokens in `path`.

    Machines get their certificates at `join_port` (0: the port below that of `listen`), and `say` is told of each.
    Raises InputError for plain http without `insecure`, UnsupportedError and StoreError as `serve` does.
    """
    refuse_url(listen)
    url = urlsplit(listen)
    directory = Directory(path)
    if url.scheme == "http":
        if not insecure:
            raise InputError(
                f"{listen}: plain http lets anybody who reaches it write to the lab, and a Pod's command runs as root",
                f"--listen https{listen.removeprefix('http')}, or --insecure",
            )
        return ServedStore(directory, serve(path, listen), Served(listen), None)
    if insecure:
        raise InputError("--insecure goes with http://", f"leave it out, or --listen http{listen[5:]}")
    return _secure(directory, listen, join_port, say)


def _secure(directory: Directory, listen: str, join_port: int, say: Callable[[str], None]) -> ServedStore:
    from k8snetlab.store.bootstrap import Bootstrap
    from k8snetlab.store.pki import Authority

    url = urlsplit(listen)
    host, port = url.hostname or "", url.port or 0
    if host in ("0.0.0.0", "::"):
        raise InputError(f"{listen} is no address that clients can use", "name one of this machine's own addresses")
    try:
        directory.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"{directory.path}: {error.strerror}", "a directory for etcd's data is wanted") from error
    authority = Authority(directory.pki)
    pair = authority.server([host])
    authority.client()
    bootstrap = Bootstrap(
        authority,
        Tokens(directory.tokens),
        (listen,),
        lambda node, address: say(f"{node} ({address}) has got a certificate"),
    )
    etcd = serve(directory.path, listen, tls=ServerTls(str(pair.cert), str(pair.key), str(authority.ca)))
    try:
        bootstrap.start(host, join_port or port - 1, pair)
    except BaseException:
        etcd.stop()
        raise
    where = f"[{host}]" if ":" in host else host
    served = Served(listen, f"{where}:{join_port or port - 1}", authority.hash)
    return ServedStore(directory, etcd, served, bootstrap)
