"""The lab's namespaces in the kernel for both IP families at once, and what people call them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.families import FAMILIES, family_of, pick
from k8snetlab.dataplane.rules import Family
from k8snetlab.diagnose import unmanaged
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.diagnose.paths import Broken
from k8snetlab.diagnose.policy_rules import PolicyRules
from k8snetlab.diagnose.wanted import Wanted
from k8snetlab.explain.namespaces import Namespaces
from k8snetlab.iptables.patch import CommandLine
from k8snetlab.kernel import iptables
from k8snetlab.peers.remote import RemoteKernels
from k8snetlab.render.node import Rendered
from k8snetlab.state.machine import read as read_machine
from k8snetlab.state.paths import LabPaths
from k8snetlab.trace.owners import Owners

AHEAD = 3
"""Namespaces that are read at a time."""


class Kernels:
    """The kernel for both families, with what people call each namespace."""

    def __init__(self, snapshot: Snapshot, paths: LabPaths, remote: RemoteKernels | None) -> None:
        self.snapshot = snapshot
        machine = read_machine(paths)
        here = machine.node if machine else ""
        self.families: list[Family] = [f for f in FAMILIES if pick(snapshot.lab.spec.podCIDR, f)]
        self._kernels = {
            family: Namespaces(snapshot, paths, family, here, remote, counted=False) for family in self.families
        }
        self.variant = iptables.variant(snapshot.lab.spec.proxy.iptables)
        self.rendered = Rendered(snapshot)
        self.owners = Owners(snapshot, Wanted(snapshot, self.rendered), PolicyRules(snapshot))
        known = next(iter(self._kernels.values()))
        self.name_of, self.own_name = known.name_of, known.own_name
        self.wheres = {key: _spoken(where) for key, where in known.places.items()}
        self.is_elsewhere = known.node_of
        homes = {name: names.node_netns(snapshot.lab.name, name) for _, name in snapshot.all(Node)}
        self.elsewhere = [name for name, home in homes.items() if known.node_of(home)]
        self.nodes = [name for name in homes if name not in self.elsewhere]
        self.machines = [*homes.values()] if machine else []

    def __getitem__(self, family: Family) -> Namespaces:
        return self._kernels[family]

    def ahead(self, namespaces: Iterable[str]) -> None:
        """Begins to read them, for who will ask for all of them: iptables-save, which tells of a node, works for 50 ms
        and on another core. What cannot be read says so when it is asked for."""
        several = ThreadPoolExecutor(AHEAD)
        for name in namespaces:
            for kernel in self._kernels.values():
                kernel.ahead(name, several)
        several.shutdown(wait=False)

    def rule_of(self, broken: Broken) -> Finding | None:
        """The finding on the unmanaged rule that is to blame."""
        if broken.blamed is None:
            return None
        netns, decision = broken.blamed
        family = family_of(broken.path.flow.dst)
        where = self.wheres.get(netns) or Where(netns, netns, "pod", "")
        return unmanaged.of_rule(decision, self[family][netns], where, CommandLine(netns, family, self.variant))


def _spoken(where: Where) -> Where:
    """With a pod's kind and namespace in its place: findings are read far from the command that asked."""
    name = where.place if "/" in where.place else f"default/{where.place}"
    return replace(where, place=f"pod {name}") if where.kind == "pod" else where
