"""What a trace is predicted from, as the kernel has it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from k8snetlab.dataplane.rules import Family
from k8snetlab.dataplane.view import NextHop
from k8snetlab.kernel import iptables, netns
from k8snetlab.kernel.iptables.saved import Saved
from k8snetlab.kernel.survey import survey

Make = Callable[..., str]


def test_a_cable_leads_to_its_peer_though_one_was_unplugged_from_another_before(
    namespace: Make, tmp_path: Path
) -> None:
    """The kernel keeps the number by which it knows a namespace when the cable goes that it was given for."""
    pod, before, node = namespace("pod"), namespace("before"), namespace("node")
    for other in (before, node):
        cable = f"ip -n {pod} link add eth0 type veth peer name plug netns {other}"
        subprocess.run(cable.split(), check=True)
        if other == before:
            subprocess.run(f"ip -n {pod} link del eth0".split(), check=True)
    view = survey(
        pod,
        "ipv4",
        "nft",
        partial(iptables.counted, lockfile=tmp_path / "lock"),
        place="pod",
        kind="pod",
        others=(before, node),
    )
    assert view.interfaces["eth0"].peer == (node, "plug")


def test_a_pod_that_goes_while_its_node_is_read_takes_only_the_name_of_its_end_along(
    namespace: Make, tmp_path: Path
) -> None:
    node, pod = namespace("node"), namespace("pod")
    subprocess.run(f"ip -n {node} link add plug type veth peer name eth0 netns {pod}".split(), check=True)

    def rules(name: str, family: Family, variant: iptables.Variant) -> Saved:
        netns.delete(pod)
        return iptables.counted(name, family, variant, tmp_path / "lock")

    view = survey(node, "ipv4", "nft", rules, place="node", kind="node", others=(pod,))
    assert view.interfaces["plug"].peer is None


def test_a_list_of_clients_that_goes_while_it_is_read_is_none(
    namespace: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, variant, read = namespace("node"), iptables.variant(), Path.read_text

    def ruled(word: str) -> None:
        rule = f"ip netns exec {node} iptables {word} INPUT -m recent --set --name clients -j ACCEPT"
        subprocess.run(rule.split(), check=True)

    def late(file: Path) -> str:
        if file.name == "clients":
            ruled("-D")
        return read(file)

    ruled("-A")
    monkeypatch.setattr(Path, "read_text", late)
    saved = partial(iptables.counted, lockfile=tmp_path / "lock")
    assert survey(node, "ipv4", variant, saved, place="node", kind="node").recent == {}


def test_a_route_of_several_next_hops_and_one_of_the_other_family(namespace: Make, tmp_path: Path) -> None:
    """As `ip route` prints them; a next hop whose device is down is passed by, as the kernel does."""
    router, peer = namespace("router"), namespace("peer")
    for number in (1, 2, 3):
        cable = f"ip -n {router} link add eth{number} type veth peer name eth{number} netns {peer}"
        subprocess.run(cable.split(), check=True)
        subprocess.run(f"ip -n {router} addr add 10.0.{number}.1/24 dev eth{number}".split(), check=True)
        subprocess.run(f"ip -n {router} link set eth{number} up".split(), check=True)
        subprocess.run(f"ip -n {peer} link set eth{number} up".split(), check=True)
    several = "nexthop via 10.0.1.2 weight 3 nexthop via 10.0.2.2 dev eth2 nexthop via 10.0.3.2"
    subprocess.run(f"ip -n {router} route add 10.9.0.0/24 {several}".split(), check=True)
    subprocess.run(f"ip -n {router} route add 10.8.0.0/24 via inet6 fe80::2 dev eth1".split(), check=True)
    subprocess.run(f"ip -n {router} link set eth3 down".split(), check=True)
    for number in (1, 2):
        subprocess.run(f"ip -n {router} addr add 2001:db8:{number}::1/64 dev eth{number} nodad".split(), check=True)
    six = "nexthop via 2001:db8:1::2 dev eth1 nexthop via 2001:db8:2::2 dev eth2"
    subprocess.run(f"ip -n {router} -6 route add 2001:db8:9::/64 {six}".split(), check=True)
    saved = partial(iptables.counted, lockfile=tmp_path / "lock")
    four = survey(router, "ipv4", "nft", saved, place="router", kind="router", others=(peer,))
    routes = {route.dst: route for route in four.routes}
    assert routes["10.9.0.0/24"].hops == (NextHop("eth1", "10.0.1.2", 3), NextHop("eth2", "10.0.2.2", 1))
    assert (routes["10.9.0.0/24"].dev, routes["10.9.0.0/24"].via) == ("eth1", "")
    assert routes["10.8.0.0/24"].words() == "10.8.0.0/24 via fe80::2 dev eth1"
    sixes = survey(router, "ipv6", "nft", saved, place="router", kind="router", others=(peer,)).routes
    (entry,) = (route for route in sixes if route.dst == "2001:db8:9::/64")
    assert entry.hops == (NextHop("eth1", "2001:db8:1::2", 1), NextHop("eth2", "2001:db8:2::2", 1))
