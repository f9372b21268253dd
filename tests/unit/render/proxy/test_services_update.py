"""Rules kept current through changes are the rules built anew, and a delta says no more than what changed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8snetlab.agent.rules import RulesKeeper
from k8snetlab.agent.table_part import merged
from k8snetlab.api.core import Service
from k8snetlab.api.discovery import EndpointSlice
from k8snetlab.api.kubeproxy import KubeProxyConfiguration
from k8snetlab.api.meta import Object
from k8snetlab.api.snapshot import Key
from k8snetlab.dataplane.rules import ChainKey, RuleDelta, Rules
from k8snetlab.iptables.syntax import parse
from k8snetlab.kernel.iptables.nft import NftIptables
from k8snetlab.kernel.iptables.payload import Payload
from k8snetlab.render.proxy import NOTHING, ProxyRules, Shared, rules
from k8snetlab.render.proxy.layout import LAYOUTS
from k8snetlab.render.proxy.service import SHARED_CHAINS
from k8snetlab.testing.services import (
    NODE1,
    POD1,
    POD2,
    POD3,
    VIP,
    cluster,
    endpoint,
    lab,
    node,
    proxy,
    service,
    slice_of,
    web,
)

POD4 = "10.244.2.7"
Change = tuple[type[Object], Key, Object | None]

SPECS: list[dict[str, object]] = [
    {},
    {"internalTrafficPolicy": "Local"},
    {"externalIPs": ["198.51.100.1"], "externalTrafficPolicy": "Local"},
    {"type": "LoadBalancer", "ingress": ["198.51.100.9"], "loadBalancerSourceRanges": ["192.168.0.0/24"]},
    {"sessionAffinity": "ClientIP"},
    {"clusterIPs": ["None"]},
]
ENDPOINTS = [
    endpoint(POD1, "node1"),
    endpoint(POD2, "node2", zones="b"),
    endpoint(POD3, "node2", ready=False, serving=True, terminating=True),
    endpoint(POD2, "node1", nodes="node1"),
    endpoint(POD1, "node1", ready=False),
    endpoint(POD3, "node2", ready=False, serving=False, terminating=True),
    endpoint(POD4, "node2", ready=False, zones="b"),
]


def _keyed(obj: Object) -> Change:
    return type(obj), obj.key, obj


names = st.sampled_from(["web", "db", "api"])
services = st.builds(lambda name, spec: _keyed(service(name, **spec)), names, st.sampled_from(SPECS))
slices = st.builds(
    lambda owner, number, ends: _keyed(slice_of(owner, *ends, name=f"{owner}-{number}")),
    names,
    st.integers(1, 2),
    st.lists(st.sampled_from(ENDPOINTS), max_size=3),
)
handed_over = st.builds(lambda owner: _keyed(slice_of(owner, ENDPOINTS[0], name="web-1")), names)
deletions = st.one_of(
    names.map(lambda name: (Service, ("default", name), None)),
    st.tuples(names, st.integers(1, 2)).map(lambda s: (EndpointSlice, ("default", f"{s[0]}-{s[1]}"), None)),
)
others = st.sampled_from(
    [
        _keyed(proxy(iptables={"masqueradeAll": True})),
        _keyed(proxy()),
        (KubeProxyConfiguration, ("", ""), None),
        _keyed(node("node1", NODE1, zone="b")),
        _keyed(lab("classic")),
        _keyed(lab()),
    ]
)
change = st.one_of(services, slices, slices, handed_over, deletions, others)
# An object changes once in a step: a Service that went and came again in between may keep its place among the others.
steps = st.lists(st.lists(change, max_size=4, unique_by=lambda one: one[:2]), max_size=8)


def applied(before: dict[ChainKey, Rules], delta: RuleDelta) -> dict[ChainKey, Rules]:
    after = before | dict(delta.write)
    for chain in delta.delete:
        del after[chain]
    return after


def jumps(table: str, held: Iterable[str]) -> Iterable[ChainKey]:
    for rule in held:
        target = parse(rule).target
        if target and target.name.startswith("KUBE-"):
            yield ChainKey(table, target.name)


def check_order(before: dict[ChainKey, Rules], delta: RuleDelta) -> None:
    """Written one by one, chains only ever jump to chains that are there; what is deleted is used no more."""
    known = set(before)
    for key, held in delta.write.items():
        known.add(key)
        assert all(to in known for to in jumps(key.table, held)), key
    after = applied(before, delta)
    for key, held in after.items():
        assert all(to in after for to in jumps(key.table, held)), key


@pytest.mark.slow
@given(steps)
@settings(max_examples=150, deadline=None)
def test_updating_is_building(changes: list[list[Change]]) -> None:
    with patch.object(rules, "LARGE_CLUSTER", 4):
        shared = Shared()
        snapshot = cluster(*web(), slice_of("db", ENDPOINTS[0], name="db-1"))
        held = [ProxyRules.build(snapshot, name, "ipv4", shared=shared) for name in ("node1", "node2")]
        for revision, batch in enumerate(changes, 1):
            snapshot = snapshot.changed(batch, revision)
            for index, old in enumerate(held):
                new, delta = old.update(snapshot)
                anew = ProxyRules.build(snapshot, old.settings.node, "ipv4")
                assert new.chains == anew.chains
                assert new.slices == anew.slices
                assert new.endpoints == anew.endpoints and new.settings == anew.settings
                assert list(new.full_sync().write.items()) == list(anew.full_sync().write.items())
                before = dict(old.chains)
                assert applied(before, delta) == new.chains
                assert all(before.get(key) != chain for key, chain in delta.write.items())
                check_order(before, delta)
                held[index] = new


def test_one_endpoint_costs_two_chains() -> None:
    snapshot = cluster(*web(), service("db", clusterIPs=["10.96.0.11"]), slice_of("db", endpoint(POD1)))
    old = ProxyRules.build(snapshot, "node1", "ipv4")
    more = slice_of("web", endpoint(POD1, "node1"), endpoint(POD2, "node2"), endpoint(POD3, "node2"))
    new, delta = old.update(snapshot.changed([_keyed(more)], 2))
    assert [key.chain[:9] for key in delta.write] == ["KUBE-SEP-", "KUBE-SVC-"] and not delta.delete
    back, delta = new.update(snapshot)
    assert [key.chain[:9] for key in delta.write] == ["KUBE-SVC-"]
    assert [key.chain[:9] for key in delta.delete] == ["KUBE-SEP-"]
    assert back.chains == old.chains


@pytest.mark.parametrize("layout", ["current", "classic"])
def test_a_service_is_refused_before_it_is_not_translated_any_more(layout: str) -> None:
    """And translated again before it is not refused: no packet to it meets neither."""
    with_endpoints = cluster(lab(layout), *web())
    old = ProxyRules.build(with_endpoints, "node1", "ipv4")
    gone, delta = old.update(without := with_endpoints.changed([_keyed(slice_of("web"))], 2))
    hosts = RuleDelta("ipv4", {ChainKey("nat", "CNI-DN"): ()})
    policies = RuleDelta("ipv4", {ChainKey("filter", "KUBE-POD-FW"): ()})
    assert _tables(delta) == _tables(merged("ipv4", [hosts, delta])) == ["filter", "nat"]
    back, delta = gone.update(without.changed([_keyed(slice_of("web", ENDPOINTS[0]))], 3))
    assert _tables(delta) == _tables(merged("ipv4", [policies, delta])) == ["nat", "filter"]
    # And where the kernel is read, which has its own words for most rules.
    for wanted, held, order in ((gone, old, ["filter", "nat"]), (back, gone, ["nat", "filter"])):
        keeper = RulesKeeper(NftIptables("", "ipv4", Path("/nowhere")))
        keeper._wanted = (wanted.ruleset,)
        told = {key: tuple(r.replace("-m tcp -p tcp", "-p tcp -m tcp") for r in rules) for key, rules in _all(held)}
        assert _tables(keeper._difference(told)) == order


def _all(rules: ProxyRules) -> Iterable[tuple[ChainKey, Rules]]:
    return rules.chains.items()


def _tables(delta: RuleDelta | None) -> list[str]:
    assert delta is not None
    return [line[1:] for line in str(Payload(delta)).splitlines() if line.startswith("*")]


@pytest.mark.parametrize("spec", SPECS[:3])
def test_an_endpoint_that_is_not_ready_yet_has_no_rule_made_anew(spec: dict[str, object]) -> None:
    snapshot = cluster(*web(**spec))
    old = ProxyRules.build(snapshot, "node1", "ipv4")
    held = [endpoint(POD1, "node1"), endpoint(POD2, "node2")]
    coming = slice_of("web", *held, endpoint(POD3, "node2", ready=False))
    elsewhere = slice_of("web", endpoint(POD4, "node1", ready=False), name="web-2")
    known = old
    for step in (slice_of("web", *held), coming, elsewhere):
        snapshot = snapshot.changed([_keyed(step)], 2)
        new, delta = known.update(snapshot)
        if known is not old:
            assert not delta and new.services["default", "web"].chains is known.services["default", "web"].chains
        assert new.chains == ProxyRules.build(snapshot, "node1", "ipv4").chains
        known = new
    assert known.endpoints == ProxyRules.build(snapshot, "node1", "ipv4").endpoints == 4
    ready = slice_of("web", *held, endpoint(POD3, "node1"))
    assert known.update(snapshot.changed([_keyed(ready)], 3))[1]


def test_what_does_not_matter_changes_nothing() -> None:
    snapshot = cluster(*web())
    old = ProxyRules.build(snapshot, "node1", "ipv4")
    new, delta = old.update(snapshot.changed([_keyed(node("node2", "192.168.0.99")), _keyed(slice_of("none"))], 2))
    assert not delta and new.services is old.services
    labels = msgspec.structs.replace(service().metadata, labels={"a": "b"})
    relabelled = msgspec.structs.replace(service(), metadata=labels)
    new, delta = new.update(snapshot.changed([_keyed(relabelled)], 3))
    assert not delta


def test_a_changed_setting_writes_what_differs() -> None:
    snapshot = cluster(*web())
    old = ProxyRules.build(snapshot, "node1", "ipv4")
    _, delta = old.update(snapshot.changed([_keyed(proxy(iptables={"masqueradeBit": 5}))], 2))
    assert {key.chain for key in delta.write} == {"KUBE-MARK-MASQ", "KUBE-POSTROUTING", "KUBE-FORWARD"}
    assert not delta.delete and not delta.hooks


def test_another_layout_brings_its_hooks() -> None:
    snapshot = cluster(*web())
    _, delta = ProxyRules.build(snapshot, "node1", "ipv4").update(snapshot.changed([_keyed(lab("classic"))], 2))
    assert [hook.chain for hook in delta.hooks] == ["INPUT"]
    assert ChainKey("filter", "KUBE-PROXY-FIREWALL") in delta.delete


def test_the_jumps_of_the_other_layout_must_not_stand() -> None:
    current, classic = (ProxyRules.build(cluster(layout=name), "node1", "ipv4").ruleset for name in LAYOUTS)
    for ours, other in ((current, classic), (classic, current)):
        assert set(ours.obsolete) == set(other.hooks) - set(ours.hooks) != set()


def test_services_can_be_held_back() -> None:
    """One stays as it was, one is left out; all else is as wanted."""
    before = cluster(*web(), service("db", clusterIPs=["10.96.0.77"]))
    old = ProxyRules.build(before, "node1", "ipv4")
    new, _ = old.update(before.changed([(Service, ("default", "web"), service(sessionAffinity="ClientIP"))], 2))
    assert new.with_services({}).ruleset == new.ruleset
    key = ("default", "web")
    assert dict(new.with_services({key: old.services[key]}).chains) == dict(old.chains)
    assert not [rule for rules in new.with_services({key: NOTHING}).chains.values() for rule in rules if "web" in rule]


def test_nodes_hold_common_rules_once() -> None:
    shared = Shared()
    many = [service("many"), slice_of("many", endpoint(POD1), name="a"), slice_of("many", endpoint(POD2), name="b")]
    local = [service("db", internalTrafficPolicy="Local"), slice_of("db", endpoint(POD1, "node1"))]
    snapshot = cluster(*web(), *many, *local)
    one, two = (ProxyRules.build(snapshot, name, "ipv4", shared=shared) for name in ("node1", "node2"))
    for name in ("web", "many"):
        assert one.services["default", name] is two.services["default", name]
    assert one.services["default", "db"] is not two.services["default", "db"]


@pytest.mark.parametrize("layout", ["current", "classic"])
def test_nodes_hold_the_rules_of_a_service_of_many_slices_once(layout: str) -> None:
    shared = Shared()
    pieces = [slice_of("many", ENDPOINTS[0], name="a"), slice_of("many", endpoint(POD2, "node2"), name="b")]
    snapshot = cluster(lab(layout), service("many"), *pieces)
    one, two = (ProxyRules.build(snapshot, name, "ipv4", shared=shared) for name in ("node1", "node2"))
    assert one.services["default", "many"].endpoints == 2
    assert one.services["default", "many"] is two.services["default", "many"]


@pytest.mark.parametrize("name", ["node1", "node2"])
def test_sharing_never_lends_one_nodes_rules_to_another(name: str) -> None:
    shared = Shared()
    specs = [service(f"s{i}", **spec) for i, spec in enumerate(SPECS)]
    pieces = [slice_of(f"s{i}", *ENDPOINTS[:3]) for i in range(len(SPECS))]
    twice = [service("twice"), slice_of("twice", ENDPOINTS[1], name="a"), slice_of("twice", ENDPOINTS[3], name="b")]
    snapshot = cluster(*specs, *pieces, *twice)
    other = {"node1": "node2", "node2": "node1"}[name]
    first = ProxyRules.build(snapshot, other, "ipv4", shared=shared)
    second = ProxyRules.build(snapshot, name, "ipv4", shared=shared)
    assert second.chains == ProxyRules.build(snapshot, name, "ipv4").chains
    assert first.chains == ProxyRules.build(snapshot, other, "ipv4").chains


def test_the_chains_of_a_service_stand_together() -> None:
    spec = {"type": "LoadBalancer", "ingress": ["198.51.100.9"], "loadBalancerSourceRanges": ["1.2.3.0/24"]}
    snapshot = cluster(*web(clusterIPs=[VIP], **spec), service("db", **spec), slice_of("db", endpoint(POD3)))
    order = [key for key in ProxyRules.build(snapshot, "node1", "ipv4").full_sync().write if key.table == "nat"]
    own = [key.chain.split("-")[1] for key in order if key.chain.count("-") == 2 and key not in SHARED_CHAINS]
    assert [word for word in own if word in ("SEP", "SVC", "EXT", "FW")] == [
        *("SEP", "SEP", "SVC", "EXT", "FW"),
        *("SEP", "SVC", "EXT", "FW"),
    ]
