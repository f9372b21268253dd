"""How a guest reaches the API: a kubeconfig, and what a container finds of its ServiceAccount and of the API's Service.

Source: client-go rest/config.go (InClusterConfig).
"""

from __future__ import annotations

import base64
import time
from pathlib import Path

import msgspec

from k8snetlab.api import inside
from k8snetlab.api.config import ServiceAccount
from k8snetlab.api.core import KUBERNETES, Node, Service
from k8snetlab.api.guest import Guest
from k8snetlab.api.selection import is_proxied_by_guest, pod_of_guest
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import fault
from k8snetlab.store.keys import Keys
from k8snetlab.store.signing import ISSUER, Account, Bound

KUBECONFIG, ACCOUNT, TOLD = "kubeconfig", "account", "access.json"
"""In the directory of a guest's program: of root's alone, what it sees as its ServiceAccount's, and for whom they
are."""
MASTERS = "system:masters"
YEAR = 365 * 86400
"""Seconds for which a guest's token is good."""


class Access(msgspec.Struct, frozen=True):
    """`server` is where the API listens (host:port), `host` and `port` are told as its Service's, `authority` is its CA
    (PEM), `account` whose token the guest gets. With a `problem` there is no access, and that is why."""

    server: str = ""
    host: str = ""
    port: str = ""
    authority: str = ""
    account: Account | None = None
    problem: str = ""

    @property
    def variables(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": self.host, "KUBERNETES_SERVICE_PORT": self.port} if self.host else {}


def access_of(guest: Guest, snapshot: Snapshot, node: str) -> Access:
    """On a node whose rules of Services are a guest's, the Service's address leads nowhere until that guest has written
    some: the variables then name the API itself."""
    server, service = inside.listening(snapshot, node), snapshot.get(Service, *reversed(KUBERNETES))
    authority = inside.authority_of(snapshot)
    if not server or service is None or not service.clusterIPs or not authority:
        return Access(problem="the API does not listen inside the lab yet")
    account = _account(guest, snapshot, node)
    if account is None:
        return Access(problem=f'serviceaccounts "{_account_name(guest, snapshot)}" not found in {guest.spec.namespace}')
    host, port = service.clusterIPs[0], str(service.spec.ports[0].port)
    if is_proxied_by_guest(snapshot, node):
        host, _, port = server.rpartition(":")
    return Access(server, host.strip("[]"), port, authority, account)


def write(directory: Path, name: str, access: Access, keys: Keys) -> None:
    """The files of the guest `name`, where they are other ones. Raises NotFoundError, StoreError, OSError."""
    if access.problem or access.account is None:
        raise NotFoundError(f"guest {name}: {access.problem}", "it is tried again")
    told, wanted = directory / TOLD, msgspec.json.encode(access)
    if told.exists() and told.read_bytes() == wanted:
        return
    fault.point()
    account = directory / ACCOUNT
    directory.chmod(0o700)  # a token is in it, and programs beside it may be other users'
    account.mkdir(exist_ok=True)  # a guest that runs sees this very directory
    account.chmod(0o755)
    token = keys.signer.token(access.account, (ISSUER,), YEAR, time.time())
    for file, text in (("token", token), ("ca.crt", access.authority), ("namespace", access.account.namespace)):
        _put(account / file, text.encode(), 0o644)
    _put(directory / KUBECONFIG, _kubeconfig(name, access, keys), 0o600)
    _put(told, wanted, 0o600)


def _put(file: Path, data: bytes, mode: int) -> None:
    """Whole or not at all."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    draft.touch(0o600)
    draft.write_bytes(data)
    draft.chmod(mode)
    draft.replace(file)


def _kubeconfig(name: str, access: Access, keys: Keys) -> bytes:
    """As JSON, which is YAML too."""
    user = f"guest-{name}"
    pair = keys.authority.user(user, MASTERS)
    context = {"cluster": "lab", "user": user, "namespace": access.account.namespace if access.account else ""}
    shown = {"client-certificate-data": _data(pair.cert.read_bytes()), "client-key-data": _data(pair.key.read_bytes())}
    cluster = {"server": f"https://{access.server}", "certificate-authority-data": _data(access.authority.encode())}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": user, "user": shown}],
        "contexts": [{"name": "lab", "context": context}],
        "current-context": "lab",
    }
    return msgspec.json.format(msgspec.json.encode(config)) + b"\n"


def _data(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _account_name(guest: Guest, snapshot: Snapshot) -> str:
    """The one it names, else its pod's."""
    pod = pod_of_guest(guest, snapshot)
    return guest.spec.serviceAccountName or (inside.account_of(pod) if pod else inside.ACCOUNT)


def _account(guest: Guest, snapshot: Snapshot, node: str) -> Account | None:
    found = snapshot.get(ServiceAccount, _account_name(guest, snapshot), guest.spec.namespace)
    on = snapshot.get(Node, node)
    if found is None:
        return None
    bound = {"node": Bound(on.name, on.metadata.uid)} if on else {}
    return Account(found.namespace, found.name, found.metadata.uid, bound)
