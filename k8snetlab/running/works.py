"""From a pod to what the kubelet runs: its namespace, logs and control group, and what its containers find."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from k8snetlab.api.core import Container, ContainerState, ContainerStateWaiting, ContainerStatus, Node, Pod
from k8snetlab.api.inside import service_links
from k8snetlab.api.lab import Lab
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.variables import LacksError, given
from k8snetlab.api.volumes import ServiceAccountTokenProjection
from k8snetlab.api.workload import Happening, MountWork, PodState, PodWork, environment, expanded
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dns import etc
from k8snetlab.errors import InputError
from k8snetlab.render.pods import sandbox_name
from k8snetlab.running import etcs, images, standins
from k8snetlab.running.accounts import Accounts
from k8snetlab.running.doors import Doors
from k8snetlab.running.images import Image
from k8snetlab.running.volumes import Mounted, Volumes
from k8snetlab.state.paths import LabPaths

log = logging.getLogger(__name__)


class Lacking(msgspec.Struct, frozen=True):
    """A pod, and by container what its variables come from and is not there; or what an Event says of volumes that are
    not."""

    pod: Pod
    lacks: Mapping[str, str] = {}
    unmounted: tuple[str, ...] = ()
    imageless: bool = False
    """Whether it is images that lack, by container."""

    def state(self) -> PodState:
        """As kubelet tells of it."""
        statuses = []
        for container in (*self.pod.spec.initContainers, *self.pod.spec.containers):
            why = self.lacks.get(container.name)
            reason = "ErrImagePull" if self.imageless else "CreateContainerConfigError"
            waiting = ContainerStateWaiting(reason=reason, message=why) if why else _CREATING
            state = ContainerState(waiting=waiting)
            statuses.append(ContainerStatus(name=container.name, image=container.image, state=state, started=False))
        happened = tuple(Happening(name, "Failed", said, True) for name in self.lacks for said in self._said(name))
        happened += tuple(Happening("", "FailedMount", why, True) for why in self.unmounted)
        return PodState(self.pod.run_uid, tuple(statuses), happened)

    def _said(self, container: str) -> Iterator[str]:
        why = self.lacks[container]
        yield why if self.imageless else f"Error: {why}"
        if self.imageless:
            yield "Error: ErrImagePull"


_CREATING = ContainerStateWaiting(reason="ContainerCreating")


class Works:
    def __init__(
        self, cluster: Cluster, paths: LabPaths, accounts: Accounts, doors: Doors, group: Path | None = None
    ) -> None:
        """`group` is the control group of the lab, None where there is none."""
        self._cluster, self._paths, self._accounts, self._group = cluster, paths, accounts, group
        self.doors = doors
        self.volumes = Volumes(cluster, paths, self._token, self._warn)
        self._nodes: dict[str, object] = {}
        self.lacking: dict[str, Lacking] = {}
        """By uid the pods that cannot be run yet."""

    async def of(self, pods: list[Pod], lab: Lab, node: str, anew: Collection[str] = ()) -> list[PodWork]:
        """Those pods of a node; one that fails is left out, and an Event says why. One whose containers' variables or
        volumes come from what is not there is left out too, and is among `lacking`. `anew` are the uids of those whose
        sandbox is another one than before."""
        works, loop = [], asyncio.get_running_loop()

        def failed(pod: Pod, why: str) -> None:
            loop.call_soon_threadsafe(partial(self._without_token, pod, why))

        def warn(pod: Pod, reason: str, message: str) -> None:
            loop.call_soon_threadsafe(self._warn, pod, reason, message)

        directories = await self._accounts.prepare(pods, failed)
        await asyncio.to_thread(etcs.write, pods, self._cluster.snapshot, self._paths, warn)
        mounted = await self.volumes.prepare(pods)
        roots = await asyncio.to_thread(self._images, pods, lab)
        for pod in pods:
            uid = pod.run_uid
            with self.apart(pod):
                await self.doors.prepare(pod, self._cluster.snapshot)
                work = self._one(pod, lab, node, directories.get(uid, ""), mounted.get(uid, Mounted()))
                if work is not None and (rooted := self._rooted(work, pod, roots.get(uid, {}))) is not None:
                    works.append(replace(rooted, anew=uid in anew))
        return works

    async def node(self, node: Node) -> None:
        """What a node itself finds in /etc; written where it may have changed."""
        snapshot = self._cluster.snapshot
        found = node.metadata.uid, node.addresses, snapshot.lab.spec.dns
        if self._nodes.get(node.name) != found:
            self._nodes[node.name] = found
            try:
                await asyncio.to_thread(etcs.write_node, node, snapshot)
            except OSError:
                log.exception("node %s: /etc", node.name)

    @contextlib.contextmanager
    def apart(self, pod: Pod) -> Iterator[None]:
        """A failure of one pod stops none of the others."""
        try:
            yield
        except (OSError, ValueError, TypeError) as error:
            log.exception("pod %s/%s", pod.namespace, pod.name)
            self._warn(pod, "FailedSync", f"error syncing pod: {error}")

    def _one(self, pod: Pod, lab: Lab, node: str, account: str, mounted: Mounted) -> PodWork | None:
        meant = standins.with_commands(pod, lab.name)
        runs = any(container.argv for container in (*meant.spec.initContainers, *meant.spec.containers))
        services = service_links(pod, self._cluster.snapshot) if runs else {}
        variables, lacks = _variables(meant, services, self._cluster.snapshot)
        self.lacking.pop(pod.run_uid, None)
        if lacks or mounted.failures:  # what is not mounted is seen first
            lacking = Lacking(pod, unmounted=mounted.failures) if mounted.failures else Lacking(pod, lacks)
            self.lacking[pod.run_uid] = lacking
            return None
        work = PodWork.of(
            meant,
            sandbox_name(lab, pod),
            str(self._paths.logs_of(pod)),
            str(self._paths.flannel(node)),
            str(self._group / f"pod{pod.run_uid}") if self._group else "",
            account=account,
            variables=variables,
        )
        own = pod.spec.hostNetwork and not lab.spec.machines
        own_commands = any(container.argv for container in pod.spec.all_containers)
        seen = {c.name: tuple(_mounts(c, mounted, variables[c.name])) for c in meant.spec.all_containers}
        work = replace(
            work,
            containers=tuple(replace(one, mounts=seen[one.name]) for one in work.containers),
            etc=str(self._paths.etc_of(pod)) if own else "",
            hostname=etc.hostname(pod, lab),
            scratch=str(self._paths.sandbox_of(pod)) if own_commands or lab.spec.pause == "always" else "",
            pause=lab.spec.pause == "always",
        )
        work = standins.with_nginx(work, pod, self.doors.directory(pod))
        return standins.with_names(work, pod, lab.name)

    def _images(self, pods: list[Pod], lab: Lab) -> dict[str, dict[str, Image | str]]:
        """By uid and container, or why there is none; only of those that run a command and whose image the Lab has."""
        found: dict[str, dict[str, Image | str]] = {}
        for pod in pods if lab.spec.images else ():
            for container in pod.spec.all_containers:
                if container.argv and (path := images.named(container.image, lab.spec.images)):
                    try:
                        one: Image | str = images.image(path, self._paths.images)
                    except (InputError, OSError, ValueError) as error:
                        why = error.message if isinstance(error, InputError) else str(error)
                        one = f'Failed to pull image "{container.image}": {why}'
                    found.setdefault(pod.run_uid, {})[container.name] = one
        return found

    def _rooted(self, work: PodWork, pod: Pod, found: Mapping[str, Image | str]) -> PodWork | None:
        """With its images' roots; what these say of variables and a directory goes behind what the pod says."""
        if lacks := {name: one for name, one in found.items() if isinstance(one, str)}:
            self.lacking[work.uid] = Lacking(pod, lacks, imageless=True)
            return None
        containers = (
            replace(one, root=image.root, env={**image.env, **one.env}, workingDir=one.workingDir or image.directory)
            if isinstance(image := found.get(one.name), Image)
            else one
            for one in work.containers
        )
        return replace(work, containers=tuple(containers)) if found else work

    def _token(self, pod: Pod, asked: ServiceAccountTokenProjection) -> bytes:
        return self._accounts.token(pod, asked)

    def _without_token(self, pod: Pod, why: str) -> None:
        self._warn(pod, "FailedMount", f'MountVolume.SetUp failed for volume "kube-api-access" : {why}')

    def _warn(self, pod: Pod, reason: str, message: str) -> None:
        self._cluster.record(pod, "Warning", reason, message, component="kubelet", host=pod.spec.nodeName)


def _mounts(container: Container, mounted: Mounted, variables: Mapping[str, str]) -> Iterator[MountWork]:
    """What it sees of the pod's volumes."""
    for mount in container.volumeMounts:
        if (place := mounted.places.get(mount.name)) is not None:
            target = f"/{mount.mountPath.lstrip('/')}"
            part = expanded(mount.subPathExpr, variables) if mount.subPathExpr else mount.subPath
            yield MountWork(mount.name, place.path, target, part, place.sealed or mount.readOnly)


def _variables(
    pod: Pod, services: Mapping[str, str], snapshot: Snapshot
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """By container its variables, and what is missing for them."""
    found: dict[str, dict[str, str]] = {}
    lacks: dict[str, str] = {}
    for container in pod.spec.all_containers:
        try:
            found[container.name] = environment(container, services, given(pod, container, snapshot))
        except LacksError as error:
            lacks[container.name] = str(error)
    return found, lacks
