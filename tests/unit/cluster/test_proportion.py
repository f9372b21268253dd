"""One changed object among a thousand costs what one costs: objects written, pods looked at, rules rendered, chains and
lines; but the chain of its Service, in which every probability is another one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from k8snetlab.api.apps import Deployment
from k8snetlab.api.core import Condition, Pod, Service
from k8snetlab.api.load import load
from k8snetlab.api.scheme import resource_for_key
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.rules import RuleDelta, restore_payload
from k8snetlab.errors import K8sNetLabError
from k8snetlab.render.proxy import ProxyRules, Shared
from k8snetlab.store.embedded import EmbeddedStore
from k8snetlab.store.informer import Informer
from k8snetlab.store.protocol import Event, StoreWrite
from k8snetlab.testing.fake_cluster import LAB, deployment, service

MANY = 1000
LARGE = MANY + 1
"""With so many endpoints those have no comments (`LARGE_CLUSTER`); the first of them has all rules written."""
POD = """---
apiVersion: v1
kind: Pod
metadata: {name: p%d, labels: {app: s%d}}
spec: {containers: [{name: c, image: x, ports: [{containerPort: 8080}]}]}
"""


BIG = (LAB % 10).replace("spec: {nodes: 10}", "spec: {nodes: 10, maxPods: 200}")


class CountingStore(EmbeddedStore):
    def __init__(self) -> None:
        super().__init__(":memory:")
        self.written = Counter[str]()

    async def write_many(self, writes: Sequence[StoreWrite]) -> Sequence[Event | K8sNetLabError]:
        for write in writes:
            resource = resource_for_key(write.key)
            self.written[resource.kind if resource else write.key] += 1
        return await super().write_many(writes)


def ready(pod: Pod) -> Pod:
    condition = Condition(type="Ready", status="True")
    return replace(pod, status=replace(pod.status, phase="Running", conditions=(*pod.status.conditions, condition)))


def test_one_endpoint_among_a_thousand_services() -> None:
    async def run() -> None:
        store = CountingStore()
        informer = Informer(store)
        await informer.start()
        cluster = Cluster(store, informer)
        controllers = asyncio.create_task(cluster.run_controllers())
        try:
            manifests = BIG + "".join(service(f"s{number}") + POD % (number, number) for number in range(MANY))
            manifests += POD % (MANY, 0)
            await cluster.apply_many(load([("f.yaml", manifests)]).objects)
            snapshot = await cluster.settled()
            pods = list(snapshot.all(Pod).values())
            await cluster.edit_many([(pod, ready) for pod in pods[1:]])
            before = await cluster.settled()
            rendered = Shared()
            rules = [ProxyRules.build(before, f"node{number}", "ipv4", shared=rendered) for number in range(1, 11)]

            store.written.clear()
            await cluster.edit_many([(pods[0], ready)])
            after = await cluster.settled()
            updated, written = [one.update(after) for one in rules], dict(store.written)

            store.written.clear()
            await cluster.edit_many([(after.all(Service)["default", "s1"], with_affinity)])
            last = await cluster.settled()
            later = [one.update(last) for one, _ in updated]
        finally:
            controllers.cancel()
            await asyncio.gather(controllers, return_exceptions=True)
            await cluster.close()
            await informer.close()
            await store.close()
        written.pop("Event", None)
        assert written == {"Pod": 1, "EndpointSlice": 1, "Endpoints": 1}
        only("s0", rules, updated)
        store.written.pop("Event", None)
        assert store.written == {"Service": 1}
        only("s1", [one for one, _ in updated], later)

    asyncio.run(run())


def with_affinity(stored: Service) -> Service:
    return replace(stored, spec=replace(stored.spec, sessionAffinity="ClientIP"))


def only(name: str, rules: Sequence[ProxyRules], updated: Sequence[tuple[ProxyRules, RuleDelta]]) -> None:
    """Each node's rules of this Service are others, of no other Service, and few lines say so."""
    for old, (new, delta) in zip(rules, updated, strict=True):
        changed = [key for key, one in new.services.items() if one is not old.services[key]]
        assert changed == [("default", name)]
        assert not delta.delete and len(restore_payload(delta.write).splitlines()) < 15
    assert len({id(new.services["default", name]) for new, _ in updated}) == 1, "rendered once for all nodes"


def not_led_to(rules: ProxyRules, unready: Snapshot) -> ProxyRules:
    """The rules with one more endpoint, to which none leads: nothing is written, and no chain made anew."""
    new, delta = rules.update(unready)
    web = ("default", "web")
    assert not delta and new.services[web].chains is rules.services[web].chains
    assert new.endpoints == rules.endpoints + 1
    return new


def test_a_deployment_of_a_thousand_has_one_more() -> None:
    """As `scale` has it: one object is asked for, and one pod becomes ready."""

    async def run() -> None:
        store = CountingStore()
        informer = Informer(store)
        await informer.start()
        cluster = Cluster(store, informer)
        controllers = asyncio.create_task(cluster.run_controllers())
        try:
            text = BIG + deployment("web", replicas=LARGE) + service("web")
            await cluster.apply_many(load([("f.yaml", text)]).objects)
            snapshot = await cluster.settled()
            await cluster.edit_many([(pod, ready) for pod in snapshot.all(Pod).values()])
            before = await cluster.settled()
            assert len(before.all(Pod)) == LARGE
            shared = Shared()
            rules = [ProxyRules.build(before, f"node{number}", "ipv4", shared=shared) for number in range(1, 11)]

            store.written.clear()
            web = next(iter(before.all(Deployment).values()))
            await cluster.edit(web, lambda stored: replace(stored, spec=replace(stored.spec, replicas=LARGE + 1)))
            unready = await cluster.settled()
            [new] = unready.all(Pod).keys() - before.all(Pod).keys()
            rules = [not_led_to(one, unready) for one in rules]
            await cluster.edit_many([(unready.all(Pod)[new], ready)])
            after = await cluster.settled()
            updated = [one.update(after) for one in rules]
        finally:
            controllers.cancel()
            await asyncio.gather(controllers, return_exceptions=True)
            await cluster.close()
            await informer.close()
            await store.close()
        store.written.pop("Event", None)
        assert store.written.pop("Endpoints", 0) <= 2, "it holds a thousand addresses, and says of how many"
        assert store.written == {"Pod": 2, "EndpointSlice": 2, "Deployment": 2, "ReplicaSet": 3, "Node": 1}
        assert len({id(new.services["default", "web"]) for new, _ in updated}) == 1, "rendered once for all nodes"
        for _, delta in updated:
            assert not delta.delete
            longest, *others = sorted((len(rows) for rows in delta.write.values()), reverse=True)
            assert longest == LARGE + 2 and sum(others) == 2, "the Service's chain, and the new endpoint's"

    asyncio.run(run())
