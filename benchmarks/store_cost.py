"""What the store is written, and every machine is told, for what a lab does: `python -m benchmarks.store_cost`.

Counted in one process: the real store, controllers and Events, and a kubelet that says pods are ready. No root needed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from k8snetlab.api.core import Condition, Pod
from k8snetlab.api.load import load
from k8snetlab.api.scheme import resource_for_key
from k8snetlab.cluster import events
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import K8sNetLabError
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Event, StoreWrite

LAB = (
    "{apiVersion: k8snetlab/v1alpha1, kind: Lab, metadata: {name: lab},"
    " spec: {nodes: %d, dns: {enabled: false}, podCIDR: 10.128.0.0/10}}\n"
)
SERVICE = (
    "---\n{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}\n"
)
DEPLOYMENT = """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}]}]}
"""


class Counting(EmbeddedStore):
    """Counts writes and their octets, keys and values, by kind."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.writes, self.octets = Counter[str](), Counter[str]()

    async def write_many(self, writes: Sequence[StoreWrite]) -> Sequence[Event | K8sNetLabError]:
        results = await super().write_many(writes)
        for result in results:
            if isinstance(result, Event):
                resource = resource_for_key(result.entry.key)
                kind = resource.kind if resource else "other"
                self.writes[kind] += 1
                self.octets[kind] += len(result.entry.key) + len(result.entry.value)
        return results

    def taken(self) -> tuple[Counter[str], Counter[str]]:
        """Since this was asked last."""
        taken = self.writes, self.octets
        self.writes, self.octets = Counter(), Counter()
        return taken


async def measure(pods: int, nodes: int) -> None:
    events.PAUSE = 0.0
    store = Counting()
    informer = Informer(store)
    await informer.start()
    cluster = Cluster(store, informer)
    controllers = asyncio.create_task(cluster.run_controllers())
    everything = LAB % nodes + SERVICE + DEPLOYMENT

    async def after(what: str, manifests: str, ready: bool = True, some: int | None = None) -> None:
        if manifests:
            await cluster.apply_many(load([("f.yaml", manifests)]).objects)
        for _ in range(6):  # what follows from what follows
            snapshot = await cluster.settled()
            unlike = [p for p in snapshot.all(Pod).values() if p.ips and p.ready != ready][:some]
            await cluster.edit_many([(pod, lambda stored: _said(stored, ready)) for pod in unlike])
            some = 0 if some is not None else None
        await cluster.settled()
        await asyncio.sleep(0.2)
        _print(what, *store.taken())

    await after(f"Lab, Service, {nodes} nodes", LAB % nodes + SERVICE)
    await after(f"{pods} pods, until all are ready", everything % pods)
    await after("one more pod, until it is ready", everything % (pods + 1))
    await after("one endpoint is not ready any more", "", ready=False, some=1)
    await after("one more node", LAB % (nodes + 1), some=0)
    controllers.cancel()
    await asyncio.gather(controllers, return_exceptions=True)
    await cluster.close()
    await informer.close()
    await store.close()


def _said(pod: Pod, ready: bool) -> Pod:
    others = tuple(c for c in pod.status.conditions if c.type != "Ready")
    condition = Condition(type="Ready", status=str(ready))
    return replace(pod, status=replace(pod.status, phase="Running", conditions=(*others, condition)))


def _print(what: str, writes: Counter[str], octets: Counter[str]) -> None:
    print(f"{what}: {writes.total()} writes, {octets.total():,} octets")
    for kind, number in writes.most_common():
        print(f"    {kind:16} {number:6} writes {octets[kind]:10,} octets, {octets[kind] // number:7,} each")


if __name__ == "__main__":
    asyncio.run(measure(1000, 10))
