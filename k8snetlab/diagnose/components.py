"""A control plane of the lab's own: members that do not answer, an etcd without quorum, Leases that nobody renews."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from k8snetlab.diagnose.finding import Finding

SHOW = "k8snetlab controlplane status"
LATE = 3.0
"""Of a Lease's own time so many times without renewal, and nobody will renew it by itself: another would have taken
it."""


class Member(msgspec.Struct, frozen=True):
    """`problem` is why it is of no use now, "" where it is."""

    name: str
    node: str
    problem: str = ""
    dark: bool = False
    """Whether its node has no power."""

    @property
    def mend(self) -> str:
        return f"k8snetlab node start {self.node}" if self.dark else f"k8snetlab process kill {self.name}"


class Held(msgspec.Struct, frozen=True):
    """A Lease: for so many seconds nobody has renewed it, which lasts for `seconds`."""

    name: str
    holder: str
    silent: float
    seconds: float


class Plane(msgspec.Struct, frozen=True):
    """`others` are what nobody asks, and whose processes are looked at."""

    servers: tuple[Member, ...]
    etcd: tuple[Member, ...]
    others: tuple[Member, ...]
    leases: tuple[Held, ...]

    @property
    def has_quorum(self) -> bool:
        return 2 * len(_lost(self.etcd)) < len(self.etcd)


def findings(plane: Plane) -> Iterator[Finding]:
    if plane.has_quorum:
        yield from (_member(one, plane) for one in _lost(plane.etcd))
        yield from map(_lease, filter(_is_late, plane.leases))
        yield from map(_server, _lost(plane.servers))
    else:
        yield _quorum(plane.etcd)  # without which no server is ready either
    for one in _lost(plane.others):
        yield _silent(one, "another one takes its place, as long as one is left", fault="down")


def _lost(members: Sequence[Member]) -> list[Member]:
    return [one for one in members if one.problem]


def _silent(one: Member, consequence: str, fault: str = "silent") -> Finding:
    return Finding(
        kind="component",
        fault=fault,
        node=one.node,
        object=one.name,
        message=f"{one.name} on {one.node} does not answer: {one.problem}",
        consequence=consequence,
        show=SHOW,
        mend=one.mend,
    )


def _member(one: Member, plane: Plane) -> Finding:
    left = (len(plane.etcd) - 1) // 2 - len(_lost(plane.etcd))
    more = f"{left} more may fail" if left else "no other one may fail"
    return _silent(one, f"the others have the quorum, and all goes on; {more}")


def _server(one: Member) -> Finding:
    consequence = "a part of the connections to the Service kubernetes leads there, and is not answered"
    return _silent(one, f"{consequence}; the balancer leaves it out")


def _quorum(members: Sequence[Member]) -> Finding:
    lost = _lost(members)
    names = ", ".join(one.name for one in lost)
    return Finding(
        kind="component",
        fault="quorum",
        node="",
        object="etcd",
        message=f"the etcd has no quorum: {names} of {len(members)} members do not answer ({lost[0].problem}), and "
        f"{len(members) // 2 + 1} are needed",
        consequence="nothing can be written: no object changes, no Lease is renewed, no pod is made anew; what runs "
        "goes on, and so does its traffic",
        show=SHOW,
        mend="\n".join(one.mend for one in lost),
    )


_CONSEQUENCES = {
    "kube-scheduler": "new pods get no node, and stay Pending, without an event that says why",
    "kube-controller-manager": "Deployments get no pods, and Services keep the endpoints that they had",
}


def _is_late(lease: Held) -> bool:
    return lease.silent > LATE * lease.seconds


def _lease(lease: Held) -> Finding:
    host = lease.holder.partition("_")[0]
    last = f"{host} did last, {lease.silent:.0f} s ago" if host else "it has no holder"
    return Finding(
        kind="component",
        fault="unrenewed",
        node="",
        object=lease.name,
        message=f"nobody renews the Lease {lease.name}: {last}",
        consequence=_CONSEQUENCES.get(lease.name, "what its holder does is not done"),
        show=SHOW,
        mend=f"k8snetlab process kill {lease.name}-{host[-1:] or 1}",
    )
