"""What `link` sets of a node's devices: kept in the Node, brought about by its agent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from k8snetlab.api import topology
from k8snetlab.api.core import Node
from k8snetlab.api.link_settings import PREFIX, LinkSetting, kept_in, settings_of, with_setting
from k8snetlab.api.meta import Object
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane import names
from k8snetlab.dataplane.links import Device, Link
from k8snetlab.dataplane.shaping import parsed
from k8snetlab.errors import KernelError, NotFoundError, UnsupportedError
from k8snetlab.kernel import shaping
from k8snetlab.lab.table import answers
from k8snetlab.messages.links import LINK, LINKS, LinkChange, LinkList, LinksQuestion, LinkState
from k8snetlab.render.node import render
from k8snetlab.running.agent_task import AgentTask
from k8snetlab.running.agents import Agents
from k8snetlab.wording import nearest

FOLLOWING = 60.0
"""Seconds that the node's agent has to bring it about."""


class Linking:
    def __init__(self, cluster: Cluster, agents: Agents) -> None:
        self._cluster, self._agents = cluster, agents

    @answers(LINK)
    async def link(self, asked: LinkChange) -> LinkList:
        """Raises NotFoundError where there is no such device, UnsupportedError where the kernel cannot shape so,
        KernelError where it refused to."""
        known = settings_of(self._cluster.snapshot, asked.node)
        if not asked.shape and asked.up is None:
            if asked.device and asked.device not in known:
                self._devices(asked.node, asked.device)
            devices = [asked.device] if asked.device else [*known]
            await self._edit(asked.node, {device: LinkSetting() for device in devices})
        else:
            shape = parsed(asked.shape) if asked.shape else None
            if shape and not await asyncio.to_thread(shaping.supported, shape.kind):
                raise _unsupported(shape.kind)
            wanted: dict[str, LinkSetting] = {}
            for device in self._devices(asked.node, asked.device):
                before = known.get(device, LinkSetting())
                down = before.down if asked.up is None else not asked.up
                wanted[device] = LinkSetting(shape or before.shape, down)
            await self._edit(asked.node, wanted)
        notes = await self._followed(asked.node)
        found = await asyncio.to_thread(lambda: [*self._states(asked.node)])
        return LinkList(tuple(found), tuple(notes))

    @answers(LINKS)
    async def links(self, asked: LinksQuestion) -> LinkList:
        """What is set, and what tc shows, of one node or of all."""
        snapshot = self._cluster.snapshot
        routers = topology.routers(snapshot.lab.spec.underlay) if snapshot.lab.spec.underlay.links else ()
        if asked.node not in routers and asked.node:
            snapshot.node(asked.node)
        nodes = [asked.node] if asked.node else [*(name for _, name in snapshot.all(Node)), *routers]
        found = await asyncio.to_thread(lambda: [state for node in nodes for state in self._states(node)])
        return LinkList(tuple(found))

    def _devices(self, name: str, device: str) -> tuple[str, ...]:
        """The one that is named; else a node's eth0, or all of a router. Raises NotFoundError."""
        lab = self._cluster.snapshot.lab
        if self._cluster.snapshot.get(Node, name) is None and (ends := topology.of(lab, name)):
            own = tuple(end.device for end in ends)
            if device and device not in own:
                raise NotFoundError(
                    f"{name} has no device {device[:40]!r} of the lab's",
                    nearest(device, own, f"its devices: {', '.join(f'{name}:{one}' for one in own)}"),
                )
            return (device,) if device else own
        return (self._device(self._cluster.snapshot.node(name), device),)

    def _device(self, node: Node, device: str) -> str:
        snapshot = self._cluster.snapshot
        own = [link for link in render(snapshot, node.name).node.links if link.name != "lo"]
        if snapshot.lab.spec.machines:
            machines = [link.name for link in own if isinstance(link, Device)]
            own = [link for link in own if not isinstance(link, Device)]
            if device in ("", *machines):
                what = f"{device} is" if device else f"the devices of {node.name} itself are"
                raise UnsupportedError(
                    f"{what} the machine's own, and may carry more than the lab",
                    f"name one of the lab's: {_named(node, own)}",
                )
        wanted = device or names.ETH0
        if wanted not in {link.name for link in own}:
            hint = nearest(wanted, [link.name for link in own], f"its devices: {_named(node, own)}")
            raise NotFoundError(f"{node.name} has no device {wanted[:40]!r} of the lab's", hint)
        return wanted

    async def _edit(self, name: str, settings: dict[str, LinkSetting]) -> None:
        kept = kept_in(self._cluster.snapshot, name)
        holder, prefix = kept or (self._cluster.snapshot.node(name), PREFIX)

        def changed(stored: Object) -> Object:
            for device, setting in settings.items():
                stored = with_setting(stored, device, setting, prefix)
            return stored

        await self._cluster.edit(holder, changed)

    async def _followed(self, name: str) -> list[str]:
        """Until its agent has brought it about; what keeps it from that, in sentences."""
        task, deadline = self._task(name), time.monotonic() + FOLLOWING
        if task is None:
            return [f"{name}: its agent is not there yet; it is set once it is"]
        if task.state.paused:
            return [f"{name} is paused: it is set once it is resumed (k8snetlab resume {name})"]
        snapshot, began = self._cluster.snapshot, time.monotonic()
        while not (followed := task.has(snapshot) or task.state.began >= began) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        failing = [m for m in task.state.managers if m.name in ("links", f"links of {name}") and m.error]
        if failing:
            raise KernelError(f"{name}: {failing[0].error}", failing[0].hint, failing[0].operation)
        if not followed:
            why = task.state.error or "its agent is still at work"
            return [f"{name}: {why}; it is set once its agent has followed (k8snetlab status)"]
        return []

    def _task(self, name: str) -> AgentTask | None:
        return (
            self._agents.router
            if topology.of(self._cluster.snapshot.lab, name) and not self._is_node(name)
            else (self._agents.node(name))
        )

    def _is_node(self, name: str) -> bool:
        return self._cluster.snapshot.get(Node, name) is not None

    def _states(self, name: str) -> Iterator[LinkState]:
        lab = self._cluster.snapshot.lab
        settings = settings_of(self._cluster.snapshot, name)
        there: dict[str, shaping.Held] = {}
        if self._task(name):
            with contextlib.suppress(NotFoundError):
                there = shaping.held(names.namespace_of(lab.name, name, lab.spec.machines))
        for device in sorted({*settings, *there}):
            setting, held = settings.get(device, LinkSetting()), there.get(device)
            state = LinkState(node=name, device=device, down=setting.down, shape=setting.shape.words())
            if held:
                state = replace(
                    state,
                    qdisc=held.kind,
                    held=held.shape.words(),
                    ours=held.ours,
                    packets=held.packets,
                    octets=held.octets,
                    drops=held.drops,
                    overlimits=held.overlimits,
                    waiting=held.waiting,
                )
            yield state


def _named(node: Node, own: Sequence[Link]) -> str:
    shown = [f"{node.name}:{link.name}" for link in own[:6]]
    return ", ".join(shown) + (" …" if len(own) > len(shown) else "")


def _unsupported(kind: str) -> UnsupportedError:
    if kind == "netem":
        return UnsupportedError(
            "this kernel has no netem, which delays and loses packets",
            "it is the module sch_netem: modprobe sch_netem; --rate alone works without",
        )
    return UnsupportedError(f"this kernel has no {kind}, which keeps to a rate", f"modprobe sch_{kind}")
