"""What this machine offers a lab: the kernel's features, and whether its own addresses are the lab's too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network

from k8snetlab.agent.additions import Addition, devices, routes
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.checkup.programs import features as programs
from k8snetlab.checkup.room import features as features_of
from k8snetlab.checkup.room import size_of
from k8snetlab.dataplane.names import HOST_NETNS
from k8snetlab.dataplane.netns import Netns
from k8snetlab.errors import K8sNetLabError
from k8snetlab.kernel import features, netns
from k8snetlab.kernel.features import Feature
from k8snetlab.kernel.limits import Size
from k8snetlab.kernel.neighbours import Fullness, fullness, lifting
from k8snetlab.kernel.read import read
from k8snetlab.state import labs
from k8snetlab.state.ledger import Ledger
from k8snetlab.state.paths import LabPaths

NEARLY = 0.8
"""Of a table's limit: from here on it is called nearly full."""


def examine(lab: Lab, objects: Sequence[Object] = ()) -> list[Feature]:
    """Every feature, tried, the lab's networks set against the machine's, and room for its neighbours and for the lab's
    `objects`; without any, for a thousand pods on ten nodes."""
    size = size_of(objects) if objects else Size(pods=1000, nodes=10, listeners=1000, crowd=110)
    full = fullness([HOST_NETNS, *netns.names()])
    return [
        *features.probe(),
        *addresses(lab, read(HOST_NETNS), _ours()),
        *(room(one) for one in full),
        *features_of(size),
        *programs(lab),
    ]


def _ours() -> list[Addition]:
    """What the labs that run here have added to this machine."""
    found: list[Addition] = []
    with contextlib.suppress(OSError, K8sNetLabError):  # root's only
        for name in labs.running():
            found += Ledger(LabPaths(name).ledger).additions
    return found


def room(table: Fullness) -> Feature:
    """That the machine's table of neighbours is not nearly full."""
    return Feature(
        f"room for {table.family} neighbours: {table.entries} of {table.limit}",
        table.entries < table.limit * NEARLY,
        "first packets in every lab, once the table that all namespaces share is full: no address is resolved then",
        lifting(table.family, 4 * table.limit),
        needed=False,
    )


def addresses(lab: Lab, machine: Netns, ours: Iterable[Addition] = ()) -> Iterator[Feature]:
    """One feature for each network of the lab: that the machine has no address or route in it, but for those of labs'
    own (`ours`)."""
    spec, known = lab.spec, tuple(ours)
    skipped = {"lo", *devices(known)}
    own = [(a.dev, ip_network(a.address, strict=False)) for a in machine.addresses if a.dev not in skipped]
    own += [
        (r.dev, ip_network(r.dst))
        for r in machine.routes
        if r.dst != "default" and r.dev not in skipped and r.dst not in routes(known)
    ]
    for field, text in (("podCIDR", spec.podCIDR), ("serviceCIDR", spec.serviceCIDR), ("underlay", spec.underlay.cidr)):
        for cidr in text.split(","):
            network = ip_network(cidr.strip())
            clash = next(((dev, n) for dev, n in own if n.version == network.version and n.overlaps(network)), None)
            where = f"{clash[1]} on {clash[0]}" if clash else ""
            yield Feature(
                f"{field} {network} is free",
                clash is None,
                f"telling the lab's addresses from this machine's own: {where} overlaps; inside the lab all is well",
                f"choose another {field} in lab.yaml",
                needed=False,
            )
