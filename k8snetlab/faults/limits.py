"""Faults of what runs out or ends: room in conntrack's table, addresses of a pool, the lease of a subnet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from k8snetlab.api.reserved import RESERVED, all_but
from k8snetlab.dataplane.families import pick
from k8snetlab.dataplane.holds import Hold
from k8snetlab.faults.fault import Command, Damage, Edit, Fault, Said
from k8snetlab.faults.scene import LacksError, Scene
from k8snetlab.faults.typed import across, back

MOST = 1 << 18
"""Connections in a table that is filled, as many as Linux allows by default: 80 MB of the kernel's memory."""
ROOM = Path("/proc/sys/net/netfilter/nf_conntrack_max")
"""The same for all namespaces of a machine."""
_FLOOD = "198.51.100.1"
"""Where the connections lead that fill it, in an example's network (RFC 5737)."""
_FILL = (
    f"m=$(cat {ROOM}) || exit; "
    f'[ "$m" -le {MOST} ] || {{ echo "a table of $m connections is too large to be filled"; exit 1; }}; '
    'conntrack -F >/dev/null 2>&1; seq 0 $m | awk \'{p = 1024 + $1 % 60000; s = "192.0.2." 1 + int($1 / 60000); '
    f'print "-A -p tcp -s " s " -d {_FLOOD} --sport " p " --dport 9 -r {_FLOOD} -q " s " --reply-port-src 9 '
    '--reply-port-dst " p " -t 86400 -u SEEN_REPLY,ASSURED --state ESTABLISHED"}\' | conntrack -R - >/dev/null 2>&1; '
    "n=$(conntrack -C) || exit; "
    '[ "$n" -ge $((m - m / 1000)) ] || { echo "the table holds $n connections of $m"; exit 1; }'
)
"""As clients would that never end what they began. The kernel throws out no connection that was answered."""
_EMPTY = ("conntrack", "-F")
"""By its option -D it would read all of them first, into 400 MB."""


def _full(scene: Scene) -> Damage:
    """The kernel counts a namespace's connections by themselves, and other nodes and labs have room as ever."""
    if ROOM.exists() and (most := int(ROOM.read_text())) > MOST:
        raise LacksError(
            f"conntrack's table has room for {most:,} connections, too many to be filled",
            f"`sysctl -w net.netfilter.nf_conntrack_max={MOST}` on this machine",
        )
    do, undo = Command(scene.netns, ("sh", "-c", _FILL)), Command(scene.netns, _EMPTY)
    return Damage("net.netfilter.nf_conntrack_count", across(scene, "sometimes"), (do,), (undo,))


def _leaked(scene: Scene) -> Damage:
    """As after a crash of the runtime that was told of no pod's end."""
    node = scene.node
    if not pick(node.podCIDRs, "ipv4"):
        raise LacksError(f"{node.name} has no IPv4 subnet of its own")
    used = [ip for pod in scene.all_pods for ip in pod.ips if "." in ip]
    kept = all_but(scene.subnet, used)
    if not kept.ranges or RESERVED in node.metadata.annotations:
        raise LacksError(f"{node.name} has no free addresses to lose")
    return Damage(
        scene.subnet, across(scene, "late"), edits=(Edit("Node", "", node.name, None, str(kept), annotation=RESERVED),)
    )


def _lease(scene: Scene) -> Damage:
    """As after a store's loss, or a flanneld that hung for longer than its lease: the others forget the node."""
    name = scene.node.name
    if scene.snapshot.lab.spec.network.routed:
        raise LacksError("routes follow from no lease in this lab", "network: {backend: vxlan}, or host-gw")
    return Damage(scene.subnet, back(scene), holds=(Hold("", "lease", name),))


def faults() -> Iterator[Fault]:
    yield Fault(
        name="conntrack-full",
        title="conntrack's table is full: the kernel drops what begins a connection",
        level=3,
        group="services",
        touches="conntrack",
        symptom="nothing new comes about with this node, while what is open goes on",
        said=Said("conntrack", "full"),
        make=_full,
    )
    yield Fault(
        name="pool-leaked",
        title="all free addresses of a node's pool are reserved for pods that are no more",
        level=2,
        group="addresses",
        touches="a node's pool of addresses",
        symptom="new pods of one node stay ContainerCreating",
        said=Said("pool", "leaked"),
        make=_leaked,
    )
    yield Fault(
        name="lease-lost",
        title="nobody renews the lease of a node's pod subnet",
        level=2,
        group="programs",
        touches="a subnet's lease in the store",
        symptom="no other node reaches the pods of one node",
        said=Said("lease", "lost"),
        make=_lease,
    )
