"""What is held is compared with what is there, all else with what is desired."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from k8snetlab.dataplane.delta import diff
from k8snetlab.dataplane.holds import Hold, of_item, spared, spared_rules
from k8snetlab.dataplane.links import Address, Bridge, Device, Vxlan
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.dataplane.rules import ChainKey, Hook, RuleDelta

TUNNEL = Vxlan("flannel.1", vni=1, local="192.168.0.21", dev="eth0")
ROUTE = Route("10.244.2.0/24", dev="flannel.1", via="10.244.2.0", onlink=True)
FDB, NEIGHBOUR = FdbEntry("flannel.1", "aa:bb", "192.168.0.22"), Neighbour("flannel.1", "10.244.2.0", "aa:bb")
WANTED = Netns(
    "l.n1",
    links=(Device("eth0"), Bridge("cni0"), TUNNEL),
    addresses=(Address("cni0", "10.244.1.1/24"),),
    routes=(ROUTE,),
    neighbours=(NEIGHBOUR,),
    fdb=(FDB,),
    sysctls={"net.ipv4.ip_forward": "1", "net.ipv4.conf.all.rp_filter": "0"},
)


def plan(actual: Netns, *held: Hold) -> list[str]:
    wanted = spared(WANTED, actual, frozenset(held))
    return [str(step) for step in diff(wanted, actual, WANTED)]


@pytest.mark.parametrize(
    ("damage", "item"),
    [
        ({"routes": ()}, ROUTE),
        ({"routes": (replace(ROUTE, via="192.168.0.1", dev="eth0", onlink=False),)}, ROUTE),
        ({"fdb": ()}, FDB),
        ({"fdb": (replace(FDB, dst="192.168.0.99"),)}, FDB),
        ({"neighbours": (replace(NEIGHBOUR, lladdr="cc:dd"),)}, NEIGHBOUR),
        ({"addresses": ()}, WANTED.addresses[0]),
        ({"links": (Device("eth0"), Bridge("cni0"), replace(TUNNEL, vni=7))}, TUNNEL),
        ({"links": (Device("eth0"), Bridge("cni0"), replace(TUNNEL, mtu=1500))}, TUNNEL),
    ],
)
def test_what_is_held_is_left_as_it_is(damage: dict[str, object], item: Route) -> None:
    actual = replace(WANTED, **damage)
    assert plan(actual), "without a hold it is mended"
    assert plan(actual, of_item("l.n1", item)) == []
    assert plan(actual, of_item("l.n2", item)) == plan(actual), "another namespace's hold is none here"


def test_all_else_is_mended_at_the_same_time() -> None:
    actual = replace(WANTED, routes=(), fdb=())
    assert plan(actual, of_item("l.n1", FDB)) == [f"ip -n l.n1 route replace {ROUTE.words()}"]


def test_a_sysctl_is_held_by_its_key() -> None:
    actual = replace(WANTED, sysctls={"net.ipv4.ip_forward": "0", "net.ipv4.conf.all.rp_filter": "1"})
    [step] = plan(actual, Hold("l.n1", "sysctl", "net.ipv4.ip_forward"))
    assert step.endswith("net.ipv4.conf.all.rp_filter=0")


def test_what_goes_with_a_device_that_is_held_and_down_is_not_put_back() -> None:
    down = replace(WANTED, links=(Device("eth0"), Bridge("cni0"), replace(TUNNEL, up=False)), routes=())
    assert plan(down, of_item("l.n1", TUNNEL)) == []


def test_what_has_stood_on_a_tunnel_that_was_made_anew_is_put_back_once() -> None:
    anew = replace(TUNNEL, vni=7)
    actual = replace(WANTED, links=(Device("eth0"), Bridge("cni0"), anew), routes=(), fdb=(), neighbours=())
    assert len(plan(actual, of_item("l.n1", TUNNEL))) == 3
    whole = replace(WANTED, links=(Device("eth0"), Bridge("cni0"), anew))
    assert plan(whole, of_item("l.n1", TUNNEL)) == []


def test_chains_and_jumps_that_are_held_are_not_written() -> None:
    nat, forward = ChainKey("nat", "KUBE-SVC-X"), ChainKey("filter", "KUBE-FORWARD")
    hooks = (Hook("nat", "PREROUTING", "-j KUBE-SERVICES"), Hook("nat", "OUTPUT", "-j KUBE-SERVICES"))
    delta = RuleDelta("ipv4", {nat: (), forward: ()}, (ChainKey("nat", "KUBE-SEP-OLD"),), hooks)
    one = spared_rules(delta, frozenset({Hold("l.n1", "chain", "nat KUBE-SVC-X")}))
    assert (list(one.write), one.delete, one.hooks) == ([forward], delta.delete, hooks)
    jump = spared_rules(delta, frozenset({Hold("l.n1", "jump", "nat PREROUTING")}))
    assert jump.hooks == hooks[1:] and jump.write == delta.write
    table = frozenset({Hold("l.n1", "chain", "nat *"), Hold("l.n1", "jump", "nat *")})
    assert spared_rules(delta, table) == RuleDelta("ipv4", {forward: ()})
    assert spared_rules(delta, frozenset()) is delta, "nothing is copied where nothing is held"
