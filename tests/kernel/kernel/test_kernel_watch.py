from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k8snetlab.dataplane.links import Address, Bridge, Device, Vxlan
from k8snetlab.dataplane.operations import Item, ItemOperation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.errors import NotFoundError
from k8snetlab.kernel import features, netns, sysctl
from k8snetlab.kernel.execute import execute
from k8snetlab.kernel.watch import EVERYTHING, Monitor

Make = Callable[..., str]
TUNNEL: list[Item] = [
    Device("lo"),
    Bridge("br0"),
    Address("br0", "192.168.0.1/24"),
    Vxlan("flannel.1", 1, "192.168.0.1", "br0", mac="02:00:00:00:00:01"),
]


@pytest.fixture
def monitored(namespace: Make) -> Iterator[tuple[str, Monitor]]:
    name = namespace()
    add(name, *TUNNEL, Neighbour("br0", "192.168.0.7", "02:00:00:00:00:07"))
    monitor = Monitor(name)
    yield name, monitor
    monitor.close()


def add(name: str, *items: Item) -> None:
    execute([ItemOperation("add", name, item) for item in items])


def readable(monitor: Monitor) -> bool:
    return bool(select.select([monitor], [], [], 0)[0])


CHANGES = {
    "ip -n {ns} link set br0 mtu 1400": "link",
    "ip -n {ns} link add other type bridge": "link",
    "ip -n {ns} addr add 10.0.0.1/24 dev br0": "address",
    "ip -n {ns} addr del 192.168.0.1/24 dev br0": "address",
    "ip -n {ns} route add 10.9.0.0/16 via 192.168.0.9": "route",
    "ip -n {ns} -6 route add fd09::/64 dev br0": "route",
    "ip -n {ns} route add blackhole 10.9.0.0/16": "route",
    "ip -n {ns} -6 route add unreachable fd09::/64": "route",
    "ip -n {ns} route add 10.9.0.0/16 via 192.168.0.9 proto bird": "learned",
    "ip -n {ns} -6 route add fd09::/64 dev br0 proto ospf": "learned",
    "ip -n {ns} neigh del 192.168.0.7 dev br0": "neighbour",
    "ip -n {ns} neigh replace 192.168.0.7 lladdr 02:00:00:00:00:07 dev br0 nud reachable": "neighbour",
    "ip -n {ns} neigh add 192.168.0.8 lladdr 02:00:00:00:00:08 dev br0 nud permanent": "neighbour",
    "bridge -n {ns} fdb append 02:00:00:00:00:09 dev flannel.1 dst 192.168.0.9 self permanent": "neighbour",
}


@pytest.mark.parametrize("command", CHANGES)
def test_changes_by_hand_are_heard(monitored: tuple[str, Monitor], command: str) -> None:
    name, monitor = monitored
    assert monitor.drain() == frozenset()
    subprocess.run(command.format(ns=name).split(), check=True)
    assert readable(monitor)
    assert CHANGES[command] in monitor.drain()
    assert not readable(monitor)


@pytest.mark.parametrize("command", ["route add 10.9.0.0/16 via 192.168.0.9", "-6 route add fd09::/64 dev br0"])
def test_what_a_daemon_puts_in_the_place_of_another_route_is_no_learned_one_alone(
    monitored: tuple[str, Monitor], command: str
) -> None:
    name, monitor = monitored
    subprocess.run(f"ip -n {name} {command}".split(), check=True)
    assert monitor.drain() == {"route"}
    subprocess.run(f"ip -n {name} {command.replace('add', 'replace')} proto bird".split(), check=True)
    assert "route" in monitor.drain() and monitor.arrived == 0
    subprocess.run(f"ip -n {name} {command.replace('add', 'del')}".split(), check=True)
    assert monitor.drain() == {"learned"} and monitor.arrived == 0
    subprocess.run(f"ip -n {name} {command} proto bird".split(), check=True)
    assert monitor.drain() == {"learned"} and monitor.arrived == 1


@pytest.mark.parametrize("way", ["on", "off"])
def test_ipv6_that_is_turned_on_or_off_by_hand_is_heard(namespace: Make, way: str) -> None:
    """The kernel gives and takes the addresses, and tells nothing else of it."""
    name, off = namespace(), "net.ipv6.conf.all.disable_ipv6"
    sysctl.write(name, {off: "1" if way == "on" else "0"})
    add(name, Device("lo"))
    monitor = Monitor(name)
    sysctl.write(name, {off: "0" if way == "on" else "1"})
    assert "address" in monitor.drain()
    monitor.close()


def test_link_local_addresses_beside_others_are_no_change(namespace: Make) -> None:
    name = namespace()
    add(name, Device("lo"), Bridge("br0"))
    monitor = Monitor(name)
    for verb in ("add", "del"):
        subprocess.run(f"ip -n {name} -6 addr {verb} fe80::1:2:3/64 dev br0".split(), check=True)
        assert readable(monitor) and "address" not in monitor.drain()
    monitor.close()


def test_a_monitor_that_asked_for_nothing_holds_one_descriptor(namespace: Make) -> None:
    name = namespace()
    add(name, *TUNNEL)
    before = {each.name for each in Path("/proc/self/fd").iterdir()}
    monitor = Monitor(name)
    assert len({each.name for each in Path("/proc/self/fd").iterdir()} - before) <= 1
    monitor.close()


@pytest.mark.parametrize("address", ["10.0.0.1/24", "fd09::1/64"])
def test_routes_that_follow_from_an_address_are_no_change(monitored: tuple[str, Monitor], address: str) -> None:
    """Its network, itself, broadcast and anycast, most of them in table local."""
    name, monitor = monitored
    subprocess.run(f"ip -n {name} addr add {address} dev br0".split(), check=True)
    assert monitor.drain() == {"address"}


def test_neighbours_that_the_kernel_resolves_by_itself_are_no_change(monitored: tuple[str, Monitor]) -> None:
    name, monitor = monitored
    for state in ("reachable", "stale", "delay", "probe", "failed"):
        command = f"ip -n {name} neigh replace 192.168.0.50 lladdr 02:00:00:00:00:50 dev br0 nud {state}"
        subprocess.run(command.split(), check=True)
    subprocess.run(f"ip -n {name} neigh del 192.168.0.50 dev br0".split(), check=True)
    assert readable(monitor)
    assert monitor.drain() == frozenset()


def test_when_events_are_lost_everything_changed(monitored: tuple[str, Monitor]) -> None:
    name, monitor = monitored
    add(name, *(Route(f"10.{i // 200}.{i % 200}.0/24", "br0") for i in range(2000)))
    assert monitor.drain() == EVERYTHING
    subprocess.run(f"ip -n {name} link set br0 mtu 1400".split(), check=True)
    assert "link" in monitor.drain()


def test_a_neighbour_whose_coming_was_lost_is_heard_when_it_goes(monitored: tuple[str, Monitor]) -> None:
    name, monitor = monitored
    add(name, *(Route(f"10.{i // 200}.{i % 200}.0/24", "br0") for i in range(2000)))
    add(name, Neighbour("br0", "192.168.0.8", "02:00:00:00:00:08"))
    assert monitor.drain() == EVERYTHING
    subprocess.run(f"ip -n {name} neigh del 192.168.0.8 dev br0".split(), check=True)
    assert monitor.drain() == {"neighbour"}


def test_another_namespace_is_not_heard(monitored: tuple[str, Monitor], namespace: Make) -> None:
    add(namespace("other"), *TUNNEL, FdbEntry("flannel.1", "02:00:00:00:00:09", "192.168.0.9"))
    assert not readable(monitored[1])
    with pytest.raises(NotFoundError):
        Monitor(f"{monitored[0]}.nothing")


def test_the_doctor_finds_what_the_other_tests_use_and_leaves_nothing() -> None:
    found = {feature.name: feature for feature in features.probe()}
    assert not [*Path("/run").glob(f"k8snetlab-doctor-{os.getpid()}-*")]
    assert not [name for name in netns.names() if name.startswith(f"k8snetlab-doctor-{os.getpid()}-")]
    for needed in ("root", "network namespaces", "veth", "bridge", "vxlan", "iptables-nft: statistic"):
        assert found[needed].present, needed
    assert all(feature.rules_out and feature.how_to_get for feature in found.values())


def test_the_doctor_sees_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = {feature.name: feature.present for feature in features.probe()}
    assert not any(found[name] for name in ("ip (program)", "iptables-nft", "iptables-legacy"))
    assert found["veth"]
