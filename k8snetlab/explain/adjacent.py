"""Why neighbours by OSPF do not meet: what their daemons were told, rules that drop what they say, and MTUs.

Blocking.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from k8snetlab.api import pools, topology
from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.dataplane.names import ROUTER, node_netns
from k8snetlab.diagnose import speaking, unmanaged
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.sessions import Speaking
from k8snetlab.errors import K8sNetLabError
from k8snetlab.explain import daemons
from k8snetlab.explain.both_families import Kernels
from k8snetlab.iptables.patch import CommandLine
from k8snetlab.render.routing.speakers import Speaker, speakers
from k8snetlab.state.paths import LabPaths


def laid(
    found: list[Finding], lost: list[Finding], spoken: Sequence[Speaking], kernel: Kernels, paths: LabPaths
) -> list[Finding]:
    """What was `found`, and the routes that are `lost`, with what is the matter between neighbours by OSPF."""
    snapshot = kernel.snapshot
    whole = not lost and all(neighbour.stands for one in spoken for neighbour in one.neighbours)
    if whole or snapshot.lab.spec.spoken != "ospf":
        return [*found, *lost]
    causes: list[Finding] = []
    for one in spoken:
        own = next((s for s in speakers(snapshot, one.name) if s.family == "ipv4"), None)
        if own is not None and not one.problem:
            causes += [*_told(snapshot, paths, own), *_dropped(snapshot, own, one, kernel), *_unequal(found, one)]
    replaced = {(one.netns, one.object) for one in causes if one.fault == "neighbours"}
    found = [one for one in found if one.fault != "mtu" or (one.netns, one.object) not in replaced]
    subnets = pools.nodes_led_to(snapshot.all(Node).values())
    return speaking.laid(found, lost, causes, subnets, node_netns(snapshot.lab.name, ROUTER))


def _told(snapshot: Snapshot, paths: LabPaths, own: Speaker) -> Iterator[Finding]:
    with contextlib.suppress(OSError):  # that it does not answer is a finding already
        told, wanted = daemons.told(snapshot, paths, own)
        yield from speaking.findings(snapshot.lab.name, own.name, own.subnet, told, wanted)


def _dropped(snapshot: Snapshot, own: Speaker, one: Speaking, kernel: Kernels) -> Iterator[Finding]:
    """By rules of a node, or a router: also of one that believes in its neighbours still, which hear it no more."""
    netns = node_netns(snapshot.lab.name, own.name)
    missed = [neighbour for neighbour in own.neighbours if not _stands(neighbour.name, one)]
    for device in own.devices:
        source = next((n.address for n in missed if n.own in _addresses(own, device.device, snapshot)), own.address)
        with contextlib.suppress(K8sNetLabError):
            view = kernel["ipv4"][netns]
            if rule := speaking.dropped(view, device.device, source):
                where, command = kernel.wheres[netns], CommandLine(netns, "ipv4", kernel.variant)
                if finding := unmanaged.of_rule(rule, view, where, command):
                    yield replace(finding, consequence="OSPF, IP protocol 89, is lost: its neighbours are given up")
                    return


def _addresses(own: Speaker, device: str, snapshot: Snapshot) -> list[str]:
    return [end.address for end in topology.of(snapshot.lab, own.name) if end.device == device] or [own.address]


def _stands(name: str, one: Speaking) -> bool:
    return all(neighbour.stands for neighbour in one.neighbours if neighbour.name == name)


def _unequal(found: list[Finding], one: Speaking) -> Iterator[Finding]:
    """A device's wrong MTU, found already, of a node of which a neighbour stays where they tell each other all."""
    stuck = [neighbour for neighbour in one.neighbours if neighbour.state.startswith(speaking.EXCHANGING)]
    for finding in found if stuck else ():
        if finding.kind == "link" and finding.fault == "mtu" and finding.node == one.name:
            words = f"{finding.consequence}; OSPF's neighbours stay in {stuck[0].state.partition('/')[0]} for it"
            yield replace(finding, fault="neighbours", consequence=words)
