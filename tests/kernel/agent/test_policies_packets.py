"""Policies of all families of tests/policies_cases by real packets, in both variants of iptables, with kube-router's
rules and with Felix': what the kernel lets pass is what their truth tables say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import cycle

import msgspec
import pytest
import yaml
from policycases import DATA, Case, calico_cases, cases
from policynet import Asked, Net, net

from k8snetlab.api.core import Node, NodeSpec, Pod
from k8snetlab.api.defaults import with_defaults
from k8snetlab.api.lab import Lab, LabSpec, Network
from k8snetlab.api.meta import Object, ObjectMeta
from k8snetlab.api.scheme import resource_of_kind
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.kernel.iptables import Variant

WORLD = yaml.safe_load((DATA / "world.yaml").read_text())


FACTORS = yaml.safe_load((DATA / "factors.yaml").read_text())
TIERS = yaml.safe_load((DATA / "tiers.yaml").read_text())
TRAPS = [*yaml.safe_load((DATA / "traps.yaml").read_text()), *TIERS]


def sample(of_peers: int, of_traps: int) -> list[str]:
    """Names of cases: every `of_traps`-th trap; and of the products every `of_peers`-th item of peers with an item of
    ports in turn, so that each of those is there too, in turn as ingress and as egress."""
    ports = cycle(one["name"] for one in FACTORS["ports"])
    ways = cycle(("ingress", "egress"))
    products = [f"{next(ways)}-{peers['name']}-{next(ports)}" for peers in FACTORS["peers"][::of_peers]]
    return [*products, *(one["name"] for one in TRAPS[::of_traps])]


SAMPLES: dict[Variant, list[str]] = {"nft": sample(1, 5), "legacy": sample(4, 7)}
FELIX: dict[Variant, list[str]] = {"nft": sample(5, 11), "legacy": sample(9, 17)}
CASES = {case.name: case for case in cases()}
OWN = (
    *("the-lower-order-comes-first", "pass-leaves-out-networkpolicies-of-kubernetes", "log-goes-on-with-the-next-rule"),
    *(
        "networkpolicies-of-kubernetes-have-order-1000-deny-before",
        "no-order-is-last",
        "not-selector-of-a-global-policy",
    ),
    *("service-accounts-by-name-and-label", "a-global-network-set", "nets-and-not-nets", "not-a-named-port"),
    *("a-named-port-of-no-protocol", "ip-version-6-in-a-cluster-of-it", "a-named-port-of-whom-egress-leads-to"),
)
"""Of Calico's own policies."""
CALICO = {case.name: case for case in calico_cases()}


@pytest.fixture(scope="module")
def nines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Variant, bool], Net]]:
    """The network of a variant, with Felix or kube-router, made when it is first asked for."""
    pods = {key: pod["ips"] for key, pod in WORLD["pods"].items()}
    with ExitStack() as stack:
        yield cache(
            lambda variant, felix: stack.enter_context(net(pods, variant, tmp_path_factory.mktemp(variant), felix))
        )


def test_the_sample_has_every_family_of_cases() -> None:
    names = SAMPLES["nft"]
    for one in FACTORS["peers"]:
        assert any(f"gress-{one['name']}-" in name for name in names), one["name"]
    for one in FACTORS["ports"]:
        assert any(name.endswith(f"-{one['name']}") for name in names), one["name"]
    for some in SAMPLES.values():
        assert {name.split("-")[0] for name in some} >= {"ingress", "egress", "six"}
        assert {one["name"] for one in TIERS} & set(some)


@pytest.mark.parametrize(("variant", "name"), [(v, name) for v, names in SAMPLES.items() for name in names])
def test_packets_pass_as_the_table_says(nines: Callable[[Variant, bool], Net], variant: Variant, name: str) -> None:
    as_the_table_says(nines(variant, False), CASES[name], Network())


@pytest.mark.parametrize(("variant", "name"), [(v, name) for v, names in FELIX.items() for name in names])
def test_packets_pass_felix_as_the_table_says(
    nines: Callable[[Variant, bool], Net], variant: Variant, name: str
) -> None:
    as_the_table_says(nines(variant, True), CASES[name], Network(backend="calico"))


@pytest.mark.parametrize("name", OWN)
def test_packets_pass_calicos_own_policies_as_the_table_says(nines: Callable[[Variant, bool], Net], name: str) -> None:
    as_the_table_says(nines("nft", True), CALICO[name], Network(backend="calico"))


def as_the_table_says(nine: Net, case: Case, network: Network) -> None:
    nine.sync(snapshot(nine, case, network))
    meant: dict[Asked, bool] = {}
    for (source, target, port), allowed in case.allowed.items():
        number, protocol = port.split("/")
        meant[source, target, protocol, int(number)] = allowed
    seen = nine.sent(meant, 6 if is_six(case) else 4)
    assert {one: seen[one] for one in meant if seen[one] != meant[one]} == {}


def is_six(case: Case) -> bool:
    """Whether its pods' first addresses are those of IPv6."""
    return any(":" in one["status"]["podIP"] for one in case.objects if one["kind"] == "Pod")


def snapshot(nine: Net, case: Case, network: Network) -> Snapshot:
    spec = LabSpec(podCIDR="10.0.0.0/8,fd00::/16" if is_six(case) else "10.0.0.0/8", network=network)
    objects: list[Object] = [Lab(metadata=ObjectMeta(name="lab"), spec=spec)]
    for node in ("node1", "node2"):
        objects.append(Node(metadata=ObjectMeta(name=node), spec=NodeSpec()))
    for one in case.objects:
        resource = resource_of_kind(one["apiVersion"], one["kind"])
        assert resource is not None
        found: Object = msgspec.convert(one, resource.type)
        if isinstance(found, Pod):
            found = msgspec.structs.replace(
                found, spec=msgspec.structs.replace(found.spec, nodeName=nine.node_of["/".join(found.key)])
            )
        objects.append(with_defaults(found, ""))
    return Snapshot.of(objects)
