"""ipsets of NetworkPolicies that do not hold what they should, as findings: a set each.

The agent mends them; the tool `ipset` shows them, but nobody needs to have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from k8snetlab.dataplane.names import CALI_SETS, KUBE_ROUTER_SETS, is_one_policys
from k8snetlab.dataplane.rules import RuleSet
from k8snetlab.dataplane.sets import NOMATCH, IPSet
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.iptables.syntax import parse
from k8snetlab.trace.owners import BY_FELIX, NOBODY, Owners

FEW = 3
_SHARED = {
    "masq-ipam-pools": "pods' packets leave the pools with a pod's address, or others' are masqueraded",
    "all-ipam-pools": "pods see a node where another pod is, or packets leave the pools with a pod's address",
    "all-hosts-net": "tunnels' packets from nodes that it lacks are dropped, or strangers' are let in",
    "all-vxlan-net": "tunnels' packets from nodes that it lacks are dropped, or strangers' are let in",
}
"""What comes of a difference in a set of Felix' that is no policy's, by its name without the beginning."""


def sets(
    where: Where, wanted: Iterable[IPSet], held: Mapping[str, IPSet], rules: Iterable[RuleSet], owners: Owners
) -> Iterator[Finding]:
    """`rules` are those that should look into them: they tell whose they are."""
    known, users = {one.name: one for one in wanted}, dict[str, str]()
    for name, one in known.items():
        there = held.get(name)
        if there is not None and there.entries == one.entries and there.type == one.type:
            continue
        users = users or _users(rules, owners)
        yield _differing(where, one, there, users.get(name, ""), owners)
    for name, one in held.items():
        if name.startswith((*KUBE_ROUTER_SETS, *CALI_SETS)) and name not in known:
            yield _stale(where, one)


def _differing(where: Where, wanted: IPSet, held: IPSet | None, owner: str, owners: Owners) -> Finding:
    before = held.entries if held else frozenset()
    lacking, more = sorted(wanted.entries - before), sorted(before - wanted.entries)
    policy = owner.partition(",")[0] or "its policy"
    of = f" of {policy}" if owner else ""
    said = [f"lacks {_named(lacking, owners)}"] * bool(lacking) + [f"holds {_named(more, owners)}"] * bool(more)
    message = f"ipset {wanted.name}{of} {' and '.join(said)}" if held else f"ipset {wanted.name}{of} is missing"
    if held and more and not lacking:
        message += ", which should not be in it"
    refused = any(NOMATCH not in entry for entry in lacking) or any(NOMATCH in entry for entry in more)
    passing = any(NOMATCH not in entry for entry in more) or any(NOMATCH in entry for entry in lacking)
    so = ["what it allows is refused"] * refused + ["what it does not allow passes"] * passing
    so = so or ["it is of another type"]
    return Finding(
        kind="set",
        fault="missing" if held is None else "wrong",
        node=where.node,
        object=wanted.name,
        message=f"{where.place}: {message}",
        consequence=_SHARED.get(wanted.name[len(CALI_SETS[0]) :]) or f"{policy} is not kept: {' and '.join(so)}",
        show=f"ip netns exec {where.netns} ipset list {wanted.name}",
        mend=f"k8snetlab resume {where.node}",
        owner=owner,
        netns=where.netns,
    )


def _stale(where: Where, held: IPSet) -> Finding:
    return Finding(
        kind="set",
        fault="stale",
        node=where.node,
        object=held.name,
        message=f"{where.place}: ipset {held.name} is no policy's (any more)",
        consequence="nobody uses it",
        show=f"ip netns exec {where.netns} ipset list {held.name}",
        mend=f"k8snetlab resume {where.node}",
        netns=where.netns,
    )


def _users(rules: Iterable[RuleSet], owners: Owners) -> dict[str, str]:
    """The policy whose rules look into a set, by the set's name."""
    found: dict[str, str] = {}
    for ruleset in rules:
        for key, chain in ruleset.chains.items():
            for rule in chain if is_one_policys(key.chain) else ():
                parsed = parse(rule)
                for match in parsed.matches:
                    if match.option == "match-set":
                        owner = owners.of_rule([key.chain], [parsed.comment], [rule])
                        found[match.value.split()[0]] = "" if owner in (NOBODY, BY_FELIX, "kube-router") else owner
    return found


def _named(entries: list[str], owners: Owners) -> str:
    words = [entry if "/" in entry or (who := _who(entry, owners)) == "" else f"{entry} ({who})" for entry in entries]
    return ", ".join(words[:FEW]) + (f" and {len(words) - FEW} more" if len(words) > FEW else "")


def _who(entry: str, owners: Owners) -> str:
    found = owners.of_address(entry.removesuffix(NOMATCH).partition(",")[0]).partition(",")[0]
    return "" if found == NOBODY else found.partition(" of ")[0]
