"""Addresses for Services of type LoadBalancer: MetalLB's decisions and words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8snetlab.api.core import Service
from k8snetlab.api.lab import Lab, LabSpec
from k8snetlab.api.load_balancer import LoadBalancer
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.controllers import load_balancers
from k8snetlab.controllers.changes import NOTHING
from k8snetlab.controllers.reconcile import Write, work_out
from k8snetlab.testing.services import node

POOL = ("192.168.0.200-192.168.0.201", "fd00:1::c8-fd00:1::c9")
SHARED = {"metallb.universe.tf/allow-shared-ip": "key"}
SIX = {"clusterIPs": ["fd00:10:96::1"]}
BOTH = {"clusterIPs": ["10.96.0.1", "fd00:10:96::1"]}


def service(name: str, *ips: str, port: int = 80, annotations: Any = (), **spec: Any) -> Service:
    spec = {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": port}], **spec}
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "default", "annotations": dict(annotations)},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in ips]}},
        },
        Service,
    )


def snapshot(*services: Service, pool: tuple[str, ...] = POOL, mode: Any = "l2") -> Snapshot:
    return Snapshot.of([Lab(spec=LabSpec(loadBalancer=LoadBalancer(mode, pool))), *services])


def written(before: Snapshot) -> dict[str, Write]:
    outcome = work_out(before, None, NOTHING)
    return {write.object.name: write for write in outcome.writes if isinstance(write.object, Service)}


def given(*services: Service, **options: Any) -> dict[str, list[str]]:
    """The addresses of each, and why one has none."""
    now = snapshot(*services, **options)
    for write in written(now).values():
        now = now.changed([(Service, write.object.key, write.object)], 1)
    assert not written(now), "it has come to rest"
    failures = {name: [why] for (_, name), why in load_balancers.failures(now).items()}
    return {
        one.name: failures.get(one.name) or [ingress.ip for ingress in one.status.loadBalancer.ingress]
        for one in now.all(Service).values()
    }


def test_addresses_are_given_in_order_until_the_pool_is_exhausted() -> None:
    found = given(service("a"), service("b"), service("c"))
    assert found == {"a": ["192.168.0.200"], "b": ["192.168.0.201"], "c": ["no available IPs"]}


def test_one_that_is_given_back_goes_to_who_waits() -> None:
    found = given(service("a", type="ClusterIP"), service("b", "192.168.0.201"), service("c"))
    assert found == {"a": [], "b": ["192.168.0.201"], "c": ["192.168.0.200"]}


def test_an_event_says_which_address_and_status_says_it_is_a_vip() -> None:
    (write,) = written(snapshot(service("a"))).values()
    (note,) = write.notes
    assert (note.component, note.type, note.reason) == ("metallb-controller", "Normal", "IPAllocated")
    assert note.message == 'Assigned IP ["192.168.0.200"]'
    assert isinstance(write.object, Service) and write.object.status.loadBalancer.ingress[0].ipMode == "VIP"


def test_an_event_says_why_there_is_none() -> None:
    note = load_balancers.failed(service("a"), "no available IPs")
    assert (note.type, note.reason) == ("Warning", "AllocationFailed")
    assert note.message == 'Failed to allocate IP for "default/a": no available IPs'


NOT_ALLOWED = '["10.0.0.1"] is not allowed in config'
INVALID = 'invalid metallb.io/loadBalancerIPs: "a\'; b"'
WRONG_FAMILY = 'requested loadBalancer IP(s) ["fd00:1::c8"] does not match the ipFamily of the service'


@pytest.mark.parametrize(
    ("one", "result"),
    [
        (service("x", loadBalancerIP="192.168.0.201"), "192.168.0.201"),
        (service("x", annotations={"metallb.io/loadBalancerIPs": "192.168.0.201"}), "192.168.0.201"),
        (service("x", annotations={"metallb.universe.tf/loadBalancerIPs": "192.168.0.201"}), "192.168.0.201"),
        (service("x", "192.168.0.200", loadBalancerIP="192.168.0.201"), "192.168.0.201"),
        (service("x", "10.0.0.1"), "192.168.0.200"),
        (service("x", loadBalancerIP="10.0.0.1"), NOT_ALLOWED),
        (service("x", loadBalancerIP="fd00:1::c8"), WRONG_FAMILY),
        (service("x", annotations={"metallb.io/loadBalancerIPs": "a'; b"}), INVALID),
        (service("x", annotations={"metallb.io/address-pool": "gold"}), 'unknown pool "gold"'),
        (service("x", annotations={"metallb.io/address-pool": "pool"}), "192.168.0.200"),
        (service("x", loadBalancerClass="other"), ""),
        (service("x", loadBalancerClass="k8snetlab/load-balancer"), "192.168.0.200"),
        (service("x", **SIX), "fd00:1::c8"),
        (service("x", **BOTH), "192.168.0.200 fd00:1::c8"),
    ],
)  # fmt: skip
def test_what_a_service_asks_for_it_gets_or_is_told(one: Service, result: str) -> None:
    assert " ".join(given(one)["x"]) == result


def test_both_families_are_given_or_with_prefer_dual_stack_one() -> None:
    four = ("192.168.0.200-192.168.0.200",)
    assert given(service("x", **BOTH), pool=four)["x"] == ["no available IPs"]
    preferring = service("x", **BOTH, ipFamilyPolicy="PreferDualStack")
    assert given(preferring, pool=four)["x"] == ["192.168.0.200"]


USED = 'can\'t change sharing key for "default/b", address also in use by default/a'


@pytest.mark.parametrize(
    ("mine", "result"),
    [
        ({"port": 81, "annotations": SHARED}, "192.168.0.200"),
        ({"port": 80, "annotations": SHARED}, 'port TCP/80 is already in use on "192.168.0.200"'),
        ({"port": 81}, USED),
        ({"port": 81, "annotations": {"metallb.io/allow-shared-ip": "other"}}, USED),
        ({"port": 81, "annotations": SHARED, "externalTrafficPolicy": "Local", "selector": {"app": "b"}}, USED),
    ],
)
def test_an_address_is_shared_by_key_and_ports(mine: dict[str, Any], result: str) -> None:
    first = service("a", annotations=SHARED)
    second = service("b", loadBalancerIP="192.168.0.200", **mine)
    assert given(first, second)["b"] == [result]


def test_with_a_key_an_address_is_shared_unasked() -> None:
    assert given(service("a", annotations=SHARED), service("b", port=81, annotations=SHARED)) == {
        "a": ["192.168.0.200"],
        "b": ["192.168.0.200"],
    }


def test_without_load_balancers_a_status_is_left_alone() -> None:
    assert given(service("a", "10.0.0.1"), mode="none", pool=()) == {"a": ["10.0.0.1"]}
    assert not load_balancers.failures(snapshot(service("a"), mode="none"))


def test_a_machine_that_joins_with_an_address_of_the_pool_has_it_and_the_service_gets_another() -> None:
    lab = Lab(spec=LabSpec(machines=True, loadBalancer=LoadBalancer("l2", POOL)))
    joined = node("node9", "192.168.0.200")
    found = written(Snapshot.of([lab, joined, service("web", "192.168.0.200")]))
    web = found["web"].object
    assert isinstance(web, Service) and [one.ip for one in web.status.loadBalancer.ingress] == ["192.168.0.201"]
    asked = service("asks", loadBalancerIP="192.168.0.200")
    why = load_balancers.failures(Snapshot.of([lab, joined, asked]))
    assert why == {("default", "asks"): '"192.168.0.200" is the address of node node9'}
