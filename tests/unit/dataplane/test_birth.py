"""What is done to a new namespace: each thing once, and nothing that follows by itself."""

from __future__ import annotations

import pytest

from k8snetlab.dataplane.birth import birth
from k8snetlab.dataplane.links import Address, Device, Veth
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.routing import Route

CABLE = Veth("veth1", "eth0", "pod", peer_mac="02:00:0a:f4:01:02", mtu=1450, master="cni0")


def pod(**sysctls: str) -> Netns:
    return Netns(
        "pod",
        sysctls=sysctls,
        links=(Device("lo"), Device("eth0", mtu=1450, mac=CABLE.peer_mac)),
        addresses=(Address("eth0", "10.244.1.2/24", broadcast=True),),
        routes=(Route("default", "eth0", "10.244.1.1"),),
    )


def test_devices_come_up_then_addresses_then_routes_and_the_mac_is_not_given_twice() -> None:
    born = birth(pod(), CABLE)
    assert born.before == ()
    assert [str(step) for step in born.after] == [
        "ip -n pod link set lo up",
        "ip -n pod link set eth0 mtu 1450 up",
        "ip -n pod addr add 10.244.1.2/24 brd + dev eth0",
        "ip -n pod route replace default via 10.244.1.1 dev eth0",
    ]


@pytest.mark.parametrize(
    ("sysctls", "before", "after"),
    [
        (
            {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"},
            ["net.ipv6.conf.all.disable_ipv6"],
            [],
        ),
        (
            {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "0"},
            ["net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6"],
            [],
        ),
        (
            {"net.ipv6.conf.default.accept_dad": "0", "net.ipv6.conf.eth0.accept_dad": "0"},
            ["net.ipv6.conf.default.accept_dad"],
            [],
        ),
        ({"net.ipv4.conf.eth0.rp_filter": "2"}, [], ["net.ipv4.conf.eth0.rp_filter"]),
        (
            {"net.ipv4.conf.default.rp_filter": "1", "net.ipv4.conf.eth0.rp_filter": "2"},
            ["net.ipv4.conf.default.rp_filter"],
            ["net.ipv4.conf.eth0.rp_filter"],
        ),
    ],
    ids=["default follows all", "default differs from all", "a device follows default", "of a device", "both"],
)
def test_a_sysctl_that_follows_from_another_is_not_set(
    sysctls: dict[str, str], before: list[str], after: list[str]
) -> None:
    born = birth(pod(**sysctls), CABLE)
    assert [step.key for step in born.before] == before
    assert [str(step).split()[-1].split("=")[0] for step in born.after if "sysctl" in str(step)] == after
