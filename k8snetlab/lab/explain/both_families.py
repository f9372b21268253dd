"""The lab's namespaces in the kernel for both IP families at once, and what people call them."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.rules import Family
from k8snetlab.kernel import iptables
from k8snetlab.lab.across.afar import Afar
from k8snetlab.lab.explain.namespaces import Namespaces
from k8snetlab.lab.machines.machine import read as read_machine
from k8snetlab.lab.paths import LabPaths
from k8snetlab.render import names
from k8snetlab.render.families import FAMILIES, pick
from k8snetlab.trace import diagnose_strangers
from k8snetlab.trace.diagnose_ways import Broken
from k8snetlab.trace.finding import Finding, Where
from k8snetlab.trace.owners import Owners


class World:
    """The kernel for both families, with what people call each namespace."""

    def __init__(self, snapshot: Snapshot, paths: LabPaths, afar: Afar | None) -> None:
        machine = read_machine(paths)
        here = machine.node if machine else ""
        self.families: list[Family] = [f for f in FAMILIES if pick(snapshot.lab.spec.podCIDR, f)]
        self._kernels = {family: Namespaces(snapshot, paths, family, here, afar) for family in self.families}
        self.variant = iptables.variant(snapshot.lab.spec.proxy.iptables)
        self.owners = Owners(snapshot)
        self.wheres: dict[str, Where] = {}
        known = next(iter(self._kernels.values()))
        self.places, self.name_of, self.own_name = known.places, known.name_of, known.own_name
        self.is_elsewhere = known.node_of
        homes = {name: names.node_netns(snapshot.lab.name, name) for _, name in snapshot.all(Node)}
        self.elsewhere = [name for name, home in homes.items() if known.node_of(home)]
        self.nodes = [name for name in homes if name not in self.elsewhere]
        self.machines = [*homes.values()] if machine else []
        for name in self.elsewhere:
            self.wheres[homes[name]] = Where(homes[name], name, "node", name)
        for key, (place, kind) in self.places.items():
            if kind == "pod" and (node := known.node_of(key)):
                self.wheres[key] = Where(key, f"pod {place if '/' in place else f'default/{place}'}", kind, node)

    def __getitem__(self, family: Family) -> Namespaces:
        return self._kernels[family]

    def rule_of(self, broken: Broken) -> Finding | None:
        """The finding on the stranger's rule that is to blame."""
        if broken.blamed is None:
            return None
        netns, decision = broken.blamed
        family: Family = "ipv6" if ":" in broken.path.flow.dst else "ipv4"
        where = self.wheres.get(netns) or Where(netns, netns, "pod", "")
        return diagnose_strangers.of_rule(netns, decision, self[family][netns], where, family, self.variant)


def with_peer(finding: Finding, kernel: World) -> Finding:
    """A link's finding with the other end of its cable, where the kernel has one."""
    if finding.kind != "link" or finding.beyond:
        return finding
    device = kernel[kernel.families[0]][finding.netns].interfaces.get(finding.object)
    return replace(finding, beyond=device.peer) if device and device.peer else finding


def namespaces_of(plane: NodeDataplane) -> tuple[Netns, ...]:
    return (plane.node, *plane.pods)


def where_of(state: Netns, node: str, kernel: World) -> Where:
    place, kind = kernel.places.get(state.name, (state.hostname or state.name, state.role))
    kind = kind if kind not in (names.ROUTER, names.OUTSIDE) else state.role
    place = f"pod {place if '/' in place else f'default/{place}'}" if state.role == "pod" else place
    return Where(state.name, place, kind, node)
