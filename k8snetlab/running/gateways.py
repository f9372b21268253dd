"""What nginx-gateway-fabric's agent does beside its nginx: the pods of each Gateway serve by what the objects ask for.

Deployments, Services and statuses are the controllers' work (`controllers/gateways.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from k8snetlab.addons import nginx
from k8snetlab.api.config import Secret
from k8snetlab.api.core import Namespace, Node, Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.gateway import Gateway, GatewayClass, ReferenceGrant
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.routes import BY_KIND, ROUTES
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.gateways import names, telling
from k8snetlab.render.gateway import collect, conf
from k8snetlab.render.gateway.model import Site
from k8snetlab.render.ingress import conf as shared
from k8snetlab.render.ingress.model import Origin
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.running.taking import SILENT, Taking
from k8snetlab.running.turns import AGAIN, Turns, knows, marks, same
from k8snetlab.state.paths import LabPaths

log = logging.getLogger(__name__)
_KINDS: tuple[type[Object], ...] = (
    *(Lab, GatewayClass, Gateway, *ROUTES, ReferenceGrant),
    *(Service, EndpointSlice, Secret, Namespace),
)
COMPONENT = "nginx-gateway"


class Written(msgspec.Struct, frozen=True):
    """The configuration of a Gateway, and of what each line was made. `files` has nginx.conf and what is beside it."""

    site: Site
    origins: tuple[Origin | None, ...]
    files: Mapping[str, str]
    checksum: str

    @property
    def text(self) -> str:
        """nginx.conf."""
        return self.files[shared.FILE]


class Gateways:
    """Of one lab on this machine; to be used in the loop's thread."""

    def __init__(self, cluster: Cluster, paths: LabPaths, kubelet: KubeletLink) -> None:
        self._cluster = cluster
        self._taking = Taking(paths, kubelet)
        self.written: dict[Key, Written] = {}
        """By the Gateway's key; of those alone whose pods run here."""
        self._refused: dict[tuple[Key, str], str] = {}
        """Files of a Gateway that nginx does not take, and why, for as long as the Secrets are these."""
        self._secrets: object = None
        self._marks: tuple[object, ...] = ()
        self._revision = -1
        """Of the objects that the last turn was for."""
        self.turns = Turns("Gateways", cluster, (*_KINDS, Pod, Node), self._turn)
        self._module: str | None = None
        """The file of nginx' stream module, "" where it is built in, None where there is none."""
        self._lacking: tuple[str, ...] = ()
        """Nodes of which it is said that theirs has none."""

    # --- before a pod runs ---

    async def prepare(self, pod: Pod, snapshot: Snapshot) -> None:
        """Has the nginx of a pod of a Gateway find its files when it starts. Raises OSError."""
        if names.container_of(pod) is not None:
            written = await asyncio.to_thread(self._for_pod, pod, snapshot)
            await asyncio.to_thread(nginx.put, self._taking.directory(pod), written.files)

    def _for_pod(self, pod: Pod, snapshot: Snapshot) -> Written:
        """Of one whose Gateway is gone, a configuration that serves nothing."""
        mark = pod.namespace, pod.metadata.labels.get(names.GATEWAY_NAME, "")
        found = [one for one in names.own(snapshot).values() if (one.namespace, names.label_of(one)) == mark]
        return self.wanted(found[0], snapshot) if found else _written(Site(), "")

    def wanted(self, gateway: Gateway, snapshot: Snapshot) -> Written:
        """What the objects ask for. Blocking: of many routes it takes a while."""
        refused = {file: why for (key, file), why in self._refused.items() if key == gateway.key}
        return _written(collect.site(gateway, snapshot, refused), nginx.stream_module())

    # --- what others ask ---

    def behind(self, snapshot: Snapshot) -> list[str]:
        """Which nginx does not serve by this snapshot's objects yet, a few words each; one that cannot is not among
        them."""
        running = self._running(snapshot)
        if not running:
            return []
        if not knows(self._marks, self._revision, _KINDS, snapshot, self._cluster.snapshot):
            return ["gateways: their configuration is being written"]
        found = []
        for key, pods in running.items():
            written = self.written.get(key)
            late = pods if written is None else self._taking.late(pods, written.checksum)
            found += [f"pod {pod.namespace}/{pod.name}: nginx has not taken up its configuration" for pod in late]
        return found

    def troubles(self, snapshot: Snapshot) -> list[str]:
        """What keeps an nginx from what the objects ask for."""
        pods = [pod for those in self._running(snapshot).values() for pod in those]
        refused = self._refused.items()
        files = [f"gateway {key[0]}/{key[1]}: nginx does not take {file}: {why}" for (key, file), why in refused]
        return [*self._taking.troubles(pods), *files]

    def unserved(self, snapshot: Snapshot, asked: Iterable[tuple[str, Key]]) -> list[str]:
        """Which of these objects (kind and key) are not in use as they ask, and why, a sentence each."""
        found, routed = [], list(asked)
        for kind, key in routed:
            shown = f"{kind.lower()} {key[0]}/{key[1]}"
            if kind == Gateway.KIND and (gateway := snapshot.all(Gateway).get(key)) is not None:
                found += [f"{shown}: {said}" for said in telling.of_gateway(gateway, snapshot)]
            elif kind in BY_KIND and (route := snapshot.all(BY_KIND[kind]).get(key)) is not None:
                found += [f"{shown}: {said}" for said in telling.of_route(route, snapshot)]
        return [*dict.fromkeys(found), *(self.troubles(snapshot) if routed else ())]

    @property
    def state(self) -> object:
        """Another one when something of what others ask may have changed."""
        return self._taking.taken

    def _running(self, snapshot: Snapshot) -> dict[Key, list[Pod]]:
        """The pods on this machine by their Gateway's key; of those alone that have some."""
        own = names.own(snapshot)
        found = {key: self._taking.running(names.pods_of(one, snapshot)) for key, one in own.items()}
        return {key: pods for key, pods in found.items() if pods}

    # --- the work ---

    async def _turn(self, snapshot: Snapshot) -> float | None:
        """Seconds after which to look again, None for only when there is news."""
        running = self._running(snapshot)
        if not running:
            self.written, self._marks, self._revision = {}, (), -1
            return None
        module = await asyncio.to_thread(nginx.stream_module)
        snapshot = await self._said_what_lacks(running, module is None)
        now, lacking = marks(snapshot, _KINDS), names.lacking(snapshot)
        self._taking.forget(pod.metadata.uid for pod in snapshot.all(Pod).values())
        if snapshot.all(Secret) is not self._secrets:
            self._secrets, self._refused = snapshot.all(Secret), {}
        new = not same(now, self._marks) or (module, lacking) != (self._module, self._lacking)
        own = names.own(snapshot)
        running = {key: pods for key, pods in running.items() if key in own}
        self.written = {key: one for key, one in self.written.items() if key in running}
        troubled = False
        for key, pods in running.items():
            if new or key not in self.written:
                self.written[key] = await asyncio.to_thread(self.wanted, own[key], snapshot)
            troubled = await self._bring(own[key], pods, snapshot) or troubled
        self._marks, self._revision = now, snapshot.revision
        self._module, self._lacking = module, lacking
        self._taking.taken = {**self._taking.taken}
        return AGAIN if troubled or module is None else None

    async def _said_what_lacks(self, running: Mapping[Key, list[Pod]], lacks: bool) -> Snapshot:
        """Has the nodes of the pods say whether nginx has no stream module there; the objects as they then are."""

        def say(node: Node) -> Node:
            others = {name: text for name, text in node.metadata.annotations.items() if name != names.WITHOUT}
            said = {**others, names.WITHOUT: names.STREAMS} if lacks else others
            return replace(node, metadata=replace(node.metadata, annotations=said))

        for name in {pod.spec.nodeName for pods in running.values() for pod in pods}:
            node = self._cluster.snapshot.get(Node, name)
            if node is not None and lacks != (name in names.lacking(self._cluster.snapshot)):
                await self._cluster.edit(node, say)
        return self._cluster.snapshot

    async def _bring(self, gateway: Gateway, pods: list[Pod], snapshot: Snapshot) -> bool:
        """Has all pods of a Gateway serve by what is written; whether one does not. Certificates that nginx refuses are
        left out, one after the other."""
        first, *others = pods
        while problem := await self._taken_up(gateway, first, snapshot):
            file = nginx.file_of(problem)
            if problem == SILENT or not file or (gateway.key, file) in self._refused:
                break
            self._refused[gateway.key, file] = problem
            self._cluster.record(
                gateway, "Warning", "Rejected", f"nginx refuses {file}: {problem}", component=COMPONENT
            )
            self.written[gateway.key] = await asyncio.to_thread(self.wanted, gateway, snapshot)
        troubled = bool(problem)
        for pod in others:
            troubled = bool(await self._taken_up(gateway, pod, snapshot)) or troubled
        return troubled

    async def _taken_up(self, gateway: Gateway, pod: Pod, snapshot: Snapshot) -> str:
        written = self.written[gateway.key]
        return await self._taking.take(pod, snapshot, (written.files, written.checksum))


def _written(site: Site, module: str | None) -> Written:
    """Without a stream module what is of HTTP alone."""
    site = site if module is not None else replace(site, streams=())
    out, files = conf.render(site, module or ""), dict(site.files)
    number = shared.checksum(out.text, files.items())
    files[shared.FILE] = shared.with_checksum(out.text, number)
    return Written(site, tuple(out.origins), files, number)
