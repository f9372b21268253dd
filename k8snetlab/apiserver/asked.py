"""What the command line of `python -m k8snetlab.apiserver` asks for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

import msgspec

from k8snetlab.api.lab import StoreSpec
from k8snetlab.apiserver.listener import LOOPBACK, PORT, parted
from k8snetlab.errors import InputError
from k8snetlab.store.open import FAR

PROGRAM = "python -m k8snetlab.apiserver"
MEMORY = "memory"
UNIX = "unix:"
EPILOG = f"""\
  {PROGRAM} --kubeconfig config
  {PROGRAM} --store objects.db --listen 127.0.0.1:0 --kubeconfig config
  {PROGRAM} --store https://10.0.0.1:2379 --ca ca.crt --cert client.crt --key client.key --kubeconfig config
  {PROGRAM} --plain --listen unix:/run/api.sock
"""


class Asked(msgspec.Struct, frozen=True):
    """`file` is that of an embedded store (":memory:": none); `host` and `port` say where to listen, or `socket` does;
    `keys` is a directory, None for one that goes with the process."""

    store: StoreSpec
    file: str
    plain: bool
    host: str = LOOPBACK
    port: int = PORT
    socket: Path | None = None
    keys: Path | None = None
    names: tuple[str, ...] = ()
    """Names and addresses by which clients may know it besides its own."""
    kubeconfig: Path | None = None
    patience: float = FAR
    """Seconds that a member of an etcd gets to begin to answer."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"command line: {message}", f"`{PROGRAM} --help` shows the options")


def read(words: Sequence[str]) -> Asked:
    """Raises InputError; SystemExit (0) once the help is shown."""
    given = _parser().parse_args(words)
    store, file = _store(given)
    kubeconfig = Path(given.kubeconfig) if given.kubeconfig else None
    asked = Asked(store, file, given.plain, kubeconfig=kubeconfig, keys=Path(given.keys) if given.keys else None)
    names = tuple(filter(None, given.names.split(",")))
    asked = msgspec.structs.replace(asked, names=names, patience=_patience(given.patience))
    if given.listen.startswith(UNIX):
        return _at_socket(asked, given.listen.removeprefix(UNIX))
    try:
        host, port = parted(given.listen)
        if not 0 <= port < 1 << 16:
            raise ValueError
        loopback = ip_address(host).is_loopback
    except ValueError:
        raise InputError(
            f"--listen: {given.listen[:80]!r} is neither ADDRESS:PORT nor unix:PATH", f"{LOOPBACK}:{PORT}, [::1]:{PORT}"
        ) from None
    if given.plain and not loopback:
        raise InputError(
            f"--plain --listen {given.listen}: whoever reaches that address could do everything, unasked",
            f"leave --plain out, or listen at {LOOPBACK}",
        )
    return msgspec.structs.replace(asked, host=host, port=port)


def _patience(said: float) -> float:
    if not 0.1 <= said <= 60:
        raise InputError(f"--patience: {said:g} s are not between 0.1 and 60")
    return said


def _at_socket(asked: Asked, path: str) -> Asked:
    if not asked.plain:
        raise InputError("--listen unix:PATH: TLS is not spoken at a unix socket", "add --plain")
    if asked.kubeconfig:
        raise InputError("--kubeconfig: kubectl reaches no unix socket", f"--listen {LOOPBACK}:0")
    if not 0 < len(path.encode()) < 108:  # source: unix(7)
        raise InputError(f"--listen unix:{path[:80]}: a path of 1 to 107 octets is wanted")
    return msgspec.structs.replace(asked, socket=Path(path))


def _store(given: argparse.Namespace) -> tuple[StoreSpec, str]:
    """What `open_store` is to open. Raises InputError."""
    if given.store == MEMORY:
        spec, file = StoreSpec(), ":memory:"
    elif "://" in given.store:
        endpoints = tuple(part.strip() for part in given.store.split(","))
        spec, file = StoreSpec("etcd", endpoints, given.ca, given.cert, given.key, given.insecure), ""
    else:
        spec, file = StoreSpec(), given.store
    if spec.type == "embedded" and (given.ca or given.cert or given.key):
        raise InputError(f"--store {given.store}: --ca, --cert and --key are an etcd's", "--store https://HOST:2379")
    if not given.store or (spec.type == "embedded" and file != ":memory:" and "\0" in file):
        raise InputError("--store: a file, `memory` or the URL of an etcd is wanted")
    if spec.open and not spec.insecure:
        raise InputError(
            f"--store {given.store}: plain http lets anybody who reaches the etcd change everything",
            "https://, or --insecure where nobody else is on that network",
        )
    if bool(spec.cert) != bool(spec.key):
        raise InputError("--cert and --key belong together", "give both or neither")
    return spec, file


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Kubernetes' API alone, over any store: no controllers, no scheduler, no pods that run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--store", default=MEMORY, help="memory (as left out), a file of SQLite, or the URLs of an etcd, with commas"
    )
    parser.add_argument("--ca", default="", metavar="FILE", help="by which the etcd is known")
    parser.add_argument("--cert", default="", metavar="FILE", help="shown to the etcd")
    parser.add_argument("--key", default="", metavar="FILE", help="of --cert")
    parser.add_argument(
        "--patience", type=float, default=FAR, metavar="SECONDS", help=f"a member of the etcd's ({FAR:g})"
    )
    parser.add_argument("--insecure", action="store_true", help="take an etcd over plain http")
    parser.add_argument(
        "--listen",
        default=f"{LOOPBACK}:{PORT}",
        metavar="WHERE",
        help=f"ADDRESS:PORT ({LOOPBACK}:{PORT} as left out; port 0: a free one) or unix:PATH",
    )
    parser.add_argument(
        "--plain", action="store_true", help="without TLS: who reaches the port, at loopback only, may do everything"
    )
    parser.add_argument(
        "--keys", metavar="DIR", help="where CA and keys are kept; left out: in the store alone, which has them anyway"
    )
    parser.add_argument(
        "--names", default="", metavar="NAME,…", help="more names and addresses of its certificate: a balancer's"
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="write one there, for an administrator")
    return parser
