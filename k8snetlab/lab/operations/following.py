"""follow: an object's way from the API to the first answered packet, told while it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator

from msgspec.structs import replace

from k8snetlab.agent.report import RULES
from k8snetlab.api.core import Pod, Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_NAME
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane import names
from k8snetlab.errors import InputError, K8sNetLabError
from k8snetlab.lab.table import answers
from k8snetlab.messages.follow import FOLLOW, FollowQuestion, Step
from k8snetlab.messages.probe import ProbeResult
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.running.agents import Agents

LOOK = 0.005
"""Seconds between two looks at agents that are waited for."""
AGAIN = 0.1
"""Seconds after which a packet that was not answered is sent again."""
SILENCE = 2.0
"""Seconds after which it is told that a packet was not answered yet."""
EVENTS = 0.4
"""Seconds after all is done in which the Events of it come, which are recorded behind the work."""
PROXY, CNI, PACKET = "kube-proxy", "CNI", "client"
RULED = (Service, EndpointSlice)
"""Kinds of which kube-proxy makes rules."""


class Following:
    def __init__(self, cluster: Cluster, agents: Agents) -> None:
        self._cluster, self._agents = cluster, agents

    @answers(FOLLOW)
    async def follow(self, asked: FollowQuestion) -> AsyncIterator[Step]:
        """Of nodes that are other machines what they write is told, not what their kernels have."""
        resource = BY_NAME.get(asked.kind.lower())
        if resource is None:
            raise InputError(f"the lab has no kind {asked.kind!r}", "deploy/web, pod/client, svc/web")
        story = _Story((resource.kind, asked.namespace, asked.name), self._agents)
        changes = self._cluster.changes(reports=True)
        end = time.monotonic() + asked.milliseconds / 1000 if asked.milliseconds else None
        turn: asyncio.Task[Snapshot] | None = None
        try:
            while end is None or time.monotonic() < end:
                turn = turn or asyncio.ensure_future(anext(changes))
                await asyncio.wait({turn, *story.busy}, timeout=story.patience(end), return_when="FIRST_COMPLETED")
                found: list[Step] = []
                if turn.done():
                    snapshot, turn = turn.result(), None
                    found += story.turn(snapshot)
                found += story.looked(self._cluster.snapshot)
                for step in sorted(found, key=lambda one: (one.kind == "ready", one.at)):
                    yield step
        except StopAsyncIteration:
            return
        finally:
            story.close()
            if turn is not None:
                turn.cancel()
            await asyncio.gather(*filter(None, [turn]), return_exceptions=True)


class _Story:
    """What was told of an object so far, and what is waited for."""

    def __init__(self, name: tuple[str, str, str], agents: Agents) -> None:
        from k8snetlab.explain.following import Family

        self._family, self._agents = Family(*name), agents
        self._before: Snapshot | None = None
        self._rules: dict[str, dict[tuple[type[Object], Key], int]] = {}
        """By node: what its rules are to know of, at which revision; -1 for what has gone."""
        self._sandboxes: dict[Key, str] = {}
        """Pods whose namespace is not made yet, with their nodes."""
        self._packet: asyncio.Task[ProbeResult | None] | None = None
        self._answered, self._ready = False, False
        self._silent: list[ProbeResult] = []
        """Who did not answer for SILENCE, until it is told."""
        self._began = time.time()
        self._done_at = 0.0
        """When all was done, of what is still to be told (seconds since 1970)."""

    @property
    def busy(self) -> set[asyncio.Task[ProbeResult | None]]:
        return {self._packet} if self._packet else set()

    def patience(self, end: float | None) -> float | None:
        """Seconds to the next look."""
        looks = LOOK if self._rules or self._sandboxes else AGAIN if self._packet else None
        if self._done_at:
            looks = EVENTS / 4
        rest = None if end is None else max(0.0, end - time.monotonic())
        return min((one for one in (looks, rest) if one is not None), default=None)

    def turn(self, snapshot: Snapshot) -> Iterator[Step]:
        """The objects have changed."""
        from k8snetlab.explain.following import changes
        from k8snetlab.explain.steps import as_it_stands, steps

        now, before = time.time(), self._before
        met = self._family.look(snapshot)
        self._before = snapshot
        changed = list(changes(snapshot, before)) if before is not None else []
        seen = {(type(new), new.key) for _, new, _ in changed if new is not None}
        for member in met:  # of those that were there before it was known that they belong to the object
            if (type(member), member.key) not in seen:
                revision = int(member.metadata.resourceVersion or 0)
                yield from as_it_stands(member, now) if before is None else steps(None, member, now, revision)
                self._expect(member)
        if before is None and not met:
            kind, _, name = self._family.head
            what = f"{kind.lower()}/{name} is not there yet"
            yield Step(now, "begin", "API", what, revision=snapshot.revision, before=True)
        if before is None:
            for event in self._family.events(snapshot, met):
                yield from as_it_stands(event, now)
        for old, new, revision in changed:
            obj = new or old
            if obj is None or not self._family.has(obj):
                continue
            yield from steps(old, new, now, revision)
            if new is None:
                self._forget(obj)
            else:
                self._expect(new)

    def _expect(self, obj: Object) -> None:
        """What the kernels are to have of it."""
        if isinstance(obj, RULED):
            for task in self._nodes():
                self._rules.setdefault(task.name, {})[type(obj), obj.key] = int(obj.metadata.resourceVersion or 0)
        elif isinstance(obj, Pod) and obj.ips and not obj.spec.hostNetwork and not obj.status.containerStatuses:
            self._sandboxes[obj.key] = obj.spec.nodeName

    def _forget(self, obj: Object) -> None:
        self._sandboxes.pop(obj.key, None)
        if isinstance(obj, RULED):
            for task in self._nodes():
                self._rules.setdefault(task.name, {})[type(obj), obj.key] = -1

    def _nodes(self) -> Iterable[AgentTask]:
        return (task for task in self._agents.tasks if task.name != names.ROUTER)

    # --- kernels and packets ---

    def looked(self, snapshot: Snapshot) -> Iterator[Step]:
        """What kernels have by now, what a packet was answered, and whether all is done."""
        for task in self._nodes():
            yield from self._plugged(task)
            yield from self._ruled(task, snapshot)
        for name in self._rules.keys() - {task.name for task in self._nodes()}:
            del self._rules[name]  # the node has gone
        yield from self._asked(snapshot)
        yield from self._done(snapshot)

    def _plugged(self, task: AgentTask) -> Iterator[Step]:
        held = task.state.sandboxes
        for key in [key for key, node in self._sandboxes.items() if node == task.name]:
            pod = held.get(Pod, key[1], key[0]) if held else None
            if pod is not None and pod.ips:
                del self._sandboxes[key]
                namespace = names.pod_netns(held.lab.name, *key) if held else ""
                other = names.cali(*key) if held and held.lab.spec.network.calico else names.BRIDGE
                what = f"namespace {namespace}, with eth0 on {other}"
                yield Step(task.state.synced_at, "sandbox", CNI, what, node=task.name, object=f"Pod {key[0]}/{key[1]}")

    def _ruled(self, task: AgentTask, snapshot: Snapshot) -> Iterator[Step]:
        from k8snetlab.explain.steps import ready_addresses

        wanted, state = self._rules.get(task.name, {}), task.state
        if not wanted or state.snapshot is None or RULES in state.pending or state.paused:
            return
        if not all(_has(state.snapshot, *one, revision) for one, revision in wanted.items()):
            return
        del self._rules[task.name]
        keys = list(dict.fromkeys(_service_of(type_, key, state.snapshot) for type_, key in wanted))
        for namespace, name in filter(None, keys):
            slices = self._slices(state.snapshot, (namespace, name))
            addresses = [address for one in slices for address in ready_addresses(one)]
            what = f"rules of Service {name} lead to {len(addresses)} endpoint{'s' * (len(addresses) != 1)}"
            step = Step(state.synced_at, "rules", PROXY, what, node=task.name, object=f"Service {namespace}/{name}")
            yield replace(step, before=state.synced_at < self._began)

    @staticmethod
    def _slices(snapshot: Snapshot, key: Key) -> Iterable[EndpointSlice]:
        from k8snetlab.api.selection import slices_by_service

        return snapshot.select(EndpointSlice, slices_by_service, key).values()

    def _asked(self, snapshot: Snapshot) -> Iterator[Step]:
        from k8snetlab.explain.following import is_ready

        if self._packet is not None and self._packet.done():
            result, self._packet = self._packet.result(), None
            if result is not None:
                self._answered = True
                yield _packet(result, f"{result.answeredBy or 'somebody'} answers in {result.milliseconds:.1f} ms")
        while self._silent:
            result = self._silent.pop()
            yield _packet(result, f"no answer yet{f' ({result.error})' if result.error else ''}, asked again")
        ready = is_ready(self._family.of_head(snapshot), snapshot)
        if ready and not self._answered and self._packet is None and not self._rules and not self._sandboxes:
            self._packet = asyncio.create_task(self._probed(snapshot), name="first packet")

    async def _probed(self, snapshot: Snapshot) -> ProbeResult | None:
        """The first answer to a real packet from a node; None where there is nothing to ask."""
        from k8snetlab.explain import probe
        from k8snetlab.explain.places import find_place
        from k8snetlab.explain.targets import find_targets

        candidates = [f"svc/{one.namespace}/{one.name}" for one in self._family.services(snapshot)]
        candidates += [f"pod/{one.namespace}/{one.name}" for one in self._family.pods(snapshot) if one.ready]
        node = next((task.name for task in self._nodes()), "")
        for name in candidates if node else ():
            try:
                (target, *_) = find_targets(snapshot, name, None, "TCP")
            except K8sNetLabError:
                continue  # it has no address, or no such port
            began, told = time.monotonic(), False
            while True:
                (result,) = await probe.probe(snapshot, [(find_place(snapshot, node), target)])
                if result.reached:
                    return result
                if not told and time.monotonic() - began >= SILENCE:
                    told = True
                    self._silent.append(result)
                await asyncio.sleep(AGAIN)
        self._answered = True
        return None

    def _done(self, snapshot: Snapshot) -> Iterator[Step]:
        from k8snetlab.explain.following import is_ready

        ready = is_ready(self._family.of_head(snapshot), snapshot) and self._answered and not self._rules
        if not ready:
            self._ready, self._done_at = False, 0.0
        elif not self._ready and not self._done_at:
            self._done_at = time.time()
        elif not self._ready and time.time() - self._done_at >= EVENTS:
            kind, namespace, name = self._family.head
            where = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
            yield Step(self._done_at, "ready", "", f"{kind.lower()}/{name} is ready", object=where)
            self._ready, self._done_at = True, 0.0

    def close(self) -> None:
        for task in self.busy:
            task.cancel()


def _packet(result: ProbeResult, what: str) -> Step:
    port = f":{result.port}" if result.port else ""
    text = f"{result.source} asks {result.address}{port}: {what}"
    return Step(time.time(), "packet", PACKET, text, object=f"{result.kind} {result.target}")


def _has(snapshot: Snapshot, type_: type[Object], key: Key, revision: int) -> bool:
    obj = snapshot.all(type_).get(key)
    return revision < 0 if obj is None else 0 <= revision <= int(obj.metadata.resourceVersion or 0)


def _service_of(type_: type[Object], key: Key, snapshot: Snapshot) -> Key | None:
    if type_ is Service:
        return key
    slice_ = snapshot.all(EndpointSlice).get(key)
    return slice_.service_key if slice_ else None
