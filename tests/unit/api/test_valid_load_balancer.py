"""What a lab file may say of load balancers, and what is wrong with it."""

from __future__ import annotations

import pytest

from k8snetlab.api.load import load
from k8snetlab.errors import ManifestError

HEAD = "apiVersion: k8snetlab/v1alpha1\nkind: Lab\nspec:\n  nodes: 2\n"
ROUTER = "192.168.0.1-192.168.0.2"
POOLS = {
    "192.168.0.200": "'192.168.0.200' is no range; write it like 192.168.0.200-192.168.0.220",
    "192.168.0.9-192.168.0.2": "'192.168.0.9-192.168.0.2' ends before it begins",
    "192.168.0.2-fd00::1": "begins and ends in different families",
    "192.168.0.2-x": "'x' is no",
    "192.168.0.20-192.168.0.21": "has 192.168.0.21, the address of node1",
    ROUTER: "has 192.168.0.1, the address of the router",
    "192.168.0.240-192.168.0.255": "has the network's or the broadcast address of 192.168.0.0/24",
    "192.168.1.0/28": "is not inside spec.underlay.cidr 192.168.0.0/24: only there does anybody ask",
    "10.96.0.16/28": "overlaps 10.96.0.0/12, which is pods' or Services'",
    "fd00::1-fd00::9": "needs an IPv6 range in spec.underlay.cidr too",
    "192.168.0.200-192.168.0.201, 192.168.0.201-192.168.0.202": "overlaps another range of the pool",
}  # fmt: skip


def said(balancer: str, machines: bool = False) -> str:
    head = HEAD.replace("nodes: 2", "machines: true") if machines else HEAD
    with pytest.raises(ManifestError) as failure:
        load([("lab.yaml", f"{head}  loadBalancer: {balancer}\n")])
    return "\n".join(failure.value.problems)


@pytest.mark.parametrize("pool", POOLS)
def test_a_wrong_pool_is_refused_with_its_line(pool: str) -> None:
    text = said(f"{{mode: l2, pool: [{pool}]}}")
    assert "lab.yaml:5: spec.loadBalancer.pool[" in text and POOLS[pool] in text


def test_modes_that_cannot_be_are_refused_with_their_reasons() -> None:
    assert "where hosts ask for it by ARP or NDP" in said("{mode: bgp, pool: [192.168.0.200-192.168.0.201]}")
    off_link = "{mode: bgp, pool: [198.51.100.0/28]}"
    for network, why in (
        ("{backend: calico}", "Calico's BIRD has port 179"),
        ("{backend: ospf}", "nodes speak ospf already: bgp goes with network.backend vxlan, host-gw, bgp"),
    ):
        text = said(f"{off_link}\n  network: {network}")
        assert "lab.yaml:5: spec.loadBalancer.mode: " in text and why in text
    for mode in ("bgp", "cloud"):
        pool = off_link if mode == "bgp" else "{mode: cloud, pool: [198.51.100.0/28]}"
        assert f"{mode} needs the lab's own router, which machines do not have; use l2" in said(pool, machines=True)


def test_machines_answer_for_a_pool_in_a_network_of_others_and_that_is_said() -> None:
    pool = "loadBalancer: {mode: l2, pool: [192.168.0.200-192.168.0.201]}"
    store = "store: {type: etcd, endpoints: ['http://a:2379'], insecure: true}"
    text = f"{HEAD.replace('nodes: 2', 'machines: true')}  {store}\n  {pool}\n"
    assert any("nobody else there may have these" in one for one in load([("lab.yaml", text)]).warnings)


def test_a_mode_needs_a_pool() -> None:
    assert "spec.loadBalancer.pool: needs a range of addresses" in said("{mode: l2}")


def test_a_pool_without_a_mode_is_warned_of() -> None:
    warnings = load([("lab.yaml", f"{HEAD}  loadBalancer: {{pool: [192.168.0.200-192.168.0.201]}}\n")]).warnings
    assert any("spec.loadBalancer.pool: means nothing with mode none" in one for one in warnings)
