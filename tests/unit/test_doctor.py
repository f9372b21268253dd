"""The lab's networks against the machine's; the kernel's features are tried in the kernel tests."""

from __future__ import annotations

from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.dataplane.links import Address
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.routing import Route
from k8snetlab.lab.doctor import addresses

LAB = with_defaults(Lab(spec=LabSpec(podCIDR="172.30.0.0/16,fd00::/56", serviceCIDR="10.254.0.0/16")))


def test_a_machine_with_other_addresses_is_free() -> None:
    machine = Netns("", addresses=(Address("eth0", "10.0.2.15/24"),), routes=(Route("default", via="10.0.2.2"),))
    assert all(feature.present for feature in addresses(LAB, machine))


def test_an_address_and_a_route_of_the_machine_in_the_labs_networks_are_named() -> None:
    machine = Netns(
        "", addresses=(Address("eth1", "192.168.0.7/24"),), routes=(Route("172.30.9.0/24", dev="wg0"), Route("default"))
    )
    found = {feature.name: feature for feature in addresses(LAB, machine)}
    assert [name for name, feature in found.items() if not feature.present] == [
        "podCIDR 172.30.0.0/16 is free",
        "underlay 192.168.0.0/24 is free",
    ]
    assert "172.30.9.0/24 on wg0" in found["podCIDR 172.30.0.0/16 is free"].rules_out
    assert not any(feature.needed for feature in found.values())
