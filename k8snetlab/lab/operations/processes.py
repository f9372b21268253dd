"""Processes of pods and add-ons, killed on purpose: what the kubelet then does is what one wants to see."""

from __future__ import annotations

import asyncio
import signal

from k8snetlab.addons.kubelet import Kubelet
from k8snetlab.addons.program import GUEST
from k8snetlab.api.core import Pod
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.api.workload import ADDON, PodState
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import ConflictError, InputError
from k8snetlab.explain.places import find_pod, within
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
        running = tuple(one for one in _running_in(pod, self._kubelet.states) if _has_process(pod, one))
        if not running:
            idle = not any(container.argv for container in (*pod.spec.containers, *pod.spec.initContainers))
            why = "its containers have no command, and the kubelet answers for them" if idle else "none of them runs"
            raise ConflictError(f"pod {name} has no process: {why}", f"`k8snetlab get pod/{pod.name}` shows how it is")
        await self._signal(pod.metadata.uid)
        return Killed("pod", name, node, running)

    async def _signal(self, uid: str) -> None:
        await asyncio.to_thread(self._asked.signal, uid, signal.SIGKILL)


def _is_called(uid: str, asked: KillQuestion) -> bool:
    """Whether it is the uid of an add-on of that name: addon/NODE/PROGRAM/…"""
    _, node, program, *_ = uid.split("/")
    return asked.node in ("", node) and program in (asked.name, f"{GUEST}{asked.name}")


def _running(state: PodState) -> tuple[str, ...]:
    return tuple(status.name for status in state.containers if status.state.running)


def _running_in(pod: Pod, states: dict[str, PodState]) -> tuple[str, ...]:
    state = states.get(pod.metadata.uid)
    return _running(state) if state else ()


def _has_process(pod: Pod, container: str) -> bool:
    controller = addon.container_of(pod)  # nginx runs in the place of its image
    if controller is not None and controller.name == container:
        return True
    return any(one.name == container and one.argv for one in (*pod.spec.containers, *pod.spec.initContainers))
