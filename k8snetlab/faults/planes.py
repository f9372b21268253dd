"""Faults of a control plane of the lab's own: processes that are there, and answer nobody (SIGSTOP)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.api import plane
from k8snetlab.api.plane import Seat
from k8snetlab.dataplane.holds import Hold
from k8snetlab.faults.fault import Class, Damage, Fault, Said, Seen
from k8snetlab.faults.scene import LacksError, Scene

SEEN = Seen("", "", what="plane")
SCHEDULER = "kube-scheduler"


def _halted(what: str, *names: str) -> Damage:
    return Damage(what, SEEN, holds=tuple(Hold("", "process", name) for name in names))


def _seat(scene: Scene, seats: Iterable[Seat]) -> Seat:
    lab = scene.snapshot.lab
    if not lab.spec.controlPlane.etcd:
        raise LacksError("this lab has no control plane of its own", "controlPlane: {replicas: 3, etcd: 3}")
    found = [seat for seat in seats if seat.node == scene.node.name]
    return scene.one(found, f"member of the control plane on {scene.node.name}")


def _server(scene: Scene) -> Damage:
    """It takes connections, as its kernel does that, and says nothing."""
    name = f"apiserver-{_seat(scene, plane.servers(scene.snapshot.lab)).number}"
    return _halted(name, name)


def _quorum(scene: Scene) -> Damage:
    """The node's own member is left alone, with too few others."""
    members = plane.members(scene.snapshot.lab)
    own = _seat(scene, members)
    others = [seat for seat in members if seat != own] or [own]
    return _halted("etcd", *(f"etcd-{seat.number}" for seat in others[: len(members) // 2 + 1]))


def _scheduler(scene: Scene) -> Damage:
    servers = plane.servers(scene.snapshot.lab)
    _seat(scene, servers)
    return _halted(SCHEDULER, *(f"{SCHEDULER}-{seat.number}" for seat in servers))


def faults() -> Iterator[Fault]:
    group: Class = "plane"
    yield Fault(
        name="apiserver-hangs",
        title="an API server takes connections, and answers none",
        level=2,
        group=group,
        touches="an API server",
        symptom="now and then a pod's request of the API gets no answer; kubectl's do",
        said=Said("component", "silent"),
        make=_server,
    )
    yield Fault(
        name="etcd-without-quorum",
        title="more than half of the etcd's members hang",
        level=2,
        group=group,
        touches="members of the etcd",
        symptom="nothing can be changed, and what runs goes on",
        said=Said("component", "quorum"),
        make=_quorum,
    )
    yield Fault(
        name="scheduler-hangs",
        title="every scheduler hangs: nobody renews their Lease",
        level=2,
        group=group,
        touches="the schedulers",
        symptom="new pods stay Pending, without a word why",
        said=Said("component", "unrenewed"),
        make=_scheduler,
    )
