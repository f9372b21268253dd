"""Rules as a tree: what leads where, what is left out, and what two nodes do not share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from k8snetlab.dataplane.rules import ChainKey, Rules
from k8snetlab.render.proxy import ProxyRules
from k8snetlab.testing.services import assemble, cluster, endpoint, service, slice_of, web
from k8snetlab.trace import branches

TWO = [
    *web(type="NodePort", ports=[{"name": "http", "port": 80, "nodePort": 30080}]),
    service("web2", clusterIPs=["10.96.0.11"]),
    slice_of("web2", endpoint("10.244.1.9", "node1")),
]


def held(*objects: object, node: str = "node1") -> dict[ChainKey, Rules]:
    return assemble(ProxyRules.build(cluster(*(objects or TWO)), node, "ipv4").ruleset)  # type: ignore[arg-type]


def every(rules: Iterable[branches.Rule]) -> Iterator[branches.Rule]:
    for rule in rules:
        yield rule
        yield from every(rule.rules)


def counters(chains: dict[ChainKey, Rules]) -> dict[ChainKey, tuple[tuple[int, int], ...]]:
    """The n-th rule of a chain has counted n packets of 100 bytes."""
    return {key: tuple((n, 100 * n) for n, _ in enumerate(rules, 1)) for key, rules in chains.items()}


def test_a_services_tree_has_its_rows_and_its_chains_and_nobody_elses() -> None:
    chains = held()
    tree = branches.of_service(chains, counters(chains), "default/web", (), {})
    assert [(c.table, c.chain) for c in tree] == [("nat", "KUBE-SERVICES"), ("nat", "KUBE-NODEPORTS")]
    found = list(every(rule for chain in tree for rule in chain.rules))
    ends = [rule.rule.rpartition(" ")[2] for rule in found if "DNAT" in rule.rule]
    assert sorted(ends) == ["10.244.1.5:8080", "10.244.2.5:8080"]
    assert not any("web2" in rule.rule for rule in found)
    assert all((rule.packets, rule.bytes) == (rule.number, 100 * rule.number) for rule in found)
    again = [rule for rule in found if rule.chain == "above"]
    assert [rule.leads[:9] for rule in again] == ["KUBE-SVC-"], "from the NodePort to what the cluster IP showed"


def test_an_empty_chain_and_one_that_nothing_leads_to_are_told() -> None:
    chains = held()
    row = next(rule for rule in chains[ChainKey("nat", "KUBE-SERVICES")] if "default/web:http" in rule)
    own = row.rpartition(" ")[2]
    flushed = chains | {ChainKey("nat", own): ()}
    [dispatch, _] = branches.of_service(flushed, {}, "default/web", (own,), {})
    assert dispatch.rules[0].chain == "empty"
    others = tuple(rule for rule in chains[ChainKey("nat", "KUBE-SERVICES")] if rule != row)
    without = chains | {ChainKey("nat", "KUBE-SERVICES"): others, ChainKey("nat", "KUBE-NODEPORTS"): ()}
    [lost] = branches.of_service(without, {}, "default/web", (own,), {})
    assert (lost.chain, lost.purpose.endswith("no rule leads here"), len(lost.rules)) == (own, True, 3)


def test_the_frame_shows_rows_without_the_services_own_chains() -> None:
    chains = held()
    tree = branches.whole(chains, {}, {})
    found = list(every(rule for chain in tree for rule in chain.rules))
    assert any(rule.leads.startswith("KUBE-SVC-") for rule in found)
    assert not any("-j DNAT" in rule.rule for rule in found)
    beginnings = {(chain.table, chain.chain) for chain in tree}
    assert {("nat", "PREROUTING"), ("filter", "FORWARD"), ("nat", "KUBE-MARK-MASQ")} <= beginnings
    stray = chains | {ChainKey("nat", "KUBE-OLD"): ("-j ACCEPT",)}
    assert any(c.chain == "KUBE-OLD" and c.purpose == "no rule leads here" for c in branches.whole(stray, {}, {}))


def test_two_nodes_differ_by_what_only_one_holds_however_it_is_written() -> None:
    one = held()
    other = {key: tuple(r.replace("-m tcp -p tcp", "-p tcp -m tcp") for r in rules) for key, rules in one.items()}
    assert one != other
    assert branches.differences(one, other, {}) == ()
    missing = other | {ChainKey("nat", "KUBE-SERVICES"): other[ChainKey("nat", "KUBE-SERVICES")][1:]}
    [found] = branches.differences(one, missing, {})
    assert (found.first, found.chain) == (True, "KUBE-SERVICES")
    [turned] = branches.differences(missing, one, {})
    assert not turned.first


def test_differences_of_one_service_are_its_own() -> None:
    local = web(internalTrafficPolicy="Local")
    one, other = held(*TWO[2:], *local), held(*TWO[2:], *local, node="node2")
    found = branches.differences(one, other, {}, "default/web")
    assert {d.chain[:9] for d in found} == {"KUBE-SVL-", "KUBE-SEP-"}
    assert branches.differences(one, other, {}, "default/web2") == ()
