"""The Ingress controller's work: nginx in each of its pods on this machine is given what the objects ask for.

As ingress-nginx does it, beside its nginx: every change of an Ingress, a Service, an endpoint or a Secret is one of
nginx.conf, which is tried and then taken up by a reload. Workers of before answer what they have begun.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Collection, Iterable, Iterator

from k8snetlab.addons import nginx
from k8snetlab.api.config import Secret
from k8snetlab.api.core import Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.networking import Ingress, IngressClass
from k8snetlab.api.scheme import BY_KIND
from k8snetlab.api.selection import alb_ingresses
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.unserved import NO_DOOR
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.render.ingress import addon, collect, conf, status
from k8snetlab.render.ingress.model import REJECTED, Problem, Refused
from k8snetlab.running import fake_certificate
from k8snetlab.running.ingress_refusals import Refusals, Written
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.running.taking import SILENT, Taking
from k8snetlab.running.turns import AGAIN, Turns, knows, marks, same
from k8snetlab.state.paths import LabPaths

log = logging.getLogger(__name__)
BATCH = 200
"""Statuses written in one go; others are answered in between."""
TRIES = 50
"""Objects of one turn that nginx may refuse, one after the other, before it is let alone."""
_KINDS: tuple[type[Object], ...] = (Lab, Ingress, IngressClass, Service, EndpointSlice, Secret)


class Ingresses:
    """Of one lab on this machine; to be used in the loop's thread."""

    def __init__(self, cluster: Cluster, paths: LabPaths, kubelet: KubeletLink) -> None:
        self._cluster, self._paths = cluster, paths
        self._taking = Taking(paths, kubelet)
        self._refusals = Refusals()
        self._marks: tuple[object, ...] = ()
        self._revision = -1
        """Of the objects that the last turn was for."""
        self._told: frozenset[object] = frozenset()
        self.turns = Turns("Ingresses", cluster, (*_KINDS, Pod), self._turn)
        self.written: Written | None = None

    # --- before a pod runs ---

    async def prepare(self, pod: Pod, snapshot: Snapshot) -> None:
        """Has the nginx of a pod, where it is a controller, find its files when it starts. Raises OSError."""
        if addon.container_of(pod) is not None:
            if (written := self.written) is None:
                written = await asyncio.to_thread(self.wanted, snapshot)
            await asyncio.to_thread(nginx.put, self._taking.directory(pod), written.files)

    def wanted(self, snapshot: Snapshot) -> Written:
        """What the objects ask for. Blocking: of 1,000 hosts it takes a while."""
        settings = snapshot.lab.spec.ingress
        site = collect.site(snapshot, settings.defaultCertificate, self._refusals.known)
        files = dict(site.files)
        files.setdefault(conf.DEFAULT_CERTIFICATE, fake_certificate.read(self._paths.ingress / "fake.pem"))
        out = conf.render(site)
        number = conf.checksum(out.text, files.items())
        files[conf.FILE] = conf.with_checksum(out.text, number)
        return Written(site, tuple(out.origins), files, number)

    # --- what others ask ---

    def behind(self, snapshot: Snapshot) -> list[str]:
        """Which nginx does not serve by this snapshot's objects yet, a few words each; one that cannot is not among
        them."""
        pods = self._own(snapshot)
        if not pods:
            return []
        known = knows(self._marks, self._revision, _KINDS, snapshot, self._cluster.snapshot)
        if self.written is None or not known:
            return ["ingress-nginx: its configuration is being written"]
        return [f"pod {pod.namespace}/{pod.name}: nginx has not taken up its configuration" for pod in self._late(pods)]

    def troubles(self, snapshot: Snapshot) -> list[str]:
        """What keeps an nginx from what the objects ask for."""
        return self._taking.troubles(self._own(snapshot))

    def lacking(self, snapshot: Snapshot) -> list[str]:
        """What an nginx does not serve by, and which objects nginx has refused."""
        refused = [one for one in self.written.site.problems if one.reason == REJECTED] if self.written else []
        return [*self.troubles(snapshot), *dict.fromkeys(map(_told, refused))]

    def unserved(self, snapshot: Snapshot, asked: Collection[Key]) -> list[str]:
        """Which of the Ingresses that are `asked` about are not in use as they ask, and why, a sentence each."""
        those = [one for key in asked if (one := snapshot.all(Ingress).get(key))]
        mine = [one for one in those if collect.is_served(one, snapshot)]
        balanced = alb_ingresses(snapshot)
        strange = [one for one in those if one not in mine and one not in balanced]
        others = [f"ingress {one.namespace}/{one.name}: {_other(one, snapshot)}" for one in strange]
        return [text for text in others if not text.endswith(": ")] + self._unserved(mine, snapshot)

    def _unserved(self, mine: list[Ingress], snapshot: Snapshot) -> list[str]:
        if not mine:
            return []
        asked = {one.key for one in mine}
        site = self.written.site if self.written else collect.site(snapshot)
        found = [_told(one) for one in site.problems if one.key in asked]
        if not any(pod.ready for pod in _controllers(snapshot)):
            found += [f"ingress {one.namespace}/{one.name}: no pod of ingress-nginx is ready" for one in mine]
        return list(dict.fromkeys([*found, *self.troubles(snapshot)]))

    @property
    def refused(self) -> Refused:
        """What nginx does not take, and is left out."""
        return self._refusals.known

    @property
    def state(self) -> object:
        """Another one when something of what others ask may have changed."""
        return self._taking.taken

    def _late(self, pods: list[Pod]) -> Iterator[Pod]:
        number = self.written.checksum if self.written else ""
        return self._taking.late(pods, number)

    def _own(self, snapshot: Snapshot) -> list[Pod]:
        """The controller's pods that run on this machine."""
        return self._taking.running(_controllers(snapshot))

    # --- the work ---

    async def _turn(self, snapshot: Snapshot) -> float | None:
        """Seconds after which to look again, None for only when there is news."""
        pods = self._own(snapshot)
        self._sweep(snapshot)
        if not pods:
            self.written, self._marks, self._revision = None, (), -1
            return None
        now = marks(snapshot, _KINDS)
        if self.written is None or not same(now, self._marks):
            self._refusals.pardon(snapshot)
            self.written = await asyncio.to_thread(self.wanted, snapshot)
        problems = await self._bring(pods, snapshot)
        self._marks, self._revision = now, snapshot.revision
        self._taking.taken = {**self._taking.taken}
        await self._report(snapshot, pods)
        return AGAIN if problems or list(self._late(pods)) else None

    async def _bring(self, pods: list[Pod], snapshot: Snapshot) -> bool:
        """Has every one of them serve by what is written; whether one does not. What nginx refuses of it is left out,
        object after object, as long as it says which."""
        first, *others = pods
        for _ in range(TRIES):
            assert self.written is not None
            problem = await self._taken_up(first, snapshot)
            if not problem or problem == SILENT or not self._refusals.blame(problem, self.written, snapshot):
                break
            self.written = await asyncio.to_thread(self.wanted, snapshot)
        assert self.written is not None
        troubled = bool(problem)
        tried = not problem or problem == SILENT
        for pod in others:
            troubled = bool(await self._taken_up(pod, snapshot, tried)) or troubled
        return troubled

    async def _taken_up(self, pod: Pod, snapshot: Snapshot, tried: bool = False) -> str:
        assert self.written is not None
        return await self._taking.take(pod, snapshot, (self.written.files, self.written.checksum), tried)

    def _sweep(self, snapshot: Snapshot) -> None:
        """Forgets pods that are no more, with their files."""
        if not self._paths.ingress.is_dir():
            return
        living = {pod.metadata.uid for pod in snapshot.all(Pod).values()}
        self._taking.forget(living)
        for entry in self._paths.ingress.iterdir():
            if entry.is_dir() and entry.name not in living:
                shutil.rmtree(entry, ignore_errors=True)

    # --- what the objects are told ---

    async def _report(self, snapshot: Snapshot, pods: list[Pod]) -> None:
        """Status and Events of the Ingresses; of several machines, that of the first pod tells them."""
        controllers = [pod for pod in _controllers(snapshot) if pod.ready]
        first = min(controllers, key=lambda pod: pod.key, default=None)
        if first is None or first.metadata.uid not in {pod.metadata.uid for pod in pods} or self.written is None:
            return
        await _tell_status(self._cluster, snapshot, controllers)
        self._tell_problems(snapshot, self.written.site.problems)

    def _tell_problems(self, snapshot: Snapshot, problems: tuple[Problem, ...]) -> None:
        """Each once, for as long as it is so and its object is the same."""
        told = set()
        for problem in problems:
            obj = snapshot.all(BY_KIND[problem.kind].type).get(problem.key)
            if obj is None:
                continue
            mark = problem.kind, problem.key, problem.message, obj.metadata.generation
            told.add(mark)
            if mark not in self._told:
                self._cluster.record(obj, "Warning", problem.reason, problem.message, component=COMPONENT)
        self._told = frozenset(told)


COMPONENT = "nginx-ingress-controller"


def _controllers(snapshot: Snapshot) -> Iterable[Pod]:
    """Looked up: each pod of a large lab that begins has this asked."""
    return snapshot.select(Pod, addon.controlling, True).values()


def _told(problem: Problem) -> str:
    return f"{problem.kind.lower()} {problem.key[0]}/{problem.key[1]}: {problem.message}"


def _other(ingress: Ingress, snapshot: Snapshot) -> str:
    """Why an Ingress that is none of this controller's opens no door, "" where another one may see to it."""
    why = collect.why_unserved(ingress, snapshot)
    return NO_DOOR if why and snapshot.lab.spec.ingress.controller == "none" else why


async def _tell_status(cluster: Cluster, snapshot: Snapshot, controllers: list[Pod]) -> None:
    wanted = status.load_balancer(snapshot, controllers)
    stale = [one for one in collect.served(snapshot) if one.status.loadBalancer != wanted]
    for start in range(0, len(stale), BATCH):
        batch = stale[start : start + BATCH]
        await cluster.edit_many([(one, lambda held: status.told(held, wanted)) for one in batch])
