"""The way back to objects that were kept: what of them is written, replaced, deleted and left as it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from k8snetlab.api.core import Namespace, Node, Pod, Service
from k8snetlab.api.lab import Lab
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import returning
from k8snetlab.controllers.returning import Kept, Return
from k8snetlab.errors import ManifestError
from k8snetlab.state import scenarios
from k8snetlab.testing.fake_cluster import LAB, FakeCluster, deployment, service

AT = "2026-11-29T12:00:00Z"


def made() -> FakeCluster:
    return FakeCluster(LAB % 2 + deployment("web", replicas=2) + service("web")).run()


def through(cluster: FakeCluster) -> list[Object]:
    """What was kept of it, as a file has it."""
    entries = [returning.entry_of(obj) for obj in returning.kept(cluster.snapshot)]
    return returning.objects_of(msgspec.json.decode(msgspec.json.encode(entries), type=list[Kept]))


def names(objects: Any) -> set[str]:
    return {f"{obj.KIND}/{obj.name}" for obj in objects}


def written(cluster: FakeCluster, back: Return) -> FakeCluster:
    """The cluster after the way back, settled by real controllers."""
    now = cluster.snapshot
    gone = [(type(obj), obj.key, None) for obj in (*(old for _, old in back.replaced), *back.deleted)]
    come = [(type(obj), obj.key, obj) for obj, _ in (*back.replaced, *back.changed)]
    come += [(type(obj), obj.key, obj) for obj in back.created]
    cluster.snapshot, cluster.previous = now.changed([*gone, *come], now.revision + 1), None
    return cluster.run()


def test_a_lab_that_has_not_changed_needs_nothing() -> None:
    cluster = made()
    assert returning.back(through(cluster), cluster.snapshot, AT) == Return((), (), (), (), ())


def test_a_deleted_pod_comes_back_by_name_and_address_with_another_uid_and_its_substitute_goes() -> None:
    cluster = made()
    kept, pod = through(cluster), cluster.pods("web")[0]
    cluster.delete(pod, force=True)
    cluster.run()
    back = returning.back(kept, cluster.snapshot, AT)
    [come] = [obj for obj in (*back.created, *(new for new, _ in back.replaced)) if isinstance(obj, Pod)]
    assert (come.name, come.spec.nodeName, come.ips) == (pod.name, pod.spec.nodeName, pod.ips)
    assert come.metadata.uid != pod.metadata.uid and not come.ready and come.status.phase == "Pending"
    now = written(cluster, back)
    assert {p.name: p.ips for p in now.pods()} == {o.name: o.ips for o in kept if isinstance(o, Pod)}


def test_a_changed_object_is_as_it_was_and_keeps_what_is_observed() -> None:
    cluster = made()
    kept = through(cluster)
    node = cluster.snapshot.node("node1")
    cluster.store(replace(node, spec=replace(node.spec, unschedulable=True)))
    cluster.run()
    back = returning.back(kept, cluster.snapshot, AT)
    assert names(new for new, _ in back.changed) == {"Node/node1"} and not back.replaced
    [(new, old)] = back.changed
    assert isinstance(new, Node) and isinstance(old, Node)
    assert not new.spec.unschedulable and new.status == old.status and new.metadata.uid == old.metadata.uid


def test_in_a_lab_of_that_name_that_was_built_anew_everything_is_as_it_was() -> None:
    cluster = made()
    kept = through(cluster)
    other = FakeCluster(LAB % 2 + service("other") + deployment("web", replicas=3)).run()
    old = {type(obj): obj for obj in other.snapshot.all(Lab).values()}[Lab]
    now = written(other, returning.back(kept, other.snapshot, AT))
    assert now.snapshot.lab.metadata.uid == old.metadata.uid
    assert all(n.metadata.ownerReferences[0].uid == old.metadata.uid for n in now.snapshot.all(Node).values())
    assert {p.name: p.ips for p in now.pods()} == {o.name: o.ips for o in kept if isinstance(o, Pod)}
    assert {s.name: s.clusterIPs for s in now.snapshot.all(Service).values()} == {
        o.name: o.clusterIPs for o in kept if isinstance(o, Service)
    }


def test_from_nothing_all_is_created_and_the_controllers_change_no_name_and_no_address() -> None:
    cluster = made()
    kept = through(cluster)
    empty = FakeCluster()
    back = returning.back(kept, empty.snapshot, AT)
    assert len(back.created) == len(kept) and not (back.changed or back.replaced or back.deleted)
    now = written(empty, back)
    assert names(now.all().values()) == names(cluster.all().values())
    assert {p.name: p.ips for p in now.pods()} == {p.name: p.ips for p in cluster.pods()}
    assert {n.name: n.podCIDRs for n in now.snapshot.all(Node).values()} == {
        n.name: n.podCIDRs for n in cluster.snapshot.all(Node).values()
    }


def test_a_namespace_that_was_being_deleted_is_whole_again() -> None:
    cluster = made()
    kept = through(cluster)
    namespace = cluster.snapshot.all(Namespace)[("", "default")]
    ending = replace(
        namespace,
        metadata=replace(namespace.metadata, deletionTimestamp=AT),
        status=replace(namespace.status, phase="Terminating"),
    )
    now = cluster.snapshot.changed([(Namespace, namespace.key, ending)], cluster.snapshot.revision + 1)
    [(new, _)] = returning.back(kept, now, AT).changed
    assert isinstance(new, Namespace) and new.status.phase == "Active" and not new.metadata.deletionTimestamp


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("/etc/passwd", {}, "no kind"),
        ("/registry/pods/default/web", {"metadata": {"name": "other", "namespace": "default"}}, "names itself"),
        (
            "/registry/pods/default/../web",
            {"metadata": {"name": "../web", "namespace": "default"}},
            "names itself|name",
        ),
        ("/registry/namespaces/a", [], "array|object"),
        ("/registry/namespaces/a", {"metadata": {"name": 5}}, "str"),
        ("/registry/k8snetlab/labs/two", {"metadata": {"name": "two"}}, "exactly one Lab"),
    ],
)
def test_an_entry_that_is_no_object_is_refused_with_its_key(key: str, value: Any, said: str) -> None:
    entries = [returning.entry_of(obj) for obj in returning.kept(made().snapshot)]
    with pytest.raises(ManifestError, match=said) as refused:
        returning.objects_of([*entries, Kept(key, value)])
    assert refused.value.hint == "nothing was changed"


def test_an_object_that_no_server_would_let_through_is_refused() -> None:
    entries = [returning.entry_of(obj) for obj in returning.kept(made().snapshot)]
    bad = {"metadata": {"name": "bad", "namespace": "default"}, "spec": {"ports": [{"port": 99999}]}}
    with pytest.raises(ManifestError, match="port"):
        returning.objects_of([*entries, Kept("/registry/services/specs/default/bad", bad)])
    with pytest.raises(ManifestError, match="twice"):
        returning.objects_of([*entries, entries[0]])


@pytest.mark.parametrize("scenario", [*scenarios.names(), *scenarios.lessons()])
def test_every_scenario_that_ships_is_read_as_it_was_kept(scenario: str) -> None:
    cluster = FakeCluster("\n---\n".join(text for _, text in scenarios.find(scenario))).run()
    kept = through(cluster)
    assert names(kept) == names(obj for obj in returning.kept(cluster.snapshot))
    assert returning.back(kept, cluster.snapshot, AT) == Return((), (), (), (), ())


def test_a_pod_without_an_address_gives_up_the_one_that_it_got_since() -> None:
    """Another pod may come back with it."""
    cluster = made()
    pod = cluster.pods("web")[0]
    early = replace(pod, status=replace(pod.status, podIP="", podIPs=()))
    kept = [early if obj.metadata.uid == pod.metadata.uid else obj for obj in through(cluster)]
    back = returning.back(kept, cluster.snapshot, AT)
    [(new, _)] = back.replaced
    assert isinstance(new, Pod) and new.name == pod.name and not new.ips


def test_what_is_about_to_go_is_not_kept() -> None:
    cluster = made()
    pod = cluster.pods("web")[0]
    cluster.delete(pod)
    assert pod.name not in {obj.name for obj in returning.kept(cluster.snapshot)}
    assert returning.kept(Snapshot()) == []
    space = cluster.snapshot.all(Namespace)[("", "default")]
    ending = replace(space, metadata=replace(space.metadata, deletionTimestamp=AT))
    now = cluster.snapshot.changed([(Namespace, space.key, ending)], cluster.snapshot.revision + 1)
    assert not [obj for obj in returning.kept(now) if obj.namespace == "default"]
