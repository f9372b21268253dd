"""How the nginx of a pod comes to serve by a configuration: it is tried, put in place, and taken up by a reload."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from k8snetlab.addons import nginx
from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.program import Place
from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.kernel import netns
from k8snetlab.render.pods import sandbox_name
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.state.paths import LabPaths

SILENT = f"nginx has not taken up its configuration within {nginx.PATIENCE:g} s; `k8snetlab logs` of the pod says more"


class Taken(msgspec.Struct, frozen=True):
    """How a pod's nginx is: the checksum of what it serves by, and what keeps it from serving by another, or ""."""

    checksum: str = ""
    trouble: str = ""


class Taking:
    """Of the pods of this machine; to be used in the loop's thread."""

    def __init__(self, paths: LabPaths, kubelet: KubeletLink) -> None:
        self._paths, self._kubelet = paths, kubelet
        self.taken: dict[str, Taken] = {}
        """By the pod's uid."""

    def directory(self, pod: Pod) -> Path:
        return self._paths.ingress / (pod.metadata.uid or "-")

    def running(self, pods: Iterable[Pod]) -> list[Pod]:
        """Those of them that run on this machine."""
        states = self._kubelet.states
        found = [pod for pod in pods if pod.metadata.uid in states and not pod.ended]
        return [pod for pod in found if any(one.state.running for one in states[pod.metadata.uid].containers)]

    def late(self, pods: Iterable[Pod], checksum: str) -> Iterator[Pod]:
        """Those that do not serve by a configuration yet; one that cannot is not among them."""
        for pod in pods:
            taken = self.taken.get(pod.metadata.uid, Taken())
            if taken.checksum != checksum and not taken.trouble:
                yield pod

    def troubles(self, pods: Iterable[Pod]) -> list[str]:
        """What keeps an nginx from what the objects ask for."""
        found = [(pod, self.taken.get(pod.metadata.uid, Taken()).trouble) for pod in pods]
        return [f"pod {pod.namespace}/{pod.name}: {why}" for pod, why in found if why]

    async def take(
        self, pod: Pod, snapshot: Snapshot, written: tuple[Mapping[str, str], str], tried: bool = False
    ) -> str:
        """Has it serve by these files, of that checksum: what nginx says against them; "" where it does. `tried`: nginx
        has taken them in another pod of this machine."""
        uid, (files, checksum) = pod.metadata.uid, written
        if self.taken.get(uid, Taken()).checksum == checksum:
            self.taken[uid] = Taken(checksum)
            return ""
        place = self._place(pod, snapshot)
        if problem := "" if tried else await asyncio.to_thread(nginx.refusal, place, files):
            held = self.taken.get(uid, Taken())
            why = f"nginx refuses its configuration, and goes on with the one before: {problem}"
            self.taken[uid] = Taken(held.checksum, why)
            return problem
        if tried:
            await asyncio.to_thread(nginx.put, self.directory(pod), files)
        kubelet = Kubelet(self._paths.kubelet_socket)
        serves = await asyncio.to_thread(nginx.reloaded, kubelet, uid, place.netns, checksum)
        self.taken[uid] = Taken(checksum) if serves else Taken("", SILENT)
        return "" if serves else SILENT

    def forget(self, living: Iterable[str]) -> None:
        """All but these uids."""
        for uid in self.taken.keys() - set(living):
            del self.taken[uid]

    def _place(self, pod: Pod, snapshot: Snapshot) -> Place:
        name = sandbox_name(snapshot.lab, pod)
        return Place(pod.spec.nodeName, name, netns.number(name) or 0, str(self.directory(pod)))
