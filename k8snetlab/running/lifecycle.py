"""A pod's life once it has a sandbox: run by the kubelet, reported ready, and in the end stopped and forgotten."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from k8snetlab.api.config import ConfigMap, Secret
from k8snetlab.api.core import Node, Pod
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.pod_state import observed, stopped
from k8snetlab.api.selection import pods_by_node, pods_by_uid
from k8snetlab.api.snapshot import Key, Snapshot
from k8snetlab.api.workload import CHANGED, SANDBOX_CHANGED, PodState
from k8snetlab.cluster import node_events
from k8snetlab.cluster.admitted import now
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.cluster.node_status import posted
from k8snetlab.dataplane.names import ROUTER
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import netns
from k8snetlab.kubelet.runner import forget_logs
from k8snetlab.peers.pace import Pace
from k8snetlab.peers.requests import Remote
from k8snetlab.render.pods import sandbox_name
from k8snetlab.running.accounts import forget
from k8snetlab.running.agents import Agents
from k8snetlab.running.deadlines import Deadlines, is_late
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.running.static_pods import StaticPods
from k8snetlab.running.strays import Strays
from k8snetlab.running.works import Works
from k8snetlab.state import held
from k8snetlab.state.paths import LabPaths
from k8snetlab.supervision import Supervisor

log = logging.getLogger(__name__)
BATCH = 100
"""Statuses written in one go; reads are answered in between."""
AT_ONCE = -1.0
"""The grace of what has no time even for a SIGTERM."""
LEAST = 2.0
"""Seconds that pods have, at most, for whose end others of their node wait: those that were deleted by force, and those
whose network has gone."""
REMOUNT, LATEST = 0.5, 122.0
"""Seconds until volumes are tried again: the first time, and at most. Source: kubelet's nestedpendingoperations."""
DRAIN = 5.0
"""Seconds for which a terminating pod waits, at most, until no node's rules name it."""


class PodLifecycle:
    """Called after each sync of an agent; runs what has a sandbox, stops what is terminating, writes statuses, and has
    health checks answered."""

    def __init__(
        self,
        cluster: Cluster,
        agents: Agents,
        kubelet: KubeletLink,
        paths: LabPaths,
        supervisor: Supervisor,
        *,
        works: Works,
        remote: Remote | None = None,
    ) -> None:
        self._doors = works.doors
        self._supervisor, self._works = supervisor, works
        self.statics = StaticPods(cluster, paths, lambda: agents.nodes)
        self._cluster, self._agents, self._kubelet, self._paths = cluster, agents, kubelet, paths
        self._remote, self._draining, self._drained = remote, asyncio.Lock(), 0
        self._seen: dict[str, tuple[Mapping[Key, Pod], Sequence[str], dict[str, PodState]]] = {}
        """Of each node its pods, its addresses, and the kubelet's states, when its pods were last looked at."""
        self._afresh: set[str] = set()
        """Nodes of which all pods are to be looked at once more, whatever was seen of them by now."""
        self._strays = Strays()
        self._deadlines = Deadlines(cluster, kubelet, supervisor, self._tell)
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._given: dict[str, float] = {}
        """Seconds that each of them has."""
        self._due: dict[str, set[str]] = {}
        """Nodes whose pods are to be looked at, with the namespaces that had to be made again."""
        self._advancing: set[str] = set()
        self._boots: dict[str, str] = {}
        """Of each node without power the boot id that it is to have."""
        self._anew: set[str] = set()
        """Uids of pods whose sandbox is to be another one."""
        self._remounts: dict[str, float] = {}
        """By uid of the pods whose volumes are tried again, after how many seconds."""
        self._unmade: set[str] = set()
        """Those of them that wait for it."""
        self._busy = asyncio.Lock()

    def node_synced(self, node: str, recreated: Iterable[str]) -> None:
        """A node's agent has brought its pods' sandboxes up; `recreated` names those that had to be made again."""
        self._due.setdefault(node, set()).update(recreated)
        if node not in self._advancing:
            self._advancing.add(node)
            self._supervisor.finish(f"pods of {node}", partial(self._advance_due, node))

    def router_synced(self, recreated: Iterable[str]) -> None:
        """The router's agent has brought the host outside up, which answers names."""
        self._supervisor.finish("names outside", partial(self._answer_outside, frozenset(recreated)))

    async def _answer_outside(self, recreated: frozenset[str]) -> None:
        async with self._busy:
            await self._answer_health(ROUTER, recreated)

    async def lost_power(self, node: str) -> None:
        """Ends what runs for a node's pods at once; nobody is told, as nobody is left there to tell it."""
        pods = self._cluster.snapshot.select(Pod, pods_by_node, node).values()
        uids = [pod.run_uid for pod in pods]
        for uid in uids:
            self._given.pop(uid, None)
            if ending := self._ending.pop(uid, None):
                ending.cancel()
        async with self._busy:
            self._afresh.add(node)
            self._boots[node] = str(uuid.uuid4())
            if running := [uid for uid in uids if uid in self._kubelet.states]:
                await self._kubelet.request("stop", uids=running, keep=True, grace=AT_ONCE)

    def states_changed(self, states: tuple[PodState, ...]) -> None:
        """The kubelet reports that containers ended or started by themselves."""
        self._supervisor.finish("states of pods", partial(self._report, states))

    async def _advance_due(self, node: str) -> None:
        while node in self._due:
            recreated = self._due.pop(node)
            try:
                await self._advance(node, frozenset(recreated))
            except BaseException:
                self._due.setdefault(node, set()).update(recreated)
                self._seen, self._strays = {}, Strays()
                raise
        self._advancing.discard(node)

    async def _advance(self, node: str, recreated: frozenset[str]) -> None:
        """Looks at the pods that changed since the last time; at all of the node's where something was lost."""
        task = self._agents.node(node)
        if node in self._agents.power.off:
            return
        async with self._busy:
            # Not the newest snapshot: only what the agent has synced has sandboxes to run in.
            snapshot = task.state.sandboxes if task else None
            if snapshot is None:
                return
            await self._node_ready(node)
            seen, states = self._seen, self._kubelet.states
            mine, itself = snapshot.select(Pod, pods_by_node, node), snapshot.get(Node, node)
            addresses = itself.addresses if itself else ()
            before, *known = seen.get(node, ({}, None, None))
            if recreated or node in self._afresh or known[0] != addresses or known[1] is not states:
                before = {}
            self._afresh.discard(node)
            other = {} if mine is before else {key: p for key, p in mine.items() if before.get(key) is not p}
            pods = [p for p in other.values() if p.ips or p.ended]
            for pod in pods:
                if pod.metadata.deletionTimestamp:
                    self._begin_end(pod)
            self._deadlines.follow(pods)
            lab = snapshot.lab
            again = [p.run_uid for p in pods if sandbox_name(lab, p) in recreated and not p.spec.hostNetwork]
            again += [p.run_uid for p in other.values() if p.run_uid in states and _homeless(p)]
            if again:
                self._tell_changed(p for p in pods if p.run_uid in again)
                await self._kubelet.request("stop", uids=again, keep=True, most=LEAST)
                self._anew.update(again)
                self._unmade.difference_update(again)
            await self._stop_strays(node, snapshot)  # first: one of the same name may have the ports of a new one
            await self._run_new(pods, lab, node)
        latest = self._kubelet.states
        await self._write_statuses([(pod, state) for pod in pods if (state := latest.get(pod.run_uid))])
        seen[node] = mine, addresses, states
        await self._answer_health(node, recreated)

    def _tell_changed(self, pods: Iterable[Pod]) -> None:
        for pod in pods:
            self._cluster.record(pod, "Normal", SANDBOX_CHANGED, CHANGED, component="kubelet", host=pod.spec.nodeName)

    async def _run_new(self, pods: list[Pod], lab: Lab, node: str) -> None:
        known = self._kubelet.states
        begun = [
            p
            for p in pods
            if p.run_uid not in known
            and p.run_uid not in self._unmade
            and not (p.metadata.deletionTimestamp or p.ended or is_late(p))
            and self._cluster.snapshot.select(Pod, pods_by_uid, p.run_uid)
        ]
        if not begun:
            return  # whatever it takes to run pods is several turns of other threads, and other nodes wait meanwhile
        new = await self._works.of(begun, lab, node, self._anew)
        self._anew.difference_update(work.uid for work in new)
        await self._tell_lacking(begun)
        if not new:
            return
        by_uid = {pod.run_uid: pod for pod in pods}
        for state in await self._kubelet.request("run", pods=new):
            self._tell(by_uid[state.uid], state)
        self._strays.begun(begun, self._cluster.snapshot)

    async def _tell_lacking(self, pods: Iterable[Pod]) -> None:
        """Pods that wait for a ConfigMap or a Secret say so."""
        lacking = self._works.lacking
        states = [(pod, lacking[uid].state()) for pod in pods if (uid := pod.run_uid) in lacking]
        for pod, state in states:
            self._tell(pod, state)
            if lacking[pod.run_uid].unmounted or lacking[pod.run_uid].imageless:
                self._mount_later(pod)
        await self._write_statuses(states)

    def _mount_later(self, pod: Pod) -> None:
        """Whatever its volumes or images wait for; once it is run, how long it waited is forgotten."""
        uid, lacking = pod.run_uid, self._works.lacking
        self._remounts = {one: wait for one, wait in self._remounts.items() if one in lacking}
        self._remounts[uid] = wait = min(2 * self._remounts.get(uid, REMOUNT / 2), LATEST)

        async def again() -> None:
            await asyncio.sleep(wait)
            if uid in lacking:
                self._afresh.add(pod.spec.nodeName)
                self.node_synced(pod.spec.nodeName, ())

        self._supervisor.finish(f"volumes of {pod.namespace}/{pod.name}", again)

    async def follow_configuration(self) -> None:
        """Tries pods that wait for a ConfigMap or a Secret again when one has changed, for as long as the lab lives."""
        seen: tuple[Mapping[Key, ConfigMap], Mapping[Key, Secret]] | None = None
        async for snapshot in self._cluster.changes():
            now = snapshot.all(ConfigMap), snapshot.all(Secret)
            if seen is not None and now[0] is seen[0] and now[1] is seen[1]:
                continue
            seen, lacking = now, self._works.lacking
            for uid in [uid for uid in lacking if not snapshot.select(Pod, pods_by_uid, uid)]:
                del lacking[uid]
            for node in {one.pod.spec.nodeName for one in lacking.values()}:
                self._afresh.add(node)
                self.node_synced(node, ())

    async def _answer_health(self, node: str, recreated: frozenset[str]) -> None:
        """Has the kubelet answer on healthCheckNodePorts as the node's agent found right; nodes that went need none."""
        works = {task.name: task.agent.health for task in self._agents.tasks if task.agent.health}
        for namespace in self._kubelet.health_namespaces - ({work.netns for work in works.values()} - recreated):
            await self._kubelet.forget_health(namespace)
        if node in works:
            await self._kubelet.answer_health(works[node])

    async def _stop_strays(self, node: str, snapshot: Snapshot) -> None:
        states = self._kubelet.states
        self._strays.follow(self._cluster.snapshot, states)
        strays = [uid for uid in self._strays.of(snapshot, node, self._agents.nodes) if uid in states]
        if unknown := [uid for uid in strays if uid not in self._ending]:
            await self._kubelet.request("stop", uids=unknown, most=LEAST)

    def _begin_end(self, pod: Pod) -> None:
        """Has it end; once more where it is to end sooner than it was."""
        uid, grace, name = pod.run_uid, _grace(pod), f"end of pod {pod.namespace}/{pod.name}"
        if self.statics.wants(pod):
            self._supervisor.finish(f"mirror of {pod.namespace}/{pod.name}", partial(self._cluster.renew, pod))
            return
        if uid not in self._ending:
            self._ending[uid] = self._supervisor.finish(name, partial(self._end, pod))
        elif grace < self._given[uid]:
            self._supervisor.finish(f"{name}, sooner", partial(self._kubelet.request, "stop", uids=[uid], grace=grace))
        self._given[uid] = min(grace, self._given.get(uid, grace))

    def _forgotten(self, snapshot: Snapshot, since: float) -> bool:
        """Whether no rule and no nginx leads to pods that are going in this snapshot."""
        return not self._doors.behind(snapshot) and self._agents.all_synced(snapshot, since)

    async def _end(self, pod: Pod) -> None:
        """Waits until no node's rules lead to the pod any more, then stops and deletes it."""
        try:
            if not pod.ended:
                settled, since = await self._cluster.settled_within(DRAIN), time.monotonic()
                while not self._forgotten(settled, since) and time.monotonic() < since + DRAIN:
                    await asyncio.sleep(0.01)
                if self._remote:
                    await self._drained_elsewhere(self._remote, int(pod.metadata.resourceVersion))
            for state in await self._kubelet.request(
                "stop", uids=[pod.run_uid], grace=self._given.get(pod.run_uid, _grace(pod))
            ):
                self._tell(pod, state)
                await self._say_stopped(pod, state)
            await asyncio.to_thread(held.end, self._paths.held(pod))
            await asyncio.to_thread(forget_logs, self._paths.logs_of(pod))
            for directory in (self._paths.account_of(pod), self._paths.volumes_of(pod), self._paths.sandbox_of(pod)):
                await asyncio.to_thread(forget, directory)
            await self._cluster.delete(pod, force=True, refuse=partial(_refuse_another, pod))
        except NotFoundError:
            pass
        self._ending.pop(pod.run_uid, None)
        self._given.pop(pod.run_uid, None)

    async def _say_stopped(self, pod: Pod, state: PodState) -> None:
        """How a pod has ended that finalizers keep: whoever put them there counts it."""
        stored = self._cluster.snapshot.get(Pod, pod.name, pod.namespace)
        if stored is not None and stored.metadata.finalizers and not stored.ended:
            uid = pod.run_uid
            await self._cluster.edit(pod, partial(self._stopped, uid, state))

    def _stopped(self, uid: str, state: PodState, stored: Pod) -> Pod:
        return stopped(self._observed(uid, state, stored), now()) if stored.run_uid == uid else stored

    async def _drained_elsewhere(self, remote: Remote, revision: int) -> None:
        """Waits until other machines' kernels have all up to `revision`, and what the controllers made of it."""
        async with self._draining:
            if self._drained < revision:
                async with Pace(self._cluster, remote, revision) as pace:
                    await pace.caught_up(DRAIN)
                    self._drained = pace.needed

    async def _report(self, states: tuple[PodState, ...]) -> None:
        snapshot = self._cluster.snapshot
        told = [
            (pod, state)
            for state in states
            for pod in snapshot.select(Pod, pods_by_uid, state.uid).values()
            if pod.spec.nodeName not in self._agents.power.off
        ]
        await self._write_statuses(told)
        lost: set[str] = set()
        for pod, state in told:
            self._tell(pod, state)
            if state.adrift and pod.run_uid not in self._unmade:
                self._unmade.add(pod.run_uid)
                self._supervisor.finish(f"sandbox of {pod.namespace}/{pod.name}", partial(self._new_sandbox, pod))
            if not state.containers and not pod.ended:
                lost.add(pod.spec.nodeName)
        for node in lost:
            # The kubelet died and lost these pods: they are run again.
            self.node_synced(node, ())

    async def _new_sandbox(self, pod: Pod) -> None:
        """Its pause process has gone: all of it ends, and it is run anew once its node's agent has made another one."""
        uid, name = pod.run_uid, sandbox_name(self._cluster.snapshot.lab, pod)
        if uid in self._ending:
            return
        for state in await self._kubelet.request("stop", uids=[uid], keep=True, grace=_grace(pod)):
            self._tell(pod, state)
        self._anew.add(uid)
        if pod.spec.hostNetwork:
            self._unmade.discard(uid)
            self._afresh.add(pod.spec.nodeName)
        else:
            await asyncio.to_thread(netns.delete, name)
        self.node_synced(pod.spec.nodeName, ())

    async def _write_statuses(self, seen: list[tuple[Pod, PodState]]) -> None:
        """What the kubelet has seen of each pod, a batch in one go."""
        for start in range(0, len(seen), BATCH):
            batch = seen[start : start + BATCH]
            edits = [(pod, partial(self._observed, pod.run_uid, state)) for pod, state in batch]
            for (pod, _), error in zip(batch, await self._cluster.edit_many(edits), strict=True):
                if error is not None:
                    with self._works.apart(pod):
                        raise error
            await asyncio.sleep(0)

    def _observed(self, uid: str, state: PodState, stored: Pod) -> Pod:
        """By the last word on it: the kubelet may have had another one since `state` was to be written."""
        if stored.run_uid != uid:
            return stored
        state = self._kubelet.states.get(uid, state)
        node = self._cluster.snapshot.get(Node, stored.spec.nodeName)
        return observed(stored, state.containers, node.addresses[0] if node and node.addresses else "", now())

    def _tell(self, pod: Pod, state: PodState) -> None:
        """What happened to the pod's containers, as Events."""
        initial = {container.name for container in pod.spec.initContainers}
        for one in state.happened:
            kind = "initContainers" if one.container in initial else "containers"
            path = f"spec.{kind}{{{one.container}}}" if one.container else ""
            self._cluster.record(
                pod,
                "Warning" if one.warning else "Normal",
                one.reason,
                one.message,
                component="kubelet",
                host=pod.spec.nodeName,
                field_path=path,
            )

    async def _node_ready(self, name: str) -> None:
        node = self._cluster.snapshot.get(Node, name)
        boot = self._boots.get(name, "")
        if node is not None and (new := posted(node, now(), boot)) is not node:
            await self._cluster.edit(node, lambda stored: posted(stored, now(), boot))
            for note in node_events.told(node, new):
                self._cluster.tell(note)
        self._boots.pop(name, None)
        if node is not None:
            await self._works.node(node)


def _refuse_another(pod: Pod, stored: Object) -> None:
    """Raises NotFoundError where a pod of the same name has replaced it."""
    if stored.metadata.uid != pod.metadata.uid:
        raise NotFoundError(f"pod {pod.name!r} has gone")


def _homeless(pod: Pod) -> bool:
    """Whether its address was taken from it, and its sandbox with that."""
    return not (pod.ips or pod.ended or pod.spec.hostNetwork)


def _grace(pod: Pod) -> float:
    """Seconds that a pod has which is to end."""
    seconds = pod.metadata.deletionGracePeriodSeconds
    return float(pod.spec.terminationGracePeriodSeconds if seconds is None else seconds)
