"""The difference between two states of a namespace."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8snetlab.dataplane.delta import diff
from k8snetlab.dataplane.links import Address, Bridge, Device, Link, Veth, Vxlan
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.operations import ItemOperation, Operation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route, destination
from k8snetlab.testing.fake_kernel import FakeKernel

LO, ETH0 = Device("lo"), Device("eth0")
CNI0 = Bridge("cni0", mac="0a:58:ac:1e:4c:01", mtu=1450)
FLANNEL = Vxlan("flannel.1", 1, "192.168.0.21", "eth0", mac="02:00:00:00:00:01")
VETH = Veth("veth1", "eth0", "pod", mtu=1450, master="cni0", hairpin=True)
ROUTE = Route("172.30.9.0/24", "flannel.1", "172.30.9.0", onlink=True)
NEIGHBOUR = Neighbour("flannel.1", "172.30.9.0", "02:00:00:00:00:02")
FDB = FdbEntry("flannel.1", "02:00:00:00:00:02", "192.168.0.22")
SYSCTLS = {"net.ipv4.neigh.flannel/1.app_solicit": "3", "net.ipv6.conf.default.disable_ipv6": "1"}
NODE = Netns(
    "node1",
    sysctls=SYSCTLS,
    links=(LO, ETH0, VETH, FLANNEL, CNI0),
    addresses=(Address("cni0", "172.30.76.1/24", True), Address("flannel.1", "172.30.76.0/32")),
    routes=(ROUTE, Route("default", "eth0", "192.168.0.1")),
    neighbours=(NEIGHBOUR,),
    fdb=(FDB,),
    owned=("cni0", "flannel.1"),
)
BARE = Netns("node1", links=(LO, ETH0))


def lines(operations: list[Operation]) -> list[str]:
    return [line for operation in operations for line in str(operation).splitlines()]


def test_a_bare_namespace_is_filled_in_an_order_that_the_kernel_accepts() -> None:
    assert lines(diff(NODE, BARE)) == [
        "ip netns exec node1 sysctl -w net.ipv6.conf.default.disable_ipv6=1",
        "ip -n node1 link add cni0 mtu 1450 address 0a:58:ac:1e:4c:01 up type bridge mcast_snooping 0",
        "ip -n node1 link add flannel.1 mtu 1450 address 02:00:00:00:00:01 up type vxlan id 1 local 192.168.0.21"
        " dev eth0 dstport 8472 nolearning",
        "ip -n node1 link add veth1 mtu 1450 master cni0 up type veth peer name eth0 mtu 1450 netns pod",
        "ip -n node1 link set veth1 type bridge_slave hairpin on",
        "ip netns exec node1 sysctl -w net.ipv4.neigh.flannel/1.app_solicit=3",
        "ip -n node1 addr add 172.30.76.1/24 brd + dev cni0",
        "ip -n node1 addr add 172.30.76.0/32 dev flannel.1",
        "bridge -n node1 fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.22 self permanent",
        "ip -n node1 neigh replace 172.30.9.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent",
        "ip -n node1 route replace 172.30.9.0/24 via 172.30.9.0 dev flannel.1 onlink",
        "ip -n node1 route replace default via 192.168.0.1 dev eth0",
    ]


def test_the_same_state_needs_nothing() -> None:
    assert diff(NODE, NODE) == []
    assert diff(NODE, NODE, NODE) == []


def test_a_veth_read_from_the_kernel_has_no_peer_and_a_mac_of_its_own() -> None:
    read = msgspec.structs.replace(VETH, peer="", peer_netns="", mac="6e:00:00:00:00:01")
    assert diff(NODE, having(NODE, links=(LO, ETH0, CNI0, FLANNEL, read))) == []


def test_a_device_that_is_not_there_yet_waits_with_all_that_stands_on_it() -> None:
    pod = Netns(
        "pod", links=(LO, ETH0), addresses=(Address("eth0", "10.0.0.2/24"),), routes=(Route("default", "eth0"),)
    )
    down = msgspec.structs.replace(LO, up=False)
    assert lines(diff(pod, Netns("pod", links=(down,)))) == ["ip -n pod link set lo up"]


def having(state: Netns, **changes: object) -> Netns:
    return msgspec.structs.replace(state, **changes)


def test_a_tunnel_that_differs_in_what_is_fixed_is_made_anew_with_all_that_stood_on_it() -> None:
    actual = having(NODE, links=(LO, ETH0, VETH, CNI0, msgspec.structs.replace(FLANNEL, local="192.168.0.99")))
    verbs = [line.split("-n node1 ")[-1].split(" 172")[0] for line in lines(diff(NODE, actual))]
    assert verbs[0] == "link del flannel.1"
    assert verbs[1].startswith("link add flannel.1")
    assert len(verbs) == 7, "and its sysctl, address, FDB entry, neighbour and route"


def test_a_bridge_that_was_deleted_gets_its_ports_back() -> None:
    orphan = msgspec.structs.replace(VETH, master="", hairpin=False)
    actual = having(NODE, links=(LO, ETH0, FLANNEL, orphan), addresses=NODE.addresses[1:])
    assert [str(operation).split()[4:6] for operation in diff(NODE, actual)] == [
        ["add", "cni0"],
        ["set", "veth1"],
        ["add", "172.30.76.1/24"],
    ]


def test_a_tunnel_goes_with_the_device_below_it_and_comes_again() -> None:
    below = Bridge("br0")
    tunnel = msgspec.structs.replace(FLANNEL, dev="br0")
    desired = Netns("n", links=(below, tunnel))
    actual = Netns("n", links=(Device("br0"), tunnel))
    assert [line.split()[4:6] for line in lines(diff(desired, actual))] == [
        ["del", "br0"],
        ["add", "br0"],
        ["add", "flannel.1"],
    ]


def test_a_set_does_not_give_a_device_the_mac_it_has() -> None:
    actual = having(NODE, links=(LO, ETH0, VETH, CNI0, msgspec.structs.replace(FLANNEL, mtu=1400)))
    (operation,) = diff(NODE, actual)
    assert isinstance(operation, ItemOperation)
    assert operation.item == msgspec.structs.replace(FLANNEL, mac="")


def test_another_mac_brings_the_neighbours_again() -> None:
    actual = having(NODE, links=(LO, ETH0, VETH, CNI0, msgspec.structs.replace(FLANNEL, mac="02:00:00:00:00:77")))
    assert any("neigh replace" in line for line in lines(diff(NODE, actual)))


def test_a_broadcast_address_is_changed_by_taking_the_address_away_and_its_routes_follow() -> None:
    plain = (Address("cni0", "172.30.76.1/24"), NODE.addresses[1])
    with_route = having(NODE, routes=(*NODE.routes, Route("10.9.0.0/16", "cni0", "172.30.76.9")))
    assert lines(diff(with_route, having(with_route, addresses=plain))) == [
        "ip -n node1 addr del 172.30.76.1/24 dev cni0",
        "ip -n node1 addr add 172.30.76.1/24 brd + dev cni0",
        "ip -n node1 route replace 10.9.0.0/16 via 172.30.76.9 dev cni0",
    ]


def test_what_was_ours_and_is_not_wanted_goes_last_and_what_was_never_ours_stays() -> None:
    foreign = Route("10.99.0.0/16", "eth0", "192.168.0.1")
    direct = Route("172.30.9.0/24", "eth0", "192.168.0.22")
    desired = Netns("node1", links=(LO, ETH0, CNI0), addresses=NODE.addresses[:1], routes=(direct, NODE.routes[1]))
    actual = having(NODE, routes=(*NODE.routes, foreign), sysctls={})
    assert lines(diff(desired, actual, NODE)) == [
        "ip -n node1 link del veth1",
        "ip -n node1 route replace 172.30.9.0/24 via 192.168.0.22 dev eth0",
        "ip -n node1 link del flannel.1",
    ]


def test_an_agent_that_adopts_clears_the_devices_it_owns() -> None:
    stale = (
        Neighbour("flannel.1", "172.30.8.0", "02:00:00:00:00:08"),
        FdbEntry("flannel.1", "02:00:00:00:00:08", "192.168.0.8"),
    )
    resolved = Neighbour("cni0", "172.30.76.9", "0a:58:ac:1e:4c:09", "REACHABLE")
    elsewhere = Neighbour("eth0", "192.168.0.1", "02:00:00:00:00:0f")
    actual = having(
        NODE,
        neighbours=(NEIGHBOUR, stale[0], resolved, elsewhere),
        fdb=(FDB, stale[1]),
        addresses=(*NODE.addresses, Address("cni0", "fe80::1/64")),
    )
    assert lines(diff(NODE, actual)) == [
        "ip -n node1 neigh del 172.30.8.0 dev flannel.1",
        "bridge -n node1 fdb del 02:00:00:00:00:08 dev flannel.1 dst 192.168.0.8 self permanent",
    ]


def test_a_device_that_is_only_used_is_never_deleted() -> None:
    desired = having(NODE, owned=("eth0", *NODE.owned))
    far_end = Veth("eth0", "", "", mac="0a:58:c0:a8:00:15")
    actual = having(NODE, links=(LO, far_end, VETH, FLANNEL, CNI0))
    assert diff(desired, actual) == []
    assert diff(having(NODE, links=(LO, VETH, FLANNEL, CNI0)), actual, NODE) == []


def test_a_route_without_a_device_is_satisfied_by_one_through_any() -> None:
    desired = Netns("n", links=(ETH0,), routes=(Route("10.9.0.0/16", via="192.168.0.1"),))
    assert diff(desired, Netns("n", links=(ETH0,), routes=(Route("10.9.0.0/16", "eth0", "192.168.0.1"),))) == []
    assert len(diff(desired, Netns("n", links=(ETH0,), routes=(Route("10.9.0.0/16", "eth0", "192.168.0.2"),)))) == 1


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("10.0.0.1", "10.0.0.1/32"),
        ("10.0.0.1/24", "10.0.0.0/24"),
        ("0.0.0.0/0", "default"),
        ("::/0", "default"),
        ("fd00::1", "fd00::1/128"),
    ],
)
def test_destinations_have_one_form(text: str, normal: str) -> None:
    assert destination(text) == normal


MACS = st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:02"])
DEVICES = st.sampled_from(["cni0", "flannel.1", "eth0"])
SUBNETS = st.sampled_from(["10.1.0.0/24", "10.2.0.0/24", "default"])
HOSTS = st.sampled_from(["10.0.0.1", "10.0.0.2"])
ROUTES = st.builds(Route, SUBNETS, DEVICES, HOSTS, st.booleans(), metric=st.sampled_from([0, 7]))
LINKS: st.SearchStrategy[Link] = st.one_of(
    st.builds(Bridge, st.just("cni0"), MACS, st.sampled_from([1450, 1500])),
    st.builds(Vxlan, st.just("flannel.1"), st.sampled_from([1, 2]), HOSTS, st.just("eth0"), mac=MACS),
    st.builds(
        Veth, st.sampled_from(["veth1", "veth2"]), st.just(""), st.just(""), master=st.sampled_from(["", "cni0"])
    ),
)


def plugged(links: list[Link]) -> list[Link]:
    """The links, with no port of a bridge that is not among them."""
    names = {link.name for link in links}
    return [
        msgspec.structs.replace(link, master="") if isinstance(link, Veth) and link.master not in names else link
        for link in links
    ]


def states() -> st.SearchStrategy[Netns]:
    return st.builds(
        lambda links, addresses, routes, neighbours, fdb, sysctls: Netns(
            "n",
            links=(LO, ETH0, *plugged(links)),
            addresses=tuple(addresses),
            routes=tuple(routes),
            neighbours=tuple(neighbours),
            fdb=tuple(fdb),
            sysctls=sysctls,
            owned=("cni0", "flannel.1"),
        ),
        st.lists(LINKS, max_size=4, unique_by=lambda link: link.name),
        st.lists(
            st.builds(Address, DEVICES, st.sampled_from(["10.0.0.1/24", "10.0.1.1/24"]), st.booleans()),
            unique_by=lambda a: (a.dev, a.address),
            max_size=4,
        ),
        st.lists(ROUTES, unique_by=lambda r: r.key, max_size=4),
        st.lists(st.builds(Neighbour, DEVICES, HOSTS, MACS), unique_by=lambda n: n.key, max_size=4),
        st.lists(st.builds(FdbEntry, st.just("flannel.1"), MACS, HOSTS), unique_by=lambda f: f.key, max_size=2),
        st.dictionaries(st.sampled_from(["net.ipv4.ip_forward", "net.ipv4.conf.cni0.x"]), st.sampled_from("01")),
    )


@given(states(), states(), st.booleans())
def test_one_diff_leads_there_from_anywhere(desired: Netns, actual: Netns, adopting: bool) -> None:
    kernel = FakeKernel(actual)
    for operation in diff(desired, kernel.state(), None if adopting else actual):
        kernel.execute(operation)
    assert diff(desired, kernel.state(), None if adopting else actual) == []


BY_BIRD = Route("172.30.9.0/24", "eth0", "192.168.0.22", metric=32)
ELSEWHERE = Route("198.51.100.0/24", "eth0", "192.168.0.22", metric=32)


@pytest.mark.parametrize(
    ("learns", "previous", "gone"),
    [
        (True, None, False),
        (True, Netns("n", learns=True), False),
        (False, None, True),
        (False, Netns("n", learns=True), True),
        (False, Netns("n"), False),
    ],
)
def test_a_routing_daemons_routes_go_with_the_daemon_and_a_learners_own_stay(
    learns: bool, previous: Netns | None, gone: bool
) -> None:
    desired = Netns("n", links=(LO, ETH0), networks=("172.30.0.0/16",), learns=learns)
    actual = Netns("n", links=(LO, ETH0), learned=(BY_BIRD, ELSEWHERE))
    said = ["ip -n n route del 172.30.9.0/24 via 192.168.0.22 dev eth0 metric 32"]
    assert lines(diff(desired, actual, previous)) == (said if gone else [])
