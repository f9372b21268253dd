"""Snapshots tell what changed, and look things up, without looking at everything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from k8snetlab.api.core import Node, Pod, PodSpec
from k8snetlab.api.meta import ObjectMeta
from k8snetlab.api.selection import pods_by_label, pods_by_node
from k8snetlab.api.snapshot import Draft, Snapshot
from k8snetlab.api.versions import MEMORY, Objects


def pod(name: str, node: str = "", **labels: str) -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="default", labels=labels), spec=PodSpec(nodeName=node))


def put(snapshot: Snapshot, *pods: Pod) -> Snapshot:
    return snapshot.changed([(Pod, p.key, p) for p in pods], snapshot.revision + 1)


def names(snapshot: Snapshot, node: str) -> list[str]:
    return [p.name for p in snapshot.select(Pod, pods_by_node, node).values()]


def test_changes_are_known_along_a_line_and_across_branches() -> None:
    base = put(Snapshot(), pod("a"), pod("b"))
    left, right = put(base, pod("c")), put(put(base, pod("d")), pod("a", "n"))
    assert list(right.changes(Pod, base)) == [("default", "d"), ("default", "a")]
    assert set(right.changes(Pod, left)) == {("default", n) for n in "acd"}
    assert set(left.changes(Pod, right)) == {("default", n) for n in "acd"}
    assert list(base.changes(Pod, base)) == [] == list(right.changes(Node, base))
    assert list(base.changes(Pod, None)) == [("default", "a"), ("default", "b")]


def test_changes_between_strangers_are_found_by_comparing() -> None:
    a, b = pod("a"), pod("b")
    one = Snapshot.of([a, b])
    two = Snapshot.of([a, pod("b", "n"), pod("c")])
    assert set(two.changes(Pod, one)) == {("default", "b"), ("default", "c")}
    plain = Snapshot(1, {Pod: {a.key: a}})
    assert set(plain.changes(Pod, one)) == {("default", "b")}
    assert plain.select(Pod, pods_by_node, "") == {}


def test_an_object_put_again_after_its_deletion_in_one_step_goes_to_the_end() -> None:
    base = put(Snapshot(), pod("a"), pod("b"))
    moved = base.changed([(Pod, ("default", "a"), None), (Pod, ("default", "a"), pod("a"))], 2)
    assert [name for _, name in moved.all(Pod)] == ["b", "a"]


def test_groups_follow_and_those_handed_out_do_not_change() -> None:
    base = put(Snapshot(), pod("a", "n1"), pod("b", "n1"))
    held = base.select(Pod, pods_by_node, "n1")
    later = put(base, pod("a", "n2"), pod("c", "n1"))
    assert (names(later, "n1"), names(later, "n2")) == (["b", "c"], ["a"])
    assert [p.name for p in held.values()] == ["a", "b"]
    assert names(base, "n1") == ["a", "b"] or set(names(base, "n1")) == {"a", "b"}
    gone = later.changed([(Pod, ("default", "b"), None)], 3)
    assert (names(gone, "n1"), names(gone, "n3")) == (["c"], [])


def test_a_long_history_is_forgotten_and_changes_are_still_right() -> None:
    base = put(Snapshot(), pod("a"))
    late = base
    for number in range(2 * MEMORY + 10):
        late = put(late, pod("a", f"n{number}"))
    assert set(late.changes(Pod, base)) == {("default", "a")}
    assert names(late, f"n{2 * MEMORY + 9}") == ["a"]
    objects = late.objects[Pod]
    assert isinstance(objects, Objects)
    length, version = 0, objects.version
    while version.parent is not None:
        length, version = length + 1, version.parent
    assert length <= 2 * MEMORY


def test_equal_objects_make_equal_snapshots() -> None:
    assert put(Snapshot(), pod("a"), pod("b")) == put(put(Snapshot(), pod("a")), pod("b")).changed([], 1)


STEP = st.tuples(st.sampled_from("abcd"), st.none() | st.sampled_from(["n1", "n2"]), st.sampled_from("xy"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.lists(STEP, max_size=4)), max_size=12))
def test_tables_and_changes_agree_with_a_look_at_everything(
    history: list[tuple[int, list[tuple[str, str | None, str]]]],
) -> None:
    """On a tree of snapshots, whichever is asked next."""
    snapshots = [Snapshot()]
    for at, steps in history:
        parent = snapshots[at % len(snapshots)]
        changes = [(Pod, ("default", n), None if node is None else pod(n, node, app=app)) for n, node, app in steps]
        snapshots.append(parent.changed(changes, parent.revision + 1))
        for snapshot in (snapshots[-1], parent, snapshots[at // 2 % len(snapshots)]):
            pods = snapshot.all(Pod)
            for node in ("n1", "n2"):
                assert snapshot.select(Pod, pods_by_node, node) == {
                    k: p for k, p in pods.items() if p.spec.nodeName == node
                }
            for app in "xy":
                wanted = {k: p for k, p in pods.items() if p.metadata.labels["app"] == app}
                assert snapshot.select(Pod, pods_by_label, ("default", "app", app)) == wanted
            for other in snapshots:
                really = {k for k in {*pods, *other.all(Pod)} if pods.get(k) != other.all(Pod).get(k)}
                assert really <= set(snapshot.changes(Pod, other))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "n1", "n2"])), max_size=8))
def test_a_draft_is_what_changes_come_to_and_leaves_the_snapshot_it_began_with_alone(
    puts: list[tuple[str, str]],
) -> None:
    base = put(Snapshot(), pod("a", "n1"), pod("z", "n2"))
    before, wanted, draft = dict(base.all(Pod)), base, Draft(base)
    for name, node in puts:
        wanted = put(wanted, pod(name, node))
        draft.put(pod(name, node))
        assert list(draft.snapshot.all(Pod).items()) == list(wanted.all(Pod).items())
        for at in ("n1", "n2"):
            assert names(draft.snapshot, at) == names(wanted, at)
        assert draft.snapshot.derived(Pod, len) == len(wanted.all(Pod))
        assert names(base, "n1") == ["a"]
    assert base.all(Pod) == before
    assert {key[1] for key in wanted.changes(Pod, base)} == {key[1] for key in draft.snapshot.changes(Pod, base)}


def test_structs_of_a_snapshot_stay_values() -> None:
    one = put(Snapshot(), pod("a"))
    assert replace(one, revision=7).all(Pod) is one.all(Pod)
