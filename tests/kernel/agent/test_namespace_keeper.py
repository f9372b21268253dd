"""What an agent reads before it writes: nothing, where nobody else has written since it did."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from k8snetlab.agent import namespaces
from k8snetlab.agent.namespaces import NamespaceKeeper
from k8snetlab.dataplane.links import Address, Bridge, Device, Veth, Vxlan
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.errors import AlreadyExistsError, KernelError, NotFoundError
from k8snetlab.kernel import netns
from k8snetlab.kernel.execute import execute
from k8snetlab.kernel.monitors import Monitors
from k8snetlab.kernel.read import Reading, read, reading
from k8snetlab.kernel.watch import Monitor, Watch
from k8snetlab.state.ledger import Ledger
from k8snetlab.testing import eventually


def node(name: str, *others: int) -> Netns:
    """A node with a tunnel to others."""
    return Netns(
        name,
        links=(Bridge("eth0"), Vxlan("flannel.1", 1, "192.168.0.1", "eth0", mac="02:00:00:00:00:01")),
        addresses=(Address("eth0", "192.168.0.1/24"), Address("flannel.1", "10.244.1.0/32")),
        routes=tuple(Route(f"10.244.{n}.0/24", "flannel.1", f"10.244.{n}.0", onlink=True) for n in others),
        neighbours=tuple(Neighbour("flannel.1", f"10.244.{n}.0", f"02:00:00:00:00:{n:02x}") for n in others),
        fdb=tuple(FdbEntry("flannel.1", f"02:00:00:00:00:{n:02x}", f"192.168.0.{n}") for n in others),
        owned=("eth0", "flannel.1"),
    )


class Reads:
    """Counts what is read."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @property
    def count(self) -> int:
        return len(self.names)

    def __call__(self, namespace: str, sysctls: tuple[str, ...] = ()) -> Reading:
        self.names.append(namespace)
        return reading(namespace, sysctls)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[NamespaceKeeper]:
    keeper = NamespaceKeeper(Ledger(tmp_path / "ledger"), "node1")
    yield keeper
    keeper.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    reads = Reads()
    monkeypatch.setattr(namespaces, "reading", reads)
    return reads


def bring(keeper: NamespaceKeeper, state: Netns) -> int:
    """As an agent does."""
    keeper.prepare((state,))
    return keeper.sync(state, ())


def hear(keeper: NamespaceKeeper, name: str) -> None:
    """As the daemon does when the monitor has something to tell."""
    if keeper.known.monitors[name].drain():
        keeper.known.mark(name)


def routes(name: str) -> set[str]:
    return {route.dst for route in read(name).routes}


def test_one_more_node_is_written_without_reading(
    keeper: NamespaceKeeper, reads: Reads, name: Callable[[str], str]
) -> None:
    one = name("node1")
    bring(keeper, node(one, 2, 3))
    hear(keeper, one)
    bring(keeper, node(one, 2, 3))
    assert reads.count == 2, "devices that were made are read once more"
    for others in ((2, 3, 4), (2, 4), (2, 4, 5, 6)):
        assert bring(keeper, node(one, *others)) > 0
        hear(keeper, one)
        assert bring(keeper, node(one, *others)) == 0
    assert reads.count == 2, "entries are known to be as they were asked for"
    bring(keeper, node(one, 2, 4))
    held = read(one)
    assert {route.dst for route in held.routes} == {"10.244.2.0/24", "10.244.4.0/24"}
    assert {entry.dst for entry in held.fdb} == {"192.168.0.2", "192.168.0.4"}
    assert {n.dst for n in held.neighbours if n.state == "PERMANENT"} == {"10.244.2.0", "10.244.4.0"}
    keeper.remove([one])


def test_what_is_told_while_it_is_asked_what_is_known_is_not_forgotten(
    keeper: NamespaceKeeper, name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the daemon's loop, in a thread of its own."""
    one = name("node1")
    for _ in range(2):
        bring(keeper, node(one, 2, 3))
        hear(keeper, one)
    as_made = keeper.known.as_made

    def told_meanwhile(state: Netns) -> Netns | None:
        known = as_made(state)
        subprocess.run(["ip", "-n", one, "route", "del", "10.244.2.0/24"], check=True)
        hear(keeper, one)
        return known

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(keeper.known, "as_made", told_meanwhile)
        bring(keeper, node(one, 2, 3, 4))
    hear(keeper, one)
    bring(keeper, node(one, 2, 3, 4))
    assert routes(one) == {"10.244.2.0/24", "10.244.3.0/24", "10.244.4.0/24"}
    keeper.remove([one])


UNDOINGS = {
    "route": "ip -n {ns} route del 10.244.4.0/24",
    "neighbour": "ip -n {ns} neigh del 10.244.4.0 dev flannel.1",
    "forwarding entry": "bridge -n {ns} fdb del 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4 self",
}


@pytest.mark.parametrize("undoing", UNDOINGS)
@pytest.mark.parametrize("meanwhile", [True, False], ids=["before the agent's own writing is heard", "after it"])
def test_what_others_undo_is_heard(
    keeper: NamespaceKeeper, reads: Reads, name: Callable[[str], str], undoing: str, meanwhile: bool
) -> None:
    one = name("node1")
    for _ in range(2):
        bring(keeper, node(one, 2, 3))
        hear(keeper, one)
    before = reads.count
    bring(keeper, node(one, 2, 3, 4))
    if not meanwhile:
        hear(keeper, one)
    subprocess.run(UNDOINGS[undoing].format(ns=one).split(), check=True)
    hear(keeper, one)
    assert bring(keeper, node(one, 2, 3, 4)) == 1
    assert reads.count == before + 1
    keeper.remove([one])


@pytest.mark.parametrize("told", [True, False], ids=["the monitor was asked", "it was not yet asked"])
def test_what_others_change_is_read_and_mended(
    keeper: NamespaceKeeper, reads: Reads, name: Callable[[str], str], told: bool
) -> None:
    one = name("node1")
    bring(keeper, node(one, 2, 3))
    hear(keeper, one)
    bring(keeper, node(one, 2, 3))
    execute([ItemOperation("del", one, node(one, 2).routes[0])])
    if told:
        hear(keeper, one)
    assert bring(keeper, node(one, 2, 3, 4)) == 4
    assert routes(one) == {"10.244.2.0/24", "10.244.3.0/24", "10.244.4.0/24"}
    keeper.remove([one])


CHANGES = {
    "route": "ip -n {ns} route del 10.244.3.0/24",
    "device": "ip -n {ns} link set flannel.1 mtu 1300",
    "device that goes": "ip -n {ns} link del flannel.1",
}


@pytest.mark.parametrize("change", CHANGES)
def test_who_only_looks_at_drift_hides_no_change_from_the_agent(
    keeper: NamespaceKeeper, name: Callable[[str], str], change: str
) -> None:
    one = name("node1")
    for _ in range(2):
        bring(keeper, node(one, 2, 3))
        hear(keeper, one)
    subprocess.run(CHANGES[change].format(ns=one).split(), check=True)
    assert keeper.drift(node(one, 2, 3), ()) != []
    hear(keeper, one)
    assert bring(keeper, node(one, 2, 3)) > 0
    assert keeper.drift(node(one, 2, 3), ()) == []
    keeper.remove([one])


def test_a_device_that_must_be_made_anew_takes_its_entries_along(
    keeper: NamespaceKeeper, reads: Reads, name: Callable[[str], str]
) -> None:
    one = name("node1")
    bring(keeper, node(one, 2))
    hear(keeper, one)
    bring(keeper, node(one, 2))
    before = reads.count
    links = (Bridge("eth0"), Vxlan("flannel.1", 42, "192.168.0.1", "eth0", mac="02:00:00:00:00:01"))
    bring(keeper, msgspec.structs.replace(node(one, 2), links=links))
    assert reads.count == before
    held = read(one)
    assert (len(held.routes), len(held.fdb)) == (1, 1)
    assert [n.dst for n in held.neighbours if n.state == "PERMANENT"] == ["10.244.2.0"]
    keeper.remove([one])


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed by the look of each second", "by the sync itself"])
def test_a_name_that_was_given_to_another_namespace_is_made_as_desired_again(
    keeper: NamespaceKeeper, name: Callable[[str], str], noticed: bool
) -> None:
    one = name("node1")
    bring(keeper, node(one, 2))
    assert not keeper.known.moved()
    subprocess.run(["sh", "-c", f"ip netns del {one} && ip netns add {one}"], check=True)
    if noticed:
        assert keeper.known.moved()
    assert bring(keeper, node(one, 2)) > 0
    assert keeper.known.recreated == {one}
    assert routes(one) == {"10.244.2.0/24"}
    assert not keeper.known.moved()
    keeper.remove([one])


def pod(name: str, number: int) -> Netns:
    return Netns(
        name,
        role="pod",
        links=(Device("lo"), Device("eth0", mtu=1450, mac=f"02:00:0a:f4:01:{number:02x}")),
        addresses=(Address("eth0", f"10.244.1.{number}/24"),),
        routes=(Route("default", "eth0", "10.244.1.1"),),
    )


def outer(name: str, *pods: Netns) -> Netns:
    cables = (Veth(f"veth{p.name[-9:]}", "eth0", p.name, "", p.links[1].mac, 1450, "cni0", True) for p in pods)
    return Netns(name, links=(Bridge("cni0", mtu=1450), *cables), addresses=(Address("cni0", "10.244.1.1/24"),))


def bring_with(keeper: NamespaceKeeper, node: Netns, *pods: Netns) -> int:
    keeper.prepare((node, *pods))
    return keeper.sync(node, pods)


def hear_all(keeper: NamespaceKeeper) -> None:
    for name in keeper.known.monitors:
        hear(keeper, name)


def test_a_new_pod_is_neither_read_before_it_is_made_nor_after(
    keeper: NamespaceKeeper, reads: Reads, name: Callable[[str], str]
) -> None:
    one = name("node1")
    pods = [pod(name(f"pod{number}"), number) for number in range(2, 8)]
    bring_with(keeper, outer(one, *pods[:3]), *pods[:3])
    hear_all(keeper)
    assert bring_with(keeper, outer(one, *pods[:3]), *pods[:3]) == 0
    assert reads.names == [one] * len(reads.names), "only the node, whose devices are looked at together"
    before = len(reads.names)
    bring_with(keeper, outer(one, *pods), *pods)
    hear_all(keeper)
    assert bring_with(keeper, outer(one, *pods), *pods) == 0
    assert reads.names[before:] == [one]
    for each in pods:
        assert {link.name for link in read(each.name).links if link.up} == {"lo", "eth0"}
    keeper.remove([one, *(each.name for each in pods)])


@pytest.mark.parametrize(
    "breaking", ["ip netns del {pod}", "ip -n {node} link del {veth}", "ip -n {pod} link del eth0"]
)
def test_a_pod_that_others_unmade_is_made_again(
    keeper: NamespaceKeeper, name: Callable[[str], str], breaking: str
) -> None:
    one, pods = name("node1"), [pod(name(f"pod{number}"), number) for number in (2, 3)]
    wanted = outer(one, *pods)
    bring_with(keeper, wanted, *pods)
    hear_all(keeper)
    veth = wanted.links[1].name
    subprocess.run(breaking.format(pod=pods[0].name, node=one, veth=veth).split(), check=True)
    hear_all(keeper)
    keeper.known.moved()

    def mended() -> bool:
        """Not at once: a namespace's devices go a moment after it."""
        bring_with(keeper, wanted, *pods)
        hear_all(keeper)
        return keeper.drift(wanted, tuple(pods)) == []

    eventually(mended)
    subprocess.run(["ip", "netns", "exec", one, "ping", "-c", "1", "-W", "5", "10.244.1.2"], stdout=-3, check=True)
    keeper.remove([one, *(each.name for each in pods)])


def test_a_namespace_is_untouched_until_the_kernel_tells_otherwise(
    keeper: NamespaceKeeper, name: Callable[[str], str]
) -> None:
    one = name("node1")
    for _ in range(3):  # what is told of one's own doings is read once more
        bring(keeper, node(one, 2, 3))
        hear(keeper, one)
    assert keeper.known.untouched() == {one: node(one, 2, 3)}
    subprocess.run(["ip", "-n", one, "route", "del", "10.244.2.0/24"], check=True)
    assert not keeper.known.untouched(), "the event waits, and has not been heard yet"
    hear(keeper, one)
    assert not keeper.known.untouched(), "it was heard, and nothing was mended yet"
    for _ in range(2):
        bring(keeper, node(one, 2, 3))
        hear(keeper, one)
    assert keeper.known.untouched() == {one: node(one, 2, 3)}


def test_what_one_namespace_lost_is_mended_after_another_could_not_be_read(
    keeper: NamespaceKeeper, name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, pods = name("node1"), [pod(name(f"pod{number}"), number) for number in (2, 3)]
    wanted = outer(one, *pods)
    for _ in range(3):
        bring_with(keeper, wanted, *pods)
        hear_all(keeper)
    subprocess.run(["ip", "-n", pods[0].name, "route", "del", "default"], check=True)
    hear_all(keeper)
    keeper.known.mark(pods[1].name)

    def fails(namespace: str, sysctls: tuple[str, ...] = ()) -> Reading:
        if namespace == pods[1].name:
            raise NotFoundError("it cannot be read now")
        return reading(namespace, sysctls)

    with monkeypatch.context() as patch:
        patch.setattr(namespaces, "reading", fails)
        with pytest.raises(NotFoundError, match="cannot be read now"):
            bring_with(keeper, wanted, *pods)
        assert routes(pods[0].name) == {"default"}, "it waits for no other"
    subprocess.run(["ip", "-n", pods[1].name, "route", "del", "default"], check=True)
    bring_with(keeper, wanted, *pods)
    assert keeper.drift(wanted, tuple(pods)) == []


def test_a_pod_for_which_no_descriptor_is_left_stops_none_of_the_others(
    keeper: NamespaceKeeper, name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, pods = name("node1"), [pod(name(f"pod{number}"), number) for number in (2, 3)]
    watch = Monitors.add

    def add(monitors: Monitors, namespace: str, begun: Watch | None = None) -> Monitor:
        if namespace == pods[0].name:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return watch(monitors, namespace, begun)

    with monkeypatch.context() as patch:
        patch.setattr(Monitors, "add", add)
        patch.setattr(keeper, "_make", lambda outer, wanted: [None] * len(wanted))
        with pytest.raises(KernelError, match=f"{pods[0].name}: Too many open files"):
            bring_with(keeper, outer(one, *pods), *pods)
        assert routes(pods[1].name) == {"default"}
    bring_with(keeper, outer(one, *pods), *pods)
    assert keeper.drift(outer(one, *pods), tuple(pods)) == []


def test_no_pod_is_plugged_in_unasked_where_its_node_was_not_ready(
    keeper: NamespaceKeeper, name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that could not be read a moment ago, and can be now: rules that guard its pods may still be missing."""
    one, pods = name("node1"), [pod(name(f"pod{number}"), number) for number in (2, 3)]
    bring_with(keeper, outer(one))
    hear_all(keeper)
    keeper.known.mark(one)
    unreadable = iter([True])

    def fails_once(namespace: str, sysctls: tuple[str, ...] = ()) -> Reading:
        if next(unreadable, False):
            raise NotFoundError("it cannot be read now")
        return reading(namespace, sysctls)

    monkeypatch.setattr(namespaces, "reading", fails_once)
    for allowed in (False, True):
        keeper.prepare((outer(one, *pods), *pods))
        keeper.bring(outer(one, *pods), tuple(pods), plugging=partial(bool, allowed))
        assert [netns.exists(each.name) for each in pods] == [allowed] * 2
    assert keeper.drift(outer(one, *pods), tuple(pods)) == []
    keeper.remove([one, *(each.name for each in pods)])


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit", "throw"])
def test_a_route_in_whose_place_one_of_another_kind_was_put_is_mended(
    keeper: NamespaceKeeper, name: Callable[[str], str], kind: str
) -> None:
    """The kernel tells of the new route alone."""
    one = name("node1")
    for _ in range(3):
        bring(keeper, node(one, 2, 3))
        hear(keeper, one)
    assert keeper.known.untouched()
    subprocess.run(["ip", "-n", one, "route", "replace", kind, "10.244.2.0/24"], check=True)
    assert not keeper.known.untouched()
    hear(keeper, one)
    assert not keeper.known.untouched(), "it was heard"
    bring(keeper, node(one, 2, 3))
    assert read(one).routes == node(one, 2, 3).routes


def test_a_namespace_of_another_ones_name_is_not_untouched(keeper: NamespaceKeeper, name: Callable[[str], str]) -> None:
    one = name("node1")
    for _ in range(3):
        bring(keeper, node(one, 2))
        hear(keeper, one)
    assert keeper.known.untouched()
    subprocess.run(["ip", "netns", "del", one], check=True)
    assert not keeper.known.untouched()
    subprocess.run(["ip", "netns", "add", one], check=True)
    assert not keeper.known.untouched()


def test_what_is_heard_while_one_asks_is_not_untouched(
    keeper: NamespaceKeeper, name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon's loop may hear an event, and mark its namespace, at any moment of another thread's question."""
    one = name("node1")
    for _ in range(3):
        bring(keeper, node(one, 2))
        hear(keeper, one)
    assert keeper.known.untouched()
    subprocess.run(["ip", "-n", one, "route", "del", "10.244.2.0/24"], check=True)
    readable = keeper.known.monitors.readable

    def heard() -> list[str]:
        hear(keeper, one)
        return readable()

    monkeypatch.setattr(keeper.known.monitors, "readable", heard)
    assert not keeper.known.untouched()


def test_a_namespace_that_goes_while_one_asks_is_not_untouched(
    keeper: NamespaceKeeper, name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, pods = name("node1"), [pod(name(f"pod{number}"), number) for number in (2, 3)]
    for _ in range(3):
        bring_with(keeper, outer(one, *pods), *pods)
        hear_all(keeper)
    number = netns.number

    def going(name: str) -> int:
        keeper.remove([pods[1].name])
        return number(name)

    keys = Monitors.__iter__

    def listed(monitors: Monitors) -> Iterator[str]:
        for each in list(keys(monitors)):
            keeper.remove([pods[1].name])
            yield each

    monkeypatch.setattr(netns, "number", going)
    monkeypatch.setattr(Monitors, "__iter__", listed)
    assert keeper.known.untouched().keys() == {one, pods[0].name}


def test_a_namespace_that_somebody_makes_just_before_a_pods_is_refused_and_left_alone(
    keeper: NamespaceKeeper, name: Callable[[str], str]
) -> None:
    one, pods = name("node1"), [pod(name(f"pod{number}"), number) for number in (2, 3)]
    keeper.prepare((outer(one, *pods), *pods))
    netns.create(pods[0].name)
    for _ in range(2):
        with pytest.raises(AlreadyExistsError, match=pods[0].name):
            keeper.sync(outer(one, *pods), tuple(pods))
        assert routes(pods[1].name) == {"default"}
        keeper.prepare((outer(one, *pods), *pods))
    assert pods[0].name not in keeper.owned() and not routes(pods[0].name)
    netns.delete(pods[0].name)
