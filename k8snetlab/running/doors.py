"""All nginx of a lab on this machine: that of the Ingress controller, and those of Gateways."""

from __future__ import annotations

from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.gateways import telling
from k8snetlab.running.followed import Followed
from k8snetlab.running.gateways import Gateways
from k8snetlab.running.ingresses import Ingresses
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.running.taking import Taking
from k8snetlab.state.paths import LabPaths


class Doors:
    """To be used in the loop's thread."""

    def __init__(self, cluster: Cluster, paths: LabPaths, kubelet: KubeletLink) -> None:
        self.ingresses = Ingresses(cluster, paths, kubelet)
        self.gateways = Gateways(cluster, paths, kubelet)
        self.directory = Taking(paths, kubelet).directory
        """Of a pod's files."""

    async def prepare(self, pod: Pod, snapshot: Snapshot) -> None:
        """Has the nginx of a pod find its files when it starts. Raises OSError."""
        await self.ingresses.prepare(pod, snapshot)
        await self.gateways.prepare(pod, snapshot)

    def look(self) -> None:
        """A pod has begun, or has ended."""
        self.ingresses.turns.look()
        self.gateways.turns.look()

    def behind(self, snapshot: Snapshot) -> list[str]:
        """Which nginx does not serve by this snapshot's objects yet, a few words each."""
        return self.ingresses.behind(snapshot) + self.gateways.behind(snapshot)

    def coming(self, snapshot: Snapshot, followed: Followed) -> list[str]:
        """What of a request's objects is not in use yet and will be."""
        return self.behind(snapshot) + telling.coming(snapshot, followed.routed)

    def lacking(self, snapshot: Snapshot) -> list[str]:
        """What an nginx does not serve by, and what nginx has refused."""
        return self.ingresses.lacking(snapshot) + self.gateways.troubles(snapshot)

    def unserved(self, snapshot: Snapshot, followed: Followed) -> list[str]:
        """Which of a request's objects are not in use as they ask, and why, a sentence each."""
        found = self.ingresses.unserved(snapshot, followed.ingresses)
        return found + self.gateways.unserved(snapshot, followed.routed)

    @property
    def state(self) -> tuple[object, ...]:
        """Others when something of what others ask may have changed."""
        return self.ingresses.state, self.gateways.state
