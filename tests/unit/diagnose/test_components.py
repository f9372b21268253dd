"""What is said of a control plane of the lab's own."""

from __future__ import annotations

from msgspec.structs import replace

from k8snetlab.diagnose.components import Held, Member, Plane, findings

WHOLE = Plane(
    servers=tuple(Member(f"apiserver-{n}", f"control-plane{n}") for n in (1, 2, 3)),
    etcd=tuple(Member(f"etcd-{n}", f"control-plane{n}") for n in (1, 2, 3)),
    others=(Member("haproxy", "router"),),
    leases=(
        Held("kube-scheduler", "control-plane1_x", 0.4, 2),
        Held("kube-controller-manager", "control-plane3_y", 5, 2),
    ),
)


def without(members: tuple[Member, ...], *names: str) -> tuple[Member, ...]:
    return tuple(replace(one, problem="no answer within 1 s") if one.name in names else one for one in members)


def said(plane: Plane) -> list[tuple[str, str]]:
    return [(one.fault, one.object) for one in findings(plane)]


def test_of_a_whole_one_nothing_is_said() -> None:
    assert said(WHOLE) == []


def test_a_member_that_is_silent_is_named_and_how_many_more_may_be() -> None:
    (found,) = findings(replace(WHOLE, etcd=without(WHOLE.etcd, "etcd-2")))
    assert (found.fault, found.object, found.node) == ("silent", "etcd-2", "control-plane2")
    assert "no other one may fail" in found.consequence
    five = (*WHOLE.etcd, Member("etcd-4", "control-plane4"), Member("etcd-5", "control-plane5"))
    (found,) = findings(replace(WHOLE, etcd=without(five, "etcd-2")))
    assert "1 more may fail" in found.consequence


def test_without_quorum_that_is_said_and_not_what_follows_from_it() -> None:
    late = (Held("kube-scheduler", "control-plane1_x", 60, 2),)
    (found,) = findings(replace(WHOLE, etcd=without(WHOLE.etcd, "etcd-1", "etcd-3"), leases=late))
    assert (found.fault, found.object) == ("quorum", "etcd")
    assert "etcd-1, etcd-3 of 3 members do not answer (no answer within 1 s), and 2 are needed" in found.message
    off = tuple(replace(one, dark=True) if one.name == "etcd-1" else one for one in WHOLE.etcd)
    (dark,) = findings(
        replace(WHOLE, etcd=without(off, "etcd-1", "etcd-3"), servers=without(WHOLE.servers, "apiserver-1"))
    )
    assert dark.mend.splitlines() == ["k8snetlab node start control-plane1", "k8snetlab process kill etcd-3"]
    assert found.mend.splitlines() == ["k8snetlab process kill etcd-1", "k8snetlab process kill etcd-3"]


def test_a_lease_that_nobody_renews_is_named_once_another_would_have_taken_it() -> None:
    late = (Held("kube-scheduler", "control-plane2_x", 61, 2), Held("kube-controller-manager", "", 61, 2))
    first, second = findings(replace(WHOLE, leases=late))
    assert first.message == "nobody renews the Lease kube-scheduler: control-plane2 did last, 61 s ago"
    assert first.mend == "k8snetlab process kill kube-scheduler-2" and "stay Pending" in first.consequence
    assert second.message.endswith("it has no holder") and second.fault == "unrenewed"


def test_servers_and_processes_that_are_away_are_named() -> None:
    plane = replace(WHOLE, servers=without(WHOLE.servers, "apiserver-3"), others=without(WHOLE.others, "haproxy"))
    assert said(plane) == [("silent", "apiserver-3"), ("down", "haproxy")]
