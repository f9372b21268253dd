"""This machine as one of the lab's: has it joined, may it leave, and the end of the lab for all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from k8snetlab.api.core import Node
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.errors import ConflictError, DaemonError, InputError
from k8snetlab.machines import ending
from k8snetlab.machines.leases import Leases
from k8snetlab.messages.machines import Joined, Leaving
from k8snetlab.running.agents import Agents
from k8snetlab.state.machine import Machine

TIMEOUT = 60.0
"""Seconds that registration and the first sync together may take."""


class Membership:
    """Joining and leaving, for this machine; refused in a lab whose nodes are namespaces."""

    def __init__(self, cluster: Cluster, agents: Agents, leases: Leases, machine: Machine | None) -> None:
        self._cluster, self._agents, self._leases, self._member = cluster, agents, leases, machine

    async def joined(self) -> Joined:
        """Once this machine is registered and all of it stands.

        Raises ConflictError when another machine has the name or the address, KernelError for what the kernel refuses.
        """
        machine = self._machine
        try:
            async with asyncio.timeout(TIMEOUT):
                node = await self._leases.registered()
                assert node is not None
                await self._stands(machine.node)
        except TimeoutError:
            said = "; ".join(self._leases.problems.values())
            raise DaemonError(
                f"{machine.node} has not joined within {TIMEOUT:.0f} s{': ' if said else ''}{said}",
                "`k8snetlab status` says what its agent is doing, `k8snetlab store status` whether the store answers",
            ) from None
        return Joined(node.name, machine.interface, ",".join(node.addresses), ",".join(node.podCIDRs))

    async def leave(self) -> None:
        """Gives the node, its leases and its pods back. Raises StoreError when the store does not answer."""
        assert self._machine
        await self._leases.leave()

    async def end(self, patience: float) -> AsyncIterator[Leaving]:
        """Lets every other machine leave; yields progress until they have, or for `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                async for event in ending.end(self._cluster, self._machine):
                    yield event

    @property
    def _machine(self) -> Machine:
        if self._member is None:
            raise InputError("the nodes of this lab are namespaces of this machine", "`k8snetlab down` takes it down")
        return self._member

    async def _stands(self, name: str) -> None:
        while (task := self._agents.node(name)) is None or task.state.snapshot is None:
            if task is not None and task.state.failures > 2:
                raise ConflictError(f"{name}: {task.state.error}", task.state.hint)
            await asyncio.sleep(0.02)
        assert self._cluster.snapshot.get(Node, name)
