"""What a node would get, worked out from manifests alone: no root, no daemon, no kernel."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from k8snetlab.api.core import Condition, Node, Pod, Service
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import ALIKE, Change, Snapshot
from k8snetlab.cluster.node_status import architecture
from k8snetlab.controllers import Context, Write, reconcile
from k8snetlab.controllers.admission import admit, in_order
from k8snetlab.dataplane.delta import diff
from k8snetlab.dataplane.links import Device
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.operations import NetnsOperation, Operation
from k8snetlab.dataplane.rules import Family, restore_payload
from k8snetlab.errors import InputError
from k8snetlab.render.node import render
from k8snetlab.render.proxy import ProxyRules, render_payload
from k8snetlab.wording import nearest

ROUNDS = 10_000
"""Far more rounds than any chain of controllers takes to come to rest."""


def settle(objects: Iterable[Object]) -> Snapshot:
    """The objects once the controllers have nothing left to write, every pod with an address taken as ready.

    A Service with a cluster IP and no lab around it is another cluster's, as its API server holds it: whether the
    address lies in the serviceCIDR is not for us to say, and nothing is left to allocate.
    """
    snapshot = Snapshot()
    for obj in in_order(objects):
        held = isinstance(obj, Service) and bool(obj.spec.clusterIP) and not snapshot.all(Lab)
        snapshot = _put(snapshot, obj if held else admit(obj, None, snapshot))
    previous: Snapshot | None = None
    context = Context(architecture())
    for _ in range(ROUNDS):
        if snapshot is previous:
            return snapshot
        writes = reconcile(snapshot, previous, context)
        seen, previous = previous and snapshot, snapshot
        snapshot = _pods_ready(_executed(snapshot, writes), seen)
    raise AssertionError(f"the controllers do not come to rest in {ROUNDS} rounds")


def dataplane(snapshot: Snapshot, node: str, family: Family = "ipv4") -> NodeDataplane:
    """All that node `node` gets; raises NotFoundError. Without a Lab that is kube-proxy's rules alone."""
    names = [name for _, name in snapshot.all(Node)]
    if node not in names:
        raise InputError(
            f"no node is called {node!r}",
            nearest(node, names, f"nodes: {', '.join(names)}", ALIKE)
            if names
            else "name them in a lab file or in Node manifests",
        )
    proxy = ProxyRules.build(snapshot, node, family).ruleset
    if not snapshot.all(Lab):
        return NodeDataplane(node=Netns(node), rules=(proxy,))
    whole = render(snapshot, node)
    own = tuple(rules for rules in whole.rules if rules.family == family)
    return msgspec.structs.replace(whole, rules=(proxy, *own))


def has_links(node: NodeDataplane) -> bool:
    """Whether the node's namespace is known, or (objects without a Lab) its rules alone."""
    return bool(node.node.links)


def rules_text(node: NodeDataplane) -> str:
    """The text for iptables-restore: one block a table, kube-proxy's chains first, then flannel's."""
    proxy, *others = node.rules
    text = render_payload(proxy)
    for rules in others:
        for block in restore_payload(rules.chains).split("COMMIT\n")[:-1]:
            table, chains = block.split("\n", 1)
            before, found, after = text.partition(f"{table}\n")
            own, commit, rest = after.partition("COMMIT\n")
            text = before + table + "\n" + own + chains + "COMMIT\n" + rest if found else text + block + commit
    return text


def hooks(node: NodeDataplane, family: Family) -> list[str]:
    """The commands that make the built-in chains jump into ours."""
    command = "iptables" if family == "ipv4" else "ip6tables"
    return [
        f"{command} -t {hook.table} {'-I' if hook.prepend else '-A'} {hook.chain} {hook.rule}"
        for rules in node.rules
        for hook in rules.hooks
    ]


def operations(node: NodeDataplane) -> list[Operation]:
    """What makes the node's namespace and its pods' on a machine that has none of it."""
    plan: list[Operation] = []
    for netns in (node.node, *node.pods):
        if netns.links:
            plan.append(NetnsOperation("add", netns.name))
    for netns in (node.node, *node.pods):
        # The far ends of veth pairs and lo are brought by others: they are there, and down.
        brought = tuple(Device(link.name, up=False) for link in netns.links if isinstance(link, Device))
        plan += diff(netns, Netns(netns.name, links=brought))
    return plan


def _executed(snapshot: Snapshot, writes: Iterable[Write]) -> Snapshot:
    changes: list[Change] = [(type(w.object), w.object.key, None if w.action == "delete" else w.object) for w in writes]
    return snapshot.changed(changes, snapshot.revision + 1) if changes else snapshot


def _put(snapshot: Snapshot, obj: Object) -> Snapshot:
    return snapshot.changed([(type(obj), obj.key, obj)], snapshot.revision + 1)


def _pods_ready(snapshot: Snapshot, previous: Snapshot | None) -> Snapshot:
    """The kubelet's part: a pod with an address runs and is ready; what changed since `previous` is looked at."""
    ready = Condition(type="Ready", status="True")
    running: list[Change] = []
    for key in snapshot.changes(Pod, previous):
        pod = snapshot.all(Pod).get(key)
        if pod is not None and pod.ips and not pod.ready and not pod.ended:
            status = msgspec.structs.replace(pod.status, phase="Running", conditions=(*pod.status.conditions, ready))
            running.append((Pod, key, msgspec.structs.replace(pod, status=status)))
    return snapshot.changed(running, snapshot.revision + 1) if running else snapshot
