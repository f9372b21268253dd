"""What a pod's containers find of their ServiceAccount, as in kubelet's projected volume: token, CA and namespace.

Source: Kubernetes plugin/pkg/admission/serviceaccount (TokenVolumeSource), pkg/kubelet/token/token_manager.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from k8snetlab.api.config import ServiceAccount
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.inside import ACCOUNT, LIFE, account_of, mounts_token
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.variables import LacksError
from k8snetlab.api.volumes import ServiceAccountTokenProjection
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import fault
from k8snetlab.state.paths import LabPaths
from k8snetlab.store.keys import Keys
from k8snetlab.store.signing import ISSUER, Account, Bound

log = logging.getLogger(__name__)
EXTENDED = 365 * 86400
"""Seconds for which such a token is really good, as with a real server's extended expiration."""
RENEWED = 0.8
"""The part of LIFE after which a token is made anew."""
LOOK = 60.0
"""Seconds between two looks at how old tokens are."""
PATIENCE = 2.0
"""Seconds for which a pod waits for the ServiceAccount `default`, which a controller makes."""
TOKEN, CA, NAMESPACE = "token", "ca.crt", "namespace"


class Accounts:
    """The directories of the pods of this machine, by uid."""

    def __init__(self, cluster: Cluster, paths: LabPaths, keys: Keys) -> None:
        self._cluster, self._paths, self._keys = cluster, paths, keys

    async def prepare(self, pods: Iterable[Pod], failed: Callable[[Pod, str], None]) -> dict[str, str]:
        """The directory of each pod that has a command and is to see a token, by uid. A pod whose ServiceAccount is
        not there goes without, and `failed` is told."""
        wanted = [pod for pod in pods if any(c.argv for c in (*pod.spec.containers, *pod.spec.initContainers))]
        if not wanted:
            return {}
        if not self._known(wanted):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    async for _ in self._cluster.changes():
                        if self._known(wanted):
                            break
        return await asyncio.to_thread(self._prepared, wanted, self._cluster.snapshot, failed)

    def token(self, pod: Pod, asked: ServiceAccountTokenProjection) -> bytes:
        """For a projected volume. Raises LacksError."""
        snapshot = self._cluster.snapshot
        account = snapshot.get(ServiceAccount, account_of(pod), pod.namespace)
        if account is None:
            raise LacksError(f'failed to fetch token: serviceaccounts "{account_of(pod)}" not found')
        audiences = (asked.audience,) if asked.audience else (ISSUER,)
        whom = Account(pod.namespace, account.name, account.metadata.uid, _bound(pod, snapshot))
        return self._keys.signer.token(whom, audiences, EXTENDED, self._keys.now(), warn_after=LIFE).encode()

    async def keep(self) -> None:
        """Makes tokens anew before they end, and takes away what is no pod's any more, for as long as the lab lives."""
        while True:
            await asyncio.to_thread(self._renew)
            await asyncio.sleep(LOOK)

    def _known(self, pods: Iterable[Pod]) -> bool:
        snapshot = self._cluster.snapshot
        return all(
            account_of(pod) != ACCOUNT or snapshot.get(ServiceAccount, ACCOUNT, pod.namespace) is not None
            for pod in pods
        )

    def _prepared(self, pods: list[Pod], snapshot: Snapshot, failed: Callable[[Pod, str], None]) -> dict[str, str]:
        found = {}
        for pod in pods:
            account = snapshot.get(ServiceAccount, account_of(pod), pod.namespace)
            try:
                if account is None and pod.spec.automountServiceAccountToken is not False:
                    failed(pod, f'failed to fetch token: serviceaccounts "{account_of(pod)}" not found')
                elif account is not None and mounts_token(pod, account):
                    self._write(pod, account, snapshot)
                    found[pod.run_uid] = str(self._paths.account_of(pod))
            except (OSError, K8sNetLabError) as error:
                failed(pod, f"failed to fetch token: {error}")
        return found

    def _write(self, pod: Pod, account: ServiceAccount, snapshot: Snapshot) -> None:
        directory = self._paths.account_of(pod)
        fault.point()
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory.chmod(0o755)
        _put(directory / CA, self._keys.pem)
        _put(directory / NAMESPACE, pod.namespace.encode())
        whom = Account(pod.namespace, account.name, account.metadata.uid, _bound(pod, snapshot))
        token = self._keys.signer.token(whom, (ISSUER,), EXTENDED, self._keys.now(), warn_after=LIFE)
        _put(directory / TOKEN, token.encode())

    def _renew(self) -> None:
        try:
            held = list(self._paths.accounts.iterdir())
        except FileNotFoundError:
            return
        snapshot = self._cluster.snapshot  # not before: of the directories that are there it has all pods
        pods = {pod.run_uid: pod for pod in snapshot.all(Pod).values()} if held else {}
        for directory in held:
            pod = pods.get(directory.name)
            if pod is None or pod.ended:
                shutil.rmtree(directory, ignore_errors=True)
            elif time.time() - _made(directory / TOKEN) > RENEWED * LIFE:
                account = snapshot.get(ServiceAccount, account_of(pod), pod.namespace)
                if account is not None:
                    self._write(pod, account, snapshot)


def _bound(pod: Pod, snapshot: Snapshot) -> dict[str, Bound]:
    bound = {"pod": Bound(pod.name, pod.metadata.uid)}
    if node := snapshot.get(Node, pod.spec.nodeName):
        bound = {"node": Bound(node.name, node.metadata.uid), **bound}
    return bound


def forget(directory: Path) -> None:
    """What a pod had, which has gone."""
    fault.point()
    shutil.rmtree(directory, ignore_errors=True)


def _made(file: Path) -> float:
    """When it was written, in seconds of the epoch; 0.0 where it is not there."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _put(file: Path, data: bytes) -> None:
    """Whole or not at all, readable for all who see the directory: its only way in is root's."""
    draft = file.with_name(f".{file.name}.new")
    draft.write_bytes(data)
    draft.chmod(0o644)
    draft.replace(file)
