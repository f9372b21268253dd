"""Processes of pods and add-ons, killed on purpose: what the kubelet then does is what one wants to see."""

from __future__ import annotations

import asyncio
import signal

from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.program import GUEST
from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.words import shorten
from k8snetlab.api.workload import ADDON, PAUSE, PodState
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import ConflictError, InputError
from k8snetlab.explain.places import find_pod, within
from k8snetlab.gateways import names
from k8snetlab.lab.table import answers
from k8snetlab.lab.where import remote_nodes
from k8snetlab.messages.processes import KILL, Killed, KillQuestion
from k8snetlab.render.ingress import addon
from k8snetlab.running.agents import Agents
from k8snetlab.running.kubelet_link import KubeletLink
from k8snetlab.state.paths import LabPaths


class Processes:
    def __init__(self, cluster: Cluster, agents: Agents, paths: LabPaths, kubelet: KubeletLink) -> None:
        self._cluster, self._agents, self._kubelet = cluster, agents, kubelet
        self._asked = Kubelet(paths.kubelet_socket)

    @answers(KILL)
    async def kill(self, asked: KillQuestion) -> Killed:
        """Nothing is said to the kubelet but the signal: it finds out as it does of any end."""
        held = await asyncio.to_thread(self._asked.addons, ADDON)
        named = [uid for uid in held if _is_called(uid, asked)]
        if len(named) > 1:
            nodes = ", ".join(sorted(uid.split("/")[1] for uid in named))
            raise InputError(f"{asked.name} runs on several nodes: {nodes}", "--node NODE says which one is meant")
        if named:
            (uid,) = named
            if asked.container:
                raise InputError(f"{asked.name} is an add-on, which has no containers", "leave --container out")
            await self._signal(uid)
            return Killed("addon", asked.name, uid.split("/")[1], _running(held[uid]))
        return await self._kill_pod(asked, self._cluster.snapshot)

    async def _kill_pod(self, asked: KillQuestion, snapshot: Snapshot) -> Killed:
        pod = find_pod(snapshot, within(snapshot, asked.name, asked.namespace))
        node, name = pod.spec.nodeName, f"{pod.namespace}/{pod.name}"
        if asked.node not in ("", node):
            raise InputError(f"pod {name} runs on {node or 'no node'}, not on {asked.node}", "leave --node out")
        if node in remote_nodes(snapshot, self._agents):
            raise ConflictError(f"pod {name} runs on the machine {node}", f"the same command on {node} kills it")
        state = self._kubelet.states.get(pod.run_uid)
        if asked.container == PAUSE:
            return await self._kill_pause(pod, state)
        running = tuple(one for one in (_running(state) if state else ()) if _has_process(pod, one))
        if asked.container:
            running = tuple(one for one in running if one == asked.container)
        if not running:
            why = _why_none(pod, asked.container)
            raise ConflictError(f"pod {name} has no process: {why}", f"`k8snetlab get pod/{pod.name}` shows how it is")
        await self._signal(pod.run_uid, asked.container)
        return Killed("pod", name, node, running)

    async def _kill_pause(self, pod: Pod, state: PodState | None) -> Killed:
        if state is None or not state.processes.get(""):
            hint = "spec.pause: always of the Lab gives one to pods without commands, too"
            raise ConflictError(f"pod {pod.namespace}/{pod.name} has no pause process", hint)
        await self._signal(pod.run_uid, PAUSE)
        return Killed("pod", f"{pod.namespace}/{pod.name}", pod.spec.nodeName, (PAUSE,))

    async def _signal(self, uid: str, container: str = "") -> None:
        await asyncio.to_thread(self._asked.signal, uid, signal.SIGKILL, container)


def _is_called(uid: str, asked: KillQuestion) -> bool:
    """Whether it is the uid of an add-on of that name: addon/NODE/PROGRAM/…"""
    _, node, program, *_ = uid.split("/")
    return asked.node in ("", node) and program in (asked.name, f"{GUEST}{asked.name}")


def _running(state: PodState) -> tuple[str, ...]:
    return tuple(status.name for status in state.containers if status.state.running)


def _why_none(pod: Pod, container: str) -> str:
    names = [one.name for one in pod.spec.all_containers]
    if container and container not in names:
        return f"no container of it is called {shorten(container)}; there are {', '.join(names)}, and {PAUSE}"
    meant = [one for one in pod.spec.all_containers if container in ("", one.name)]
    if any(one.argv for one in meant):
        return "none of them runs" if len(meant) > 1 else f"container {meant[0].name} does not run"
    return "its containers have no command, and the kubelet answers for them"


def _has_process(pod: Pod, container: str) -> bool:
    controller = addon.container_of(pod) or names.container_of(pod)  # nginx runs in the place of its image
    if controller is not None and controller.name == container:
        return True
    return any(one.name == container and one.argv for one in (*pod.spec.containers, *pod.spec.initContainers))
