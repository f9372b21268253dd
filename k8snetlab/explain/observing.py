"""Usual paths tried with real packets: what no prediction knows of shows here, and whose it may be. Blocking."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from k8snetlab.api.core import Node
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.diagnose import shaped
from k8snetlab.diagnose.finding import Finding
from k8snetlab.diagnose.paths import UsualPath
from k8snetlab.errors import K8sNetLabError, NotFoundError
from k8snetlab.explain import tracing
from k8snetlab.kernel import netns, unmanaged
from k8snetlab.kernel.patience import patience
from k8snetlab.kernel.shot import shoot
from k8snetlab.kernel.unmanaged import Unmanaged
from k8snetlab.messages.trace import TraceQuestion
from k8snetlab.peers.remote import RemoteKernels
from k8snetlab.state.paths import LabPaths

PACKET_TIMEOUT = 0.5
"""Seconds that a packet may take, each of TRIES times: a pod's first ones may wait for addresses to be found."""
TRIES = 3
ENOUGH = 2
"""Paths that fail without a reason, each of which is then watched, before no more are tried."""
MOST = 60


def observed(
    snapshot: Snapshot,
    paths: LabPaths,
    usual: list[UsualPath],
    places: list[tuple[str, str]],
    *,
    tell: Callable[[str, int, int], None],
    remote: RemoteKernels | None = None,
) -> tuple[list[Finding], int, list[str]]:
    """What real packets show that prediction did not; the number of paths tried; and notes on who shapes packets.

    `usual` begin on this machine, whose nodes and router are `places` (name, namespace).
    """
    found: list[Finding] = []
    tried = 0
    shaping = list(_shaping(places))
    ours = {(finding.netns, finding.device): finding for finding in shaped.shaped(snapshot)}
    usual = usual[:: max(1, -(-len(usual) // MOST))]
    for number, path in enumerate(usual):
        tell("packets", number, len(usual))
        if len(found) >= ENOUGH:
            break
        tried += 1
        if not _answered(path):
            found.append(_of_ours(_watched(snapshot, paths, path, shaping, remote), ours))
    blamed = {f.object for f in found}
    notes: list[str] = []
    for node, where, thing in shaping:
        if thing.name in blamed or (where, thing.device) in ours:
            continue
        if thing.drops:
            found.append(_of_unmanaged(node, where, thing, ()))
        else:
            notes.append(f"{node}: {thing.kind} `{thing.text}` is nobody's")
    return shaped.laid(_blamed_on_unmanaged(found), snapshot), tried, notes


def _blamed_on_unmanaged(found: list[Finding]) -> list[Finding]:
    """Blames a path that failed once and worked when it was watched (chance gave it another endpoint) on the unmanaged
    object that stopped others."""
    known = {finding.identity: finding for finding in found if finding.fault == "foreign" or finding.kind == "qdisc"}
    if not known:
        return found
    first, *others = known.values()
    lost = tuple(path for finding in found if finding.identity not in known for path in finding.broken)
    return [replace(first, broken=(*first.broken, *lost)), *others]


def _of_ours(finding: Finding, ours: Mapping[tuple[str, str], Finding]) -> Finding:
    """What was put there by `k8snetlab link` is not nobody's."""
    own = ours.get((finding.netns, finding.device)) if finding.kind == "qdisc" else None
    return replace(own, broken=finding.broken) if own else finding


def _answered(path: UsualPath) -> bool:
    flow = path.flow
    for number in range(TRIES):
        seconds = patience(PACKET_TIMEOUT) if number else PACKET_TIMEOUT
        try:
            if shoot(path.origin, flow.dst, flow.dport, flow.protocol, seconds).fate == "answered":
                return True
        except NotFoundError:
            return True  # the pod has gone in the meantime
    return False


def _shaping(places: list[tuple[str, str]]) -> Iterator[tuple[str, str, Unmanaged]]:
    """What stands on nodes and router that is read by no prediction: (node, namespace, what)."""
    for name, namespace in places:
        if netns.exists(namespace):
            yield from ((name, namespace, thing) for thing in _unmanaged_in(namespace))


def _unmanaged_in(namespace: str) -> list[Unmanaged]:
    return [*unmanaged.qdiscs(namespace), *unmanaged.others(namespace)]


def _watched(
    snapshot: Snapshot,
    paths: LabPaths,
    path: UsualPath,
    shaping: list[tuple[str, str, Unmanaged]],
    remote: RemoteKernels | None,
) -> Finding:
    """Where a packet gets to, and what stands there."""
    source = path.words.split(" ", 1)[0]
    question = TraceQuestion(source, path.flow.dst, path.flow.dport or None, path.flow.protocol)
    place, message = source, f"{path.words} is not answered, though all that is known says it should be"
    stops: list[str] = []
    devices: list[str] = []
    with contextlib.suppress(K8sNetLabError, KeyError):
        way = tracing.trace(snapshot, paths, question, remote).way
        hops = [hop for hop in way.hops if hop.interface]
        missed = next((number for number, hop in enumerate(hops) if hop.seen is False), None)
        if missed is not None:
            before, hop = hops[max(missed - 1, 0)], hops[missed]
            stops = [before.netns, hop.netns]
            place, devices = hop.place, [before.interface, hop.interface]
            message = (
                f"{place}: a packet is not seen at {hop.interface} ({hop.direction}), though it was at "
                f"{before.place} {before.interface}"
            )
    suspects = [one for one in shaping if one[1] in stops]
    read = {namespace for _, namespace, _ in shaping}
    suspects += [(place, ns, s) for ns in stops if ns not in read for s in _unmanaged_in(ns)]
    suspects = [one for one in suspects if one[2].device in ("", *devices)]
    if suspects:
        first = min(suspects, key=lambda one: one[2].kind != "qdisc")
        return _of_unmanaged(*first, (f"{path.words}: {message}",))
    return Finding(
        kind="path",
        fault="lost",
        node=place if place in {n.name for n in snapshot.all(Node).values()} else "",
        object=path.words,
        message=message,
        consequence=f"{path.words} is not answered; what stops it is in no table that was read (tc, nft, XDP?)",
        show=f"k8snetlab trace {path.words}",
        broken=(path.words,),
    )


def _of_unmanaged(node: str, namespace: str, thing: Unmanaged, broken: tuple[str, ...]) -> Finding:
    kind = {"qdisc": "qdisc", "nftables": "table", "ip rule": "rule"}[thing.kind]
    return Finding(
        kind=kind,
        fault="foreign",
        node=node,
        object=thing.name,
        message=f"{node}: {thing.kind} `{thing.text}`{f' on {thing.device}' if thing.device else ''} is nobody's",
        consequence="packets that pass there are delayed, dropped or led elsewhere",
        show=thing.show,
        mend=thing.mend,
        netns=namespace,
        device=thing.device,
        broken=broken,
    )
