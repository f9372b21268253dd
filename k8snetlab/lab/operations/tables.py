"""Nodes' tables, each line explained: iptables' chains, what ip and bridge print, flannel's leases."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from msgspec.structs import replace

from k8snetlab.api.core import Node
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.families import family_named
from k8snetlab.lab.table import answers
from k8snetlab.lab.where import place_of, remote_nodes
from k8snetlab.machines.leases import Leases
from k8snetlab.messages.routing import ROUTING, RoutingQuestion, RoutingView
from k8snetlab.messages.rules import (
    CHAINS,
    DIFFERENCE,
    RULES,
    Chains,
    ChainsQuestion,
    DifferenceQuestion,
    RulesDifference,
    RulesQuestion,
    RuleTree,
)
from k8snetlab.messages.store import LEASES, LeaseList, LeasesQuestion
from k8snetlab.messages.tables import TABLES, TableList, TablesQuestion
from k8snetlab.peers.requests import Remote
from k8snetlab.render.subnet_env import subnet_env
from k8snetlab.running.agents import Agents
from k8snetlab.state.paths import LabPaths


def _looking() -> Any:
    """`explain.inspect`, which is loaded for who asks first: 9 ms, for which no lab that comes shall wait."""
    from k8snetlab.explain import inspect

    return inspect


class Tables:
    """Reads them, those of the kernel in a thread."""

    def __init__(
        self, cluster: Cluster, agents: Agents, leases: Leases, paths: LabPaths, remote: Remote | None
    ) -> None:
        self._cluster, self._agents, self._leases, self._paths, self._remote = cluster, agents, leases, paths, remote

    @answers(RULES)
    async def rules(self, asked: RulesQuestion) -> RuleTree:
        """A node's chains as a tree."""
        node = asked.node or self._agents.here
        snapshot, family = self._cluster.snapshot, family_named(asked.family)
        read = partial(_looking().rules, snapshot, self._paths, node, asked.service, family, here=self._agents.here)
        return await asyncio.to_thread(read)

    @answers(CHAINS)
    async def chains(self, asked: ChainsQuestion) -> Chains:
        """A node's chains."""
        family = family_named(asked.family)
        read = partial(_looking().held, self._cluster.snapshot, self._paths, asked.node, family, self._agents.here)
        return await asyncio.to_thread(read)

    @answers(DIFFERENCE)
    async def difference(self, asked: DifferenceQuestion) -> RulesDifference:
        """How the rules of two nodes differ, whichever machines they are on."""
        sides = await self._held(asked.node, asked.family), await self._held(asked.other, asked.family)
        snapshot, family = self._cluster.snapshot, family_named(asked.family)
        return await asyncio.to_thread(_looking().difference, snapshot, sides, asked.service, family)

    @answers(TABLES)
    async def tables(self, asked: TablesQuestion) -> TableList:
        """What ip and bridge print inside a place: one kind of table, or ("") all."""
        snapshot = self._cluster.snapshot
        place = place_of(snapshot, asked.name, asked.namespace, self._agents.power.off)
        return await asyncio.to_thread(_looking().tables, snapshot, place, asked.table, self._paths)

    @answers(ROUTING)
    async def routing(self, asked: RoutingQuestion) -> RoutingView:
        """What routing daemons know."""
        from k8snetlab.explain import daemons

        return await asyncio.to_thread(daemons.view, self._cluster.snapshot, self._paths, asked.node)

    @answers(LEASES)
    async def leases(self, asked: LeasesQuestion) -> LeaseList:
        """`Leases.listing`, of one node or ("") of all, with the variables of each one's subnet.env."""
        snapshot = self._cluster.snapshot
        if asked.node:
            snapshot.node(asked.node)
        found = [lease for lease in await self._leases.listing() if asked.node in ("", lease.node)]
        envs = [subnet_env(snapshot.lab, self._cluster.current(Node, lease.node)) for lease in found]
        return LeaseList(tuple(replace(lease, env=env) for lease, env in zip(found, envs, strict=True)))

    async def _held(self, node: str, family: str) -> Chains:
        asked = ChainsQuestion(node, family)
        if self._remote and node in remote_nodes(self._cluster.snapshot, self._agents):
            return await self._remote.ask(node, CHAINS, asked)
        return await self.chains(asked)
