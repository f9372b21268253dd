"""Nodes' tables, each line explained: iptables' chains, what ip and bridge print, flannel's leases."""

from __future__ import annotations

import asyncio
from typing import Any

from k8snetlab.api.core import Node
from k8snetlab.cluster.cluster import Cluster
from k8snetlab.dataplane.families import family_named
from k8snetlab.explain import inspect
from k8snetlab.lab.concern import place_of
from k8snetlab.machines.leases import Leases
from k8snetlab.messages.rules import Chains, RulesDifference, RuleTree
from k8snetlab.messages.tables import Tables as Explained
from k8snetlab.render.subnet_env import subnet_env
from k8snetlab.state.paths import LabPaths

Json = dict[str, Any]


class Tables:
    """Reads them, those of the kernel in a thread."""

    def __init__(self, cluster: Cluster, leases: Leases, paths: LabPaths) -> None:
        self._cluster, self._leases, self._paths = cluster, leases, paths

    async def rules(self, node: str, service: str, family: str) -> RuleTree:
        """A node's chains as a tree."""
        snapshot = self._cluster.snapshot
        return await asyncio.to_thread(inspect.rules, snapshot, self._paths, node, service, family_named(family))

    async def chains(self, node: str, family: str) -> Chains:
        """A node's chains."""
        return await asyncio.to_thread(inspect.held, self._cluster.snapshot, self._paths, node, family_named(family))

    async def difference(self, sides: tuple[Chains, Chains], service: str, family: str) -> RulesDifference:
        """How the rules of two nodes differ."""
        return await asyncio.to_thread(inspect.difference, self._cluster.snapshot, sides, service, family_named(family))

    async def of(self, place: str, namespace: str, kind: str) -> Explained:
        """What ip and bridge print inside a place: one kind of table, or ("") all."""
        snapshot = self._cluster.snapshot
        return await asyncio.to_thread(inspect.tables, snapshot, place_of(snapshot, place, namespace), kind)

    async def leases(self, node: str) -> list[Json]:
        """`Leases.listing`, of one node or ("") of all, each with "env", the variables of its subnet.env."""
        snapshot = self._cluster.snapshot
        if node:
            snapshot.node(node)
        found = [lease for lease in await self._leases.listing() if node in ("", lease["node"])]
        for lease in found:
            lease["env"] = subnet_env(snapshot.lab, self._cluster.current(Node, lease["node"]))
        return found
