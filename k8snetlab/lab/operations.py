"""What the daemon does for the lab's own verbs: up, apply, delete, status, probe, pause, logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from k8snetlab import __version__
from k8snetlab.agent.misses import Answer
from k8snetlab.api.body import decode
from k8snetlab.api.core import Namespace, Node, Pod, Service
from k8snetlab.api.lab import Lab
from k8snetlab.api.machines import MACHINE, is_machine
from k8snetlab.api.meta import Object
from k8snetlab.api.scheme import BY_TYPE
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.validate import validate
from k8snetlab.controllers import namespaces
from k8snetlab.controllers.admission import in_order
from k8snetlab.dataplane.rules import Family
from k8snetlab.errors import InputError, K8sNetLabError, ManifestError, NotFoundError
from k8snetlab.kernel import iptables
from k8snetlab.kernel.packets import Watch
from k8snetlab.lab import commands, logs, probe
from k8snetlab.lab.across.afar import Afar
from k8snetlab.lab.across.concern import place_of
from k8snetlab.lab.across.pace import Agent, Said
from k8snetlab.lab.across.remote import Remote
from k8snetlab.lab.agents import Agents, AgentTask, is_paused, with_pause
from k8snetlab.lab.cluster import UP, Cluster
from k8snetlab.lab.convergence import converge
from k8snetlab.lab.explain import diagnosing, inspect, tracing
from k8snetlab.lab.explain.desired import AgentNow, Desired, gone, state_of, where
from k8snetlab.lab.kubelet import KubeletLink
from k8snetlab.lab.machines.leases import Leases
from k8snetlab.lab.paths import LabPaths
from k8snetlab.lab.storing import read_spec
from k8snetlab.render.families import FAMILIES
from k8snetlab.render.subnet_env import subnet_env

T = TypeVar("T")
Event = dict[str, Any]
PLAN = (
    *("underlay", "podCIDR", "serviceCIDR", "machines"),
    *(f"network.{family}{end}" for family in ("subnet", "ipv6Subnet") for end in ("Len", "Min", "Max")),
)
"""Fields of a Lab's spec by which addresses are given; machines bring the first one."""
WAIT = 1.0
"""Seconds for which another machine's question how far this one is may be left open."""
BATCH = 200
"""Objects stored in one go; the daemon answers others in between."""


class Operations:
    """The verbs, against one lab. Those that change objects yield events and end when the kernel has caught up."""

    def __init__(
        self,
        lab: str,
        cluster: Cluster,
        agents: Agents,
        kubelet: KubeletLink,
        paths: LabPaths,
        leases: Leases,
        end: Callable[[], None],
        remote: Remote | None = None,
    ) -> None:
        self._lab, self._cluster, self._agents, self._kubelet, self._paths = lab, cluster, agents, kubelet, paths
        self._leases, self._remote = leases, remote
        self._store_spec = read_spec(paths)
        self._end = end
        self._began = time.time()
        self._one_at_a_time = asyncio.Lock()

    # --- changing objects ---

    async def up(self, bodies: list[Event]) -> AsyncIterator[Event]:
        """Makes the store hold these objects and none that an earlier `up` brought, and waits for the kernel."""
        began = time.monotonic()
        objects = [_marked(obj) for obj in _decoded(bodies)]
        async with self._one_at_a_time:
            await self._cluster.restore()
            self._refuse_rebuilding(objects)
            keep = {(type(obj), obj.key) for obj in objects}
            gone = [
                obj
                for kind in self._cluster.snapshot.objects.values()
                for obj in kind.values()
                if UP in obj.metadata.annotations and (type(obj), obj.key) not in keep
            ]
            self._check(objects, without=gone)
            for lab in [obj for obj in objects if isinstance(obj, Lab)]:
                iptables.variant(lab.spec.proxy.iptables)  # said now rather than with half a lab built
            changes: dict[str, list[str]] = {"created": [], "updated": [], "deleted": []}
            # Those that go first make room: their node ports and addresses may be given to the new ones.
            async for event in self._remove(gone, changes):
                yield event
            async for event in self._store(objects, changes):
                yield event
            await self._leases.registered()
            async for event in converge(self._cluster, self._agents, self._remote):
                yield event
            for name in [task.name for task in self._agents.tasks if task.state.paused]:
                yield {"type": "warning", "message": f"{name} is paused: nothing was changed there (resume {name})"}
        yield {"type": "done", "seconds": round(time.monotonic() - began, 3), **changes}

    async def apply(self, bodies: list[Event]) -> AsyncIterator[Event]:
        """As `kubectl apply`: creates or changes these objects, leaves all others."""
        began = time.monotonic()
        objects = _decoded(bodies)
        async with self._one_at_a_time:
            self._refuse_rebuilding(objects)
            for warning in self._check(objects):
                yield {"type": "warning", "message": warning}
            changes: dict[str, list[str]] = {"created": [], "updated": [], "deleted": []}
            async for event in self._store(objects, changes):
                yield event
            async for event in converge(self._cluster, self._agents, self._remote):
                yield event
        yield {"type": "done", "seconds": round(time.monotonic() - began, 3), **changes}

    async def delete(self, bodies: list[Event]) -> AsyncIterator[Event]:
        began = time.monotonic()
        objects = _decoded(bodies)
        for obj in objects:
            refuse_deletion(obj)
        async with self._one_at_a_time:
            missing = [o for o in objects if self._cluster.snapshot.get(type(o), o.name, o.namespace) is None]
            changes: dict[str, list[str]] = {"created": [], "updated": [], "deleted": []}
            async for event in self._remove([o for o in objects if o not in missing], changes):
                yield event
            async for event in converge(self._cluster, self._agents, self._remote):
                yield event
        if missing:
            raise NotFoundError("\n".join(f"{o.KIND.lower()} {o.name!r} not found" for o in missing))
        yield {"type": "done", "seconds": round(time.monotonic() - began, 3), **changes}

    async def _store(self, objects: list[Object], changes: dict[str, list[str]]) -> AsyncIterator[Event]:
        for namespace in self._undeclared(objects):
            yield {"type": "warning", "message": f"namespace {namespace.name!r} is not declared; it is created"}
            await self._cluster.apply(namespace)
        ordered = in_order(objects)
        objects.clear()  # the store has them now, and its snapshot
        with self._cluster.bulk():
            for batch in (ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)):
                for obj, outcome in zip(batch, await self._cluster.apply_many(batch), strict=True):
                    if outcome != "unchanged":
                        changes["created" if outcome == "created" else "updated"].append(_title(obj))
                    yield {"type": "changed", "action": outcome, "kind": obj.KIND, "name": obj.name}
                await asyncio.sleep(0)

    async def _remove(self, objects: Iterable[Object], changes: dict[str, list[str]]) -> AsyncIterator[Event]:
        for obj in objects:
            await self._cluster.delete(obj)
            changes["deleted"].append(_title(obj))
            yield {"type": "changed", "action": "deleted", "kind": obj.KIND, "name": obj.name}

    def _undeclared(self, objects: list[Object]) -> list[Namespace]:
        known = {name for _, name in self._cluster.snapshot.all(Namespace)}
        known |= {"default"} | {o.name for o in objects if isinstance(o, Namespace)}
        wanted = dict.fromkeys(o.namespace for o in objects if o.namespaced and o.namespace not in known)
        return [msgspec.convert({"metadata": {"name": name}}, Namespace) for name in wanted]

    def _check(self, objects: list[Object], without: Iterable[Object] = ()) -> list[str]:
        """Refuses all of them when one does not go with the others or with what is stored; returns warnings."""
        gone = ((type(o), o.key, None) for o in without)
        existing = self._cluster.snapshot.changed(gone, self._cluster.snapshot.revision)
        said: dict[str, list[str]] = {"error": [], "warning": []}
        for problem in validate(objects, existing):
            source = problem.object.source
            said[problem.severity].append(f"{source}: {problem}" if source else str(problem))
        if said["error"]:
            raise ManifestError(said["error"], "nothing was changed")
        return said["warning"]

    def _refuse_rebuilding(self, objects: list[Object]) -> None:
        """The addresses of a running lab stay; another plan of addresses is another lab."""
        old = next(iter(self._cluster.snapshot.all(Lab).values()), None)
        for new in objects:
            if not isinstance(new, Lab) or old is None:
                continue
            for field in PLAN[1:] if new.spec.machines else PLAN:
                value = attrgetter(field)
                if value(new.spec) != value(old.spec):
                    raise InputError(
                        f"{new.source or 'Lab'}: spec.{field} cannot be changed while the lab runs",
                        "`k8snetlab down` first, then `up`",
                    )

    # --- the life of agents ---

    async def pause(self, name: str, paused: bool) -> Event:
        """Kept with the Node, so that it outlives the daemon."""
        node = self._cluster.snapshot.get(Node, name)
        if node is None:
            raise NotFoundError(f"node {name!r} not found", f"nodes: {', '.join(self._agents.nodes)}")
        await self._cluster.edit(node, lambda stored: with_pause(stored, paused))
        while (task := self._agents.node(name)) is not None and task.state.paused != paused:
            await asyncio.sleep(0.005)
        return {"node": name, "paused": paused}

    async def pace(self, revision: int) -> Event:
        """`pace.Said` of this machine, as soon as all up to `revision` is in its kernel, or after WAIT seconds."""
        deadline = time.monotonic() + WAIT
        while True:
            settled = asyncio.ensure_future(self._cluster.settled())
            await asyncio.wait({settled}, timeout=max(0.0, deadline - time.monotonic()))
            snapshot, tasks = self._cluster.snapshot, self._agents.tasks
            synced = settled.done() and snapshot.revision >= revision
            synced = synced and self._agents.nodes.keys() == self._agents.local(snapshot)
            synced = synced and all(task.has(snapshot) or task.state.paused for task in tasks)
            settled.cancel()
            if synced or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.01)
        failing = [
            Agent(task.name, state.failures, state.error, state.hint, state.operation)
            for task in tasks
            if (state := task.state).failures
        ]
        written = self._cluster.informer.written
        said: Event = msgspec.to_builtins(Said(revision, synced, written, tuple(failing)))
        return said

    def stop(self) -> Event:
        self._end()
        return {"stopping": True}

    # --- showing ---

    async def status(self) -> Event:
        snapshot = self._cluster.snapshot
        nodes = [await self._node_status(node) for node in snapshot.all(Node).values()]
        router = self._agents.router
        problems = [f"{n['name']}: {n['agent']['error']}" for n in nodes if n["agent"]["error"]]
        if router is not None and router.state.error:
            problems.append(f"router: {router.state.error}")
        problems += [f"{task.name}: {warning}" for task in self._agents.tasks for warning in task.state.warnings]
        problems += self._kubelet.problems.values()
        pods = list(snapshot.all(Pod).values())
        problems += [f"pod {p.namespace}/{p.name}: {p.status.message}" for p in pods if p.status.message]
        health = self._cluster.informer.health()
        if not health.healthy:
            problems.append(f"store: {health.problem}; what is in the kernel stays as it is")
        problems += [f"{key}: {problem}" for key, problem in self._cluster.informer.problems.items()]
        problems += self._leases.problems.values()
        return {
            "lab": self._lab,
            "nodes": nodes,
            "pods": {"running": sum(p.ready for p in pods), "total": len(pods)},
            "services": len(snapshot.all(Service)),
            "daemon": {"pid": os.getpid(), "version": __version__, "uptime": round(time.time() - self._began, 1)},
            "kubelet": {"pid": self._kubelet.pid},
            "store": {
                "type": self._store_spec.type,
                "revision": snapshot.revision,
                **msgspec.to_builtins(self._cluster.informer.health()),
            },
            "iptables": self._agents.variant,
            "problems": problems,
        }

    def store_status(self) -> Event:
        snapshot, spec = self._cluster.snapshot, self._store_spec
        return {
            "type": spec.type,
            "where": list(spec.endpoints) or [str(self._paths.store)],
            "revision": snapshot.revision,
            "objects": {BY_TYPE[type_].plural: len(objects) for type_, objects in snapshot.objects.items() if objects},
            **msgspec.to_builtins(self._cluster.informer.health()),
        }

    async def _node_status(self, node: Node) -> Event:
        task, here = self._agents.node(node.name), node.name not in self._afar(self._cluster.snapshot)
        pods = [p for p in self._cluster.snapshot.all(Pod).values() if p.spec.nodeName == node.name]
        return {
            "name": node.name,
            "address": ",".join(node.addresses),
            "podCIDR": ",".join(node.podCIDRs),
            "ready": any(c.type == "Ready" and c.status == "True" for c in node.status.conditions),
            "paused": bool(task and task.state.paused) if here else is_paused(node),
            "pods": len(pods),
            "answers": here,
            "agent": await self._agent_status(task, "no agent" if here else ""),
        }

    def _afar(self, snapshot: Snapshot) -> set[str]:
        """The nodes that are other machines."""
        return {name for _, name in snapshot.all(Node)} - self._agents.local(snapshot)

    async def _agent_status(self, task: AgentTask | None, why: str) -> Event:
        if task is None:
            return {"synced": False, "revision": -1, "lastSync": 0.0, "error": why, "drift": []}
        state = task.state
        try:
            drift = await task.drift()
        except K8sNetLabError as error:
            drift = [error.message]
        return {
            "synced": task.has(self._cluster.snapshot) and not drift and not state.error,
            "revision": state.snapshot.revision if state.snapshot else -1,
            "lastSync": state.synced_at,
            "seconds": round(state.seconds, 4),
            "operations": state.operations,
            "error": state.error,
            "operation": state.operation,
            "drift": drift,
        }

    def names(self) -> Event:
        snapshot = self._cluster.snapshot

        def short(key: tuple[str, str]) -> str:
            return key[1] if key[0] == "default" else f"{key[0]}/{key[1]}"

        return {
            "nodes": [name for _, name in snapshot.all(Node)],
            "pods": [short(key) for key in snapshot.all(Pod)],
            "services": [short(key) for key in snapshot.all(Service)],
        }

    def resolve(self, name: str, namespace: str) -> Event:
        """Where a command for `name` runs."""
        snapshot = self._cluster.snapshot
        place = place_of(snapshot, name, namespace)
        space, _, short = place.name.rpartition("/")
        pod = snapshot.get(Pod, short, space or "default") if place.kind == "pod" else None
        return {
            "kind": place.kind,
            "name": short,
            "namespace": (space or "default") if pod else "",
            "node": place.node,
            "machine": self._machine_of(place.node),
            "netns": place.netns,
            "hostname": pod.hostname if pod and not pod.spec.hostNetwork else place.node or short,
            "flannel": str(self._paths.flannel(place.node)) if place.node and (not pod or pod.spec.hostNetwork) else "",
        }

    async def leases(self, node: str) -> list[Event]:
        """`Leases.listing`, of one node or ("") of all, each with "env", the variables of its subnet.env."""
        snapshot = self._cluster.snapshot
        if node and snapshot.get(Node, node) is None:
            raise NotFoundError(f"node {node!r} not found", f"nodes: {', '.join(n for _, n in snapshot.all(Node))}")
        found = [lease for lease in await self._leases.listing() if node in ("", lease["node"])]
        for lease in found:
            lease["env"] = subnet_env(snapshot.lab, self._cluster.current(Node, lease["node"]))
        return found

    def _machine_of(self, name: str) -> str:
        """How to come to the other machine that a node is: its hostname and address; "" for a node of this one."""
        snapshot = self._cluster.snapshot
        node = snapshot.get(Node, name)
        if node is None or name not in self._afar(snapshot):
            return ""
        return f"{node.metadata.annotations.get(MACHINE, name)} ({', '.join(node.addresses)})"

    async def rules(self, node: str, service: str, family: str) -> Event:
        """A node's chains as a tree."""
        snapshot = self._cluster.snapshot
        return await asyncio.to_thread(inspect.rules, snapshot, self._paths, node, service, _family(family))

    async def chains(self, node: str, family: str) -> inspect.Held:
        """A node's chains."""
        return await asyncio.to_thread(inspect.held, self._cluster.snapshot, self._paths, node, _family(family))

    async def difference(self, sides: tuple[inspect.Held, inspect.Held], service: str, family: str) -> Event:
        """How the rules of two nodes differ."""
        return await asyncio.to_thread(inspect.difference, self._cluster.snapshot, sides, service, _family(family))

    async def tables(self, place: str, namespace: str, kind: str) -> Event:
        snapshot = self._cluster.snapshot
        return await asyncio.to_thread(inspect.tables, snapshot, place_of(snapshot, place, namespace), kind)

    def execute(self, name: str, namespace: str, argv: list[str], stdin: AsyncIterator[bytes]) -> AsyncIterator[Event]:
        """`commands.run` in a pod or node of this machine."""
        place = self.resolve(name, namespace)
        return commands.run(place["netns"], place["hostname"], argv, stdin)

    async def probe(self, body: Event) -> Event:
        snapshot = self._cluster.snapshot
        protocols = [p.upper() for p in body.get("protocols") or ["TCP", "UDP"]]
        if source := body.get("from"):
            place = probe.find_place(snapshot, source)
            pairs = [(place, t) for t in probe.find_targets(snapshot, body["to"], body.get("port"), protocols[0])]
        else:
            targets, afar = probe.targets(snapshot, protocols), self._afar(snapshot)
            places = [place for place in probe.places(snapshot) if place.node not in afar]
            pairs = [(place, target) for place in places for target in targets]
        return {"results": msgspec.to_builtins(await probe.probe(snapshot, pairs))}

    async def misses(self, node: str) -> AsyncIterator[Event]:
        """What the kernel asks and is told from now on, on one node or ("") on all; first says that it listens."""
        nodes, network = [name for _, name in self._cluster.snapshot.all(Node)], self._cluster.snapshot.lab.spec.network
        if node and node not in nodes:
            raise NotFoundError(f"node {node!r} not found", f"nodes: {', '.join(nodes)}")
        if network.backend != "vxlan" or network.resolve != "on-miss":
            raise NotFoundError(
                f"the kernel asks nothing in lab {self._lab}: every entry is there already",
                "set `network: {backend: vxlan, resolve: on-miss}` in the lab file, and `k8snetlab up` again",
            )
        loop, answers = asyncio.get_running_loop(), asyncio.Queue[Answer]()
        with self._agents.misses.listening(lambda answer: _hand_over(loop, answers, answer)):
            afar = self._afar(self._cluster.snapshot)
            yield {"type": "listening", "nodes": [node] if node else [name for name in nodes if name not in afar]}
            while True:
                answer = await answers.get()
                if node in ("", answer.node):
                    yield {"type": "miss", **msgspec.to_builtins(answer)}

    async def trace(self, body: Event) -> Event:
        question = msgspec.convert(body, tracing.Question)
        return await asyncio.to_thread(tracing.trace, self._cluster.snapshot, self._paths, question, self._beyond())

    def _beyond(self) -> Afar | None:
        """The other machines, for a thread."""
        return Afar(self._remote, asyncio.get_running_loop()) if self._remote else None

    async def survey(self, namespace: str, family: str) -> AsyncIterator[bytes]:
        """For another machine's trace: a namespace of this one, as MessagePack of a `View`."""
        here = self._remote.node if self._remote else ""
        kernel = tracing.Kernel(self._cluster.snapshot, self._paths, _family(family), here)
        if namespace not in kernel.places or kernel.node_of(namespace):
            raise NotFoundError(f"{namespace} is no namespace of this machine")
        yield msgspec.msgpack.encode(await asyncio.to_thread(kernel.__getitem__, namespace))

    async def watch(self, namespaces: list[str], ports: set[int], until: AsyncIterator[bytes]) -> AsyncIterator[Event]:
        """For another machine's trace: {"type": "watching"}, and when `until` ends {"type": "seen"} and `afar.Seen`."""
        here = self._remote.node if self._remote else ""
        kernel = tracing.Kernel(self._cluster.snapshot, self._paths, "ipv4", here)
        with await asyncio.to_thread(Watch, tracing.present(kernel, namespaces), ports) as watch:
            yield {"type": "watching"}
            async for _ in until:
                pass
            seen = tracing.seen_here(kernel, watch)
        yield {"type": "seen", **msgspec.to_builtins(seen)}

    async def diagnose(self, body: Event) -> AsyncIterator[Event]:
        """{"type": "progress", …}, and at last {"type": "done", …} with the answer of `diagnosing.diagnose`."""
        question = msgspec.convert(body, diagnosing.Question)
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

        def tell(phase: str, done: int, total: int) -> None:
            event = {"type": "progress", "phase": phase, "done": done, "total": total, "message": ""}
            _hand_over(loop, events, event)

        look = partial(diagnosing.diagnose, self._desired, self._paths, question, tell, self._beyond())
        work = asyncio.ensure_future(asyncio.to_thread(look))
        work.add_done_callback(lambda _: events.put_nowait({}))
        while event := await events.get():
            yield event
        yield {"type": "done", **work.result()}

    async def findings(self) -> AsyncIterator[bytes]:
        """For another machine's diagnosis: MessagePack of `diagnosing.findings_here`."""
        found = await asyncio.to_thread(diagnosing.findings_here, self._desired(), self._paths)
        yield msgspec.msgpack.encode(found)

    def _desired(self) -> Desired:
        """May be called from any thread: what it reads is replaced as a whole, never changed."""
        health, lost = self._cluster.informer.health(), gone(self._paths)
        agents = {
            task.name: AgentNow(task.state.paused, task.state.error, task.state.hint, task.state.operation)
            for task in list(self._agents.tasks)
        }
        snapshot = self._cluster.snapshot
        agents |= {name: AgentNow(is_paused(self._cluster.current(Node, name))) for name in self._afar(snapshot)}
        kubelet, _ = state_of(self._paths, "kubelet")
        return Desired(
            snapshot,
            agents,
            "runs",
            kubelet,
            os.getpid(),
            where(self._paths),
            lost if health.healthy else health.problem,
            dict(self._cluster.informer.problems),
        )

    async def logs(self, namespace: str, name: str, container: str, follow: bool, last: int) -> AsyncIterator[bytes]:
        pod = self._cluster.current(Pod, name, namespace)
        containers = [c.name for c in pod.spec.containers]
        if container and container not in containers:
            raise NotFoundError(f"pod {name} has no container {container!r}", f"containers: {', '.join(containers)}")
        chosen = next(c for c in pod.spec.containers if c.name == (container or containers[0]))
        if not chosen.command:
            yield b""
            return
        path = self._paths.pod_logs / namespace / name / f"{chosen.name}.log"
        async for data in logs.read(path, follow, last):
            yield data


def _hand_over(loop: asyncio.AbstractEventLoop, answers: asyncio.Queue[T], answer: T) -> None:
    """From another thread to the loop's, which may be ending."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(answers.put_nowait, answer)


def _family(name: str) -> Family:
    for family in FAMILIES:
        if family == name:
            return family
    raise InputError(f"{name!r} is no IP family", "ipv4 or ipv6")


def refuse_deletion(obj: Object) -> None:
    """Raises InputError for what a controller would only bring back."""
    if isinstance(obj, Lab):
        raise InputError("a lab is not deleted among its objects", "`k8snetlab down` takes it down")
    if isinstance(obj, Node) and is_machine(obj):
        if all(c.status != "Unknown" for c in obj.status.conditions if c.type == "Ready"):
            raise InputError(f"{obj.name} is a machine that lives", "`k8snetlab node leave` on it takes it out")
    elif isinstance(obj, Node):
        raise InputError("a node comes and goes with the lab file", "take it out of spec.nodes and `up` again")
    if isinstance(obj, Namespace) and obj.name in namespaces.SYSTEM:
        raise InputError(f"namespaces {obj.name!r} is forbidden: this namespace may not be deleted")


def _decoded(bodies: list[Event]) -> list[Object]:
    """The objects, taken out of the list: as bodies they weigh far more, and the request is held to its end."""
    bodies.reverse()
    objects = []
    while bodies:
        objects.append(decode(bodies.pop()))
    return objects


def _marked(obj: Object) -> Object:
    annotations = {**obj.metadata.annotations, UP: "true"}
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, annotations=annotations))


def _title(obj: Object) -> str:
    return f"{obj.KIND.lower()}/{obj.name}"
