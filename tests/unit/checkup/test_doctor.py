"""The lab's networks against the machine's; the kernel's features are tried in the kernel tests."""

from __future__ import annotations

import pytest

from k8snetlab.agent.additions import AddedDevice, AddedRoute
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import GatewaySettings, IngressSettings, Lab, LabSpec
from k8snetlab.api.load_balancer import LoadBalancer
from k8snetlab.checkup.doctor import addresses, room
from k8snetlab.checkup.programs import features as programs
from k8snetlab.dataplane.links import Address
from k8snetlab.dataplane.netns import Netns
from k8snetlab.dataplane.routing import Route
from k8snetlab.kernel.neighbours import Fullness

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


def test_a_program_that_the_lab_asks_for_and_is_not_installed_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not list(programs(LAB))
    monkeypatch.setenv("PATH", "/nowhere")
    lab = Lab(spec=LabSpec(ingress=IngressSettings(controller="nginx"), loadBalancer=LoadBalancer("cloud")))
    found = [(one.name, one.present, one.how_to_get) for one in programs(lab)]
    assert found == [
        ("nginx is installed", False, "apt-get install nginx-light"),
        ("haproxy is installed", False, "apt-get install haproxy"),
    ]
    (_, module) = programs(Lab(spec=LabSpec(gateway=GatewaySettings(controller="nginx"))))
    assert (module.present, module.needed) == (False, False)
    assert module.how_to_get == "apt-get install libnginx-mod-stream"


def test_what_a_lab_has_added_to_the_machine_is_no_clash() -> None:
    machine = Netns("", addresses=(Address("cni0", "172.30.1.1/24"),), routes=(Route("172.30.2.0/24", dev="eth1"),))
    ours = [AddedDevice("cni0"), AddedRoute("172.30.2.0/24", "eth1")]
    assert all(feature.present for feature in addresses(LAB, machine, ours))
    assert not all(feature.present for feature in addresses(LAB, machine, ours[:1]))


def test_a_nearly_full_neighbour_table_is_named_with_what_to_type() -> None:
    assert room(Fullness("ipv4", 819, 1024)).present
    full = room(Fullness("ipv6", 820, 1024))
    assert not full.present and not full.needed
    assert full.name == "room for ipv6 neighbours: 820 of 1024"
    assert full.how_to_get.endswith("net.ipv6.neigh.default.gc_thresh3=4096")
