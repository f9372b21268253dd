"""What the lab's namespaces on this machine hold, set against what is desired: links to routes, and rules.

Blocking; reads the kernel as it is now.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from msgspec.structs import replace

from k8snetlab.api.selection import is_proxied_by_guest
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane import names
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.rules import Family
from k8snetlab.dataplane.view import View
from k8snetlab.diagnose import blocks, rules, sampling, tables, unmanaged
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.diagnose.guests import no_rules
from k8snetlab.diagnose.links import Names
from k8snetlab.diagnose.sets import sets
from k8snetlab.errors import KernelError, NotFoundError
from k8snetlab.explain.astray import Connections
from k8snetlab.explain.both_families import Kernels
from k8snetlab.iptables.patch import CommandLine, same_rules
from k8snetlab.kernel import iptables
from k8snetlab.kernel.read import read
from k8snetlab.render import underlay
from k8snetlab.render.proxy import ProxyRules, Shared
from k8snetlab.trace.owners import Owners

RULE_KINDS = ("table", "hook", "endpoint", "chain", "rule", "set", "policy", "variant")
"""The kinds of findings on iptables."""
Tell = Callable[[str, int, int], None]
"""Is told a phase, how much of it is done, and how much there is."""


def wanted(snapshot: Snapshot, kernel: Kernels) -> dict[str, Netns]:
    """What every namespace of this machine should hold, by its name."""
    planes = [] if snapshot.lab.spec.machines else [underlay.render(snapshot)]
    planes += [kernel.rendered[name] for name in kernel.nodes]
    return {kernel.name_of(state.name): state for plane in planes for state in (plane.node, *plane.pods)}


def vouched(
    states: Mapping[str, Netns], kernel: Kernels, untouched: Mapping[str, Netns], turn: int = 0
) -> frozenset[str]:
    """Pods' namespaces that need not be read: made as they should be, and untouched since. Of many; the others that
    are untouched are read all the same, and others in another `turn`."""
    pods = [name for name, state in states.items() if kernel.wheres[name].kind == "pod"]
    same = [name for name in pods if untouched.get(kernel.own_name(name)) == states[name]]
    return frozenset(same).difference(sampling.spread(same, sampling.PODS, turn))


def ruled(kernel: Kernels) -> list[Where]:
    """This machine's pods in whose namespaces somebody wrote iptables rules: nobody of the lab does."""
    found = []
    for where in kernel.wheres.values():
        if where.kind == "pod" and not kernel.is_elsewhere(where.netns):
            with contextlib.suppress(NotFoundError):
                if any(iptables.touched(where.netns, family, kernel.variant) for family in kernel.families):
                    found.append(where)
    return found


def of_namespaces(
    states: Mapping[str, Netns], kernel: Kernels, tell: Tell, unread: Container[str] = ()
) -> Iterator[Finding]:
    """Links, addresses, routes … of every namespace; and addresses that two of them have. Those that are `unread` hold
    what they should."""
    held: dict[str, Netns] = {}
    words = Names(kernel.owners, {name: where.place for name, where in kernel.wheres.items()})
    for number, (name, state) in enumerate(states.items()):
        if name in unread:
            held[name] = replace(state, name=name)
            continue
        tell("namespaces", number, len(states))
        where = kernel.wheres[name]
        try:
            held[name], found = _compared(where, replace(state, name=name), words, kernel)
        except NotFoundError:
            found = [_gone(where)]
        yield from found
    yield from tables.duplicates(held, states, kernel.wheres)


def plugged(snapshot: Snapshot, kernel: Kernels) -> tuple[list[Finding], list[str]]:
    """What is plugged into the bridges of this machine's nodes by nobody of the lab: findings where other nodes do not
    reach it, else sentences."""
    findings: list[Finding] = []
    notes: list[str] = []
    network = snapshot.lab.spec.network
    flat = network.backend == "vxlan" and network.routes == "flat"
    for node in kernel.nodes:
        where = kernel.wheres[names.node_netns(snapshot.lab.name, node)]
        with contextlib.suppress(NotFoundError):
            wanted = {link.name for link in kernel.rendered[node].node.links}
            found = [*unmanaged.plugged(kernel[kernel.families[0]][where.netns], where, names.BRIDGE, wanted, not flat)]
            findings += found if flat else []
            notes += [] if flat else [finding.message for finding in found]
    return findings, notes


def tidy(kernel: Kernels, found: Iterable[Finding]) -> bool:
    """Whether the rules of all nodes are the lab's own and nothing else, after what was `found`: none of them then
    treats one endpoint of a Service otherwise than the others. False where a node cannot be read."""
    if kernel.elsewhere or any(finding.kind in RULE_KINDS for finding in found):
        return False
    places = [where.netns for where in kernel.wheres.values() if where.kind in ("node", "router")]
    try:
        views = [kernel[family][netns] for family in kernel.families for netns in places]
    except (NotFoundError, KernelError):
        return False
    return not any(view.beside or any(unmanaged.unmanaged_rules(view)) for view in views)


def of_rules(snapshot: Snapshot, kernel: Kernels, tell: Tell, connections: Connections) -> Iterator[Finding]:
    """kube-proxy's and flannel's rules, policies, the other variant. `connections` asks for those of UDP."""
    shared, nodes, alike = Shared(), kernel.nodes, functools.cache(same_rules)
    last: dict[Family, ProxyRules] = {}  # its Services' rules are shared with the next node's as long as it is there
    for number, node in enumerate(nodes):
        tell("rules", number, len(nodes))
        where = kernel.wheres[names.node_netns(snapshot.lab.name, node)]
        flannel, guests = kernel.rendered[node].rules, is_proxied_by_guest(snapshot, node)
        for family in kernel.families:
            with contextlib.suppress(NotFoundError):
                view = kernel[family][where.netns]
                counted = any("nfacct" in rule for rules in view.chains.values() for rule in rules)
                proxy = last[family] = ProxyRules.build(snapshot, node, family, counted, shared)
                wanted = [r for r in flannel if r.family == family]
                if guests:
                    yield from no_rules(where, view.chains)
                else:
                    wanted.append(proxy.ruleset)
                yield from rules.rules(where, wanted, view.chains, kernel.variant, kernel.owners, alike=alike)
                yield from _sets(where, kernel.rendered[node], view, family, kernel.owners)
                command = CommandLine(where.netns, family, kernel.variant)
                dropping = [key for key, policy in view.policies.items() if policy == "DROP"]
                yield from (unmanaged.of_policy(key, where, command) for key in dropping)
                if not guests:
                    connections.ask(where, kernel.own_name(where.netns), proxy, view)
        with contextlib.suppress(NotFoundError):
            if iptables.mixed(kernel.own_name(where.netns)):
                yield unmanaged.mixed(where, kernel.variant)


def _sets(where: Where, plane: NodeDataplane, view: View, family: Family, owners: Owners) -> Iterator[Finding]:
    """Nothing where no rule looks into any: they are not read then, and rules that are gone are a finding."""
    if any("--match-set" in rule for held in view.chains.values() for rule in held):
        wanted = [one for one in plane.sets if one.family == family]
        held = {name: one for name, one in view.sets.items() if one.family == family}
        yield from sets(where, wanted, held, plane.rules, owners)


def _compared(where: Where, wanted: Netns, words: Names, kernel: Kernels) -> tuple[Netns, list[Finding]]:
    """What the namespace holds, and the findings on it. Raises NotFoundError where it is gone."""
    held = replace(read(kernel.own_name(where.netns), tuple(wanted.sysctls)), name=where.netns)
    found = [*tables.drift(where, wanted, held, words)]
    if any(f.kind == "route" and f.fault == "missing" for f in found):
        entries = [e for family in kernel.families for e in kernel[family][where.netns].routes]
        found = [*tables.drift(where, wanted, held, words, entries)]
    return held, [_with_peer(finding, kernel) for finding in found]


def leaked(snapshot: Snapshot, kernel: Kernels) -> Iterator[Finding]:
    """Routes of Calico's blocks that were left behind on this machine's nodes."""
    if snapshot.lab.spec.network.calico:
        for node in kernel.nodes:
            where = kernel.wheres[names.node_netns(snapshot.lab.name, node)]
            with contextlib.suppress(NotFoundError):
                yield from blocks.leaked(snapshot, where, kernel["ipv4"][where.netns].routes)


def _with_peer(finding: Finding, kernel: Kernels) -> Finding:
    """A link's finding with the other end of its cable, where the kernel has one."""
    if finding.kind != "link" or finding.beyond:
        return finding
    device = kernel[kernel.families[0]][finding.netns].interfaces.get(finding.object)
    return replace(finding, beyond=device.peer) if device and device.peer else finding


def _gone(where: Where) -> Finding:
    return Finding(
        kind="namespace",
        fault="missing",
        node=where.node,
        object=where.netns,
        message=f"{where.place}: its network namespace {where.netns} is gone",
        consequence=f"{where.place} has no network at all, and its processes none that anybody reaches",
        show=f"ip netns list | grep {where.netns}",
        mend=f"k8snetlab resume {where.node}" if where.node != names.ROUTER else "",
        netns=where.netns,
    )
