"""The directories that are a pod's volumes, made before it is run, and kept as ConfigMaps and Secrets change.

Source: Kubernetes pkg/kubelet/volumemanager, pkg/volume; the words of what fails are kubelet's.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from k8snetlab.api.core import Pod
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.selection import pods_by_uid
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.variables import LacksError
from k8snetlab.api.volume_files import FILLED, Token, files, uses
from k8snetlab.api.volumes import HostPathVolumeSource, Volume
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.kernel import fault
from k8snetlab.running import payloads
from k8snetlab.state.paths import LabPaths

log = logging.getLogger(__name__)
OPEN = 0o777
"""Of a directory that containers of any user may write to."""
_KINDS: Mapping[str, tuple[str, Callable[[Path], bool]]] = {
    "Directory": ("a directory", Path.is_dir),
    "DirectoryOrCreate": ("a directory", Path.is_dir),
    "File": ("a file", Path.is_file),
    "FileOrCreate": ("a file", Path.is_file),
    "Socket": ("a socket file", Path.is_socket),
    "CharDevice": ("a character device", Path.is_char_device),
    "BlockDevice": ("a block device", Path.is_block_device),
}


class Place(msgspec.Struct, frozen=True):
    """Where a volume is on this machine, and whether nobody may write to it."""

    path: str
    sealed: bool = False


class Mounted(msgspec.Struct, frozen=True):
    """A pod's volumes by name; `failures` are what an Event says of those that are not there."""

    places: Mapping[str, Place] = {}
    failures: tuple[str, ...] = ()


class Volumes:
    def __init__(self, cluster: Cluster, paths: LabPaths, token: Token, warn: Callable[[Pod, str, str], None]) -> None:
        """`warn` is told the reason and the message of an Event."""
        self._cluster, self._paths, self._token, self._warn = cluster, paths, token, warn
        self._made_of: dict[str, tuple[object, ...]] = {}
        """By uid of the pods of this machine that have such volumes, what these were last made of."""

    async def prepare(self, pods: Iterable[Pod]) -> dict[str, Mounted]:
        """By uid, of those that have volumes."""
        wanted = [pod for pod in pods if pod.spec.volumes]
        return await asyncio.to_thread(self._prepared, wanted, self._cluster.snapshot) if wanted else {}

    def _prepared(self, pods: list[Pod], snapshot: Snapshot) -> dict[str, Mounted]:
        return {pod.run_uid: self._of(pod, snapshot) for pod in pods}

    def _of(self, pod: Pod, snapshot: Snapshot) -> Mounted:
        places, failures = {}, []
        for volume in pod.spec.volumes:
            try:
                if volume.is_brought:
                    places[volume.name] = self._made(volume, pod, snapshot)
                elif _is_seen(volume, pod):
                    raise LacksError("no volume plugin matched")
            except (LacksError, OSError, ValueError) as error:
                why = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
                failures.append(f'MountVolume.SetUp failed for volume "{volume.name}" : {why}')
        if not failures:
            self._made_of[pod.run_uid] = tuple(_sources(pod, snapshot))
        return Mounted(places, tuple(failures))

    def _made(self, volume: Volume, pod: Pod, snapshot: Snapshot) -> Place:
        own = self._paths.volumes_of(pod) / volume.name
        if volume.source in FILLED:
            payloads.write(own, files(volume, pod, snapshot, self._token))
            return Place(str(own), sealed=True)
        if (claim := volume.persistentVolumeClaim) is not None:
            directory = self._paths.claims / pod.namespace / claim.claimName
            if not directory.is_dir():
                fault.point()
                payloads.made(directory, OPEN)
            return Place(str(directory), claim.readOnly)
        if volume.hostPath is not None:
            return _host_path(volume.hostPath, snapshot.lab)
        fault.point()
        payloads.made(own, OPEN)
        return Place(str(own))

    async def follow(self) -> None:
        """Writes anew what changes, and takes away what is no pod's any more, for as long as the lab lives."""
        await asyncio.to_thread(self._adopt)
        async for snapshot in self._cluster.changes():
            changed = []
            for uid, before in list(self._made_of.items()):
                pod = next(iter(snapshot.select(Pod, pods_by_uid, uid).values()), None)
                if pod is None:
                    del self._made_of[uid]
                    await asyncio.to_thread(forget, self._paths.volumes / uid)
                elif not pod.ended and not _same(before, now := tuple(_sources(pod, snapshot))):
                    self._made_of[uid] = now
                    changed.append(pod)
            if changed:
                await self._refresh(changed, snapshot)

    async def _refresh(self, pods: list[Pod], snapshot: Snapshot) -> None:
        for pod in pods:
            mounted = await asyncio.to_thread(self._of, pod, snapshot)
            for failure in mounted.failures:
                self._warn(pod, "FailedMount", failure)

    def _adopt(self) -> None:
        """What a daemon before this one has made."""
        if self._paths.volumes.is_dir():
            for directory in self._paths.volumes.iterdir():
                self._made_of.setdefault(directory.name, ())


def forget(directory: Path) -> None:
    """What a pod had, which has gone."""
    fault.point()
    shutil.rmtree(directory, ignore_errors=True)


def _sources(pod: Pod, snapshot: Snapshot) -> Iterator[object]:
    """What its volumes' files are made of: as long as these are the same, so are those."""
    own = [volume for volume in pod.spec.volumes if volume.source in FILLED]
    if any(volume.downwardAPI or volume.projected for volume in own):
        yield pod.metadata.labels
        yield pod.metadata.annotations
    for volume in own:
        for kind, name in uses(volume):
            found: Object | None = snapshot.get(kind, name, pod.namespace)
            yield found


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(a is b or a == b for a, b in zip(one, other, strict=True))


def _is_seen(volume: Volume, pod: Pod) -> bool:
    """Whether a container that runs a command mounts it."""
    return any(
        mount.name == volume.name
        for container in (*pod.spec.initContainers, *pod.spec.containers)
        if container.argv
        for mount in container.volumeMounts
    )


def _host_path(source: HostPathVolumeSource, lab: Lab) -> Place:
    """Nothing is made on the machine of a lab that may not write there. Raises LacksError, OSError."""
    path, sealed = Path(source.path), lab.spec.hostPath == "ReadOnly"
    if not path.exists() and (source.type in ("", "DirectoryOrCreate", "FileOrCreate")):
        if sealed:
            raise LacksError(f"hostPath {path} does not exist, and is not made: spec.hostPath of the Lab is ReadOnly")
        if source.type == "FileOrCreate":
            path.touch(mode=0o644)
        else:
            payloads.made(path, 0o755)
    if source.type and not _KINDS[source.type][1](path):
        raise LacksError(f"hostPath type check failed: {path} is not {_KINDS[source.type][0]}")
    return Place(str(path), sealed)
