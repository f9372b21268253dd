"""Whose part of a node's dataplane a refusal is of."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from k8snetlab.agent.blame import Blame
from k8snetlab.dataplane.links import Bridge, Device, Vxlan
from k8snetlab.dataplane.netns import Netns, NodeDataplane
from k8snetlab.dataplane.operations import ItemOperation, NetnsOperation, SysctlOperation
from k8snetlab.dataplane.routing import FdbEntry, Neighbour, Route
from k8snetlab.errors import KernelError

BRIDGE, TUNNEL = Bridge("cni0", 1450), Vxlan("flannel.1", vni=1, local="192.168.0.1", dev="eth0", mtu=1450)
OWN, SHARED = Route("10.1.2.0/24", dev="flannel.1", via="10.1.2.0"), Route("10.9.0.0/16", dev="eth0", via="192.168.0.9")
VTEP = Neighbour("flannel.1", "10.1.2.0", "0a:00:00:00:00:01")
FRAMES = FdbEntry("flannel.1", "0a:00:00:00:00:01", "192.168.0.2")
PARTS: Mapping[str, NodeDataplane] = {
    "node": NodeDataplane(Netns("lab.node1", links=(Device("eth0"),), sysctls={"net.ipv4.ip_forward": "1"})),
    "cni": NodeDataplane(Netns("lab.node1", links=(BRIDGE,)), pods=(Netns("lab.default.web"),)),
    "flannel": NodeDataplane(
        Netns("lab.node1", links=(TUNNEL,), routes=(OWN,), neighbours=(VTEP,), fdb=(FRAMES,)),
    ),
    "policy": NodeDataplane(Netns("lab.node1", routes=(OWN, SHARED), sysctls={"net.ipv4.ip_forward": "1"})),
}
CASES = {
    "its own route": (ItemOperation("replace", "lab.node1", OWN), "flannel"),
    "a route that only the last has": (ItemOperation("replace", "lab.node1", SHARED), "policy"),
    "a neighbour": (ItemOperation("replace", "lab.node1", VTEP), "flannel"),
    "a forwarding entry": (ItemOperation("replace", "lab.node1", FRAMES), "flannel"),
    "a device": (ItemOperation("add", "lab.node1", BRIDGE), "cni"),
    "a leftover by its device": (ItemOperation("del", "lab.node1", Route("10.7.0.0/24", dev="flannel.1")), "flannel"),
    "a pod's namespace": (NetnsOperation("add", "lab.default.web"), "cni"),
    "a sysctl that two set": (SysctlOperation("lab.node1", "net.ipv4.ip_forward", "1"), "node"),
    "nobody's": (ItemOperation("del", "lab.node1", Route("10.7.0.0/24", dev="eth7")), "node"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_is_of_the_manager_that_wants_it(case: str) -> None:
    operation, manager = CASES[case]
    assert Blame(PARTS).manager_of(KernelError("refused", "", str(operation))) == manager
