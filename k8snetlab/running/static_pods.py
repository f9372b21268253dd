"""Static pods: those of files in a directory of the node. Each has a mirror in the API, which only shows it.

Source: Kubernetes pkg/kubelet/config (file.go, common.go: names, hash, tolerations), pkg/kubelet/pod/mirror_client.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import MIRROR, Node, Pod, Toleration
from k8snetlab.api.meta import OwnerReference
from k8snetlab.api.snapshot import Key
from k8snetlab.cluster.admitted import now
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import K8sNetLabError, ManifestError
from k8snetlab.running import beats
from k8snetlab.state.paths import LabPaths

log = logging.getLogger(__name__)
LOOK = 1.0
"""Seconds between two looks at the directories."""
HASH, SEEN, SOURCE = "kubernetes.io/config.hash", "kubernetes.io/config.seen", "kubernetes.io/config.source"
_SUFFIXES = (".yaml", ".yml", ".json")
Stamp = tuple[int, int, int]


class StaticPods:
    """Those of this machine's nodes, whose names `nodes` tells."""

    def __init__(self, cluster: Cluster, paths: LabPaths, nodes: Callable[[], Iterable[str]]) -> None:
        self._cluster, self._paths, self._nodes = cluster, paths, nodes
        self._files: dict[Path, tuple[Stamp, Pod | str]] = {}
        self._wanted: dict[Key, Pod] = {}
        self._new: list[Path] = []
        self._refused: dict[Key, str] = {}
        """Why one could not be brought to the API: told once."""
        self._looked = False

    def wants(self, pod: Pod) -> bool:
        """Whether a mirror pod's static pod is still to run: then only the mirror goes, and comes again."""
        if MIRROR not in pod.metadata.annotations:
            return False
        wanted = self._wanted.get(pod.key)
        return not self._looked or (wanted is not None and wanted.run_uid == pod.run_uid)

    async def follow(self) -> None:
        """Brings the API to what the directories hold, for as long as the lab lives."""
        while True:
            if self._paths.manifests.is_dir() or self._wanted or not self._looked:
                nodes = [node for name in self._nodes() if (node := self._cluster.snapshot.get(Node, name)) is not None]
                found = await asyncio.to_thread(self._read, nodes)
                self._tell(found)
                self._wanted = {pod.key: pod for _, _, pod in found if isinstance(pod, Pod)}
                self._looked = True
                await self._bring()
            await asyncio.sleep(beats.until(LOOK))

    def _read(self, nodes: list[Node]) -> list[tuple[Node, Path, Pod | str]]:
        """What each file says: a pod, or what is wrong with it."""
        found, files = list[tuple[Node, Path, Pod | str]](), dict[Path, tuple[Stamp, Pod | str]]()
        for node in nodes:
            for file, stamp in _stamps(self._paths.manifests / node.name):
                known = self._files.get(file)
                said = known[1] if known and known[0] == stamp else _pod_of(file, node)
                files[file] = stamp, said
                found.append((node, file, said))
        self._new = [file for file, one in files.items() if self._files.get(file) != one]
        self._files = files
        return found

    def _tell(self, found: list[tuple[Node, Path, Pod | str]]) -> None:
        for node, file, said in found:
            if isinstance(said, str) and file in self._new:
                log.warning("%s: %s", file, said)
                message = f"{file.name}: {said}"
                self._cluster.record(node, "Warning", "FailedStaticPod", message, component="kubelet", host=node.name)

    async def _bring(self) -> None:
        here = set(self._nodes())
        held = {pod.key: pod for pod in self._cluster.snapshot.all(Pod).values() if MIRROR in pod.metadata.annotations}
        for key, mirror in held.items():
            wanted = self._wanted.get(key)
            gone = wanted is None or wanted.run_uid != mirror.run_uid
            if gone and mirror.spec.nodeName in here and not mirror.metadata.deletionTimestamp:
                await self._tried(mirror, self._cluster.delete(mirror))
        for key, pod in self._wanted.items():
            if key not in held:
                await self._tried(pod, self._cluster.create(pod))

    async def _tried(self, pod: Pod, work: Awaitable[object]) -> None:
        try:
            await work
            self._refused.pop(pod.key, None)
        except K8sNetLabError as error:
            if self._refused.get(pod.key) == str(error):
                return
            self._refused[pod.key] = str(error)
            log.warning("static pod %s/%s: %s", pod.namespace, pod.name, error)
            node = self._cluster.snapshot.get(Node, pod.spec.nodeName)
            if node is not None:
                message = f"{pod.namespace}/{pod.name}: {error}"
                self._cluster.record(node, "Warning", "FailedStaticPod", message, component="kubelet", host=node.name)


def _stamps(directory: Path) -> Iterator[tuple[Path, Stamp]]:
    """The manifests of a directory, with what tells that one is another; hidden files and others are none."""
    try:
        files = sorted(directory.iterdir())
    except OSError:
        return
    for file in files:
        if file.suffix in _SUFFIXES and not file.name.startswith("."):
            with contextlib.suppress(OSError):  # it has gone, or is a link to nothing
                seen = file.stat()
                if stat.S_ISREG(seen.st_mode):  # reading another one might never end
                    yield file, (seen.st_mtime_ns, seen.st_size, seen.st_ino)


def _pod_of(file: Path, node: Node) -> Pod | str:
    from k8snetlab.api.load import load  # with yaml, that a lab without static pods can do without

    try:
        loaded = load([(str(file), file.read_text(errors="replace"))])
    except ManifestError as error:
        return "; ".join(error.problems)
    except (OSError, K8sNetLabError) as error:
        return str(error)
    if len(loaded.objects) != 1 or not isinstance(pod := loaded.objects[0], Pod):
        return "a static pod's file holds one Pod, and nothing else"
    return mirror_of(pod, node)


def mirror_of(pod: Pod, node: Node) -> Pod:
    """What the API shows of a static pod: NAME-NODE, bound to the node, tolerating all that would drive it away."""
    digest = hashlib.md5(msgspec.json.encode(pod) + node.name.encode(), usedforsecurity=False).hexdigest()
    said = {HASH: digest, MIRROR: digest, SEEN: now(), SOURCE: "file"}
    owner = OwnerReference(apiVersion="v1", kind="Node", name=node.name, uid=node.metadata.uid, controller=True)
    metadata = replace(
        pod.metadata,
        name=f"{pod.name}-{node.name}",
        namespace=pod.namespace,
        annotations={**pod.metadata.annotations, **said},
        ownerReferences=(owner,),
    )
    everything = Toleration(operator="Exists", effect="NoExecute")
    spec = replace(pod.spec, nodeName=node.name, tolerations=(*pod.spec.tolerations, everything))
    return replace(pod, metadata=metadata, spec=spec)
