"""Rules, policies and tables that nobody of the lab put there, as findings."""

from __future__ import annotations

from collections.abc import Iterator

from k8snetlab.dataplane.rules import BUILT_IN, ChainKey, Family
from k8snetlab.dataplane.view import View
from k8snetlab.trace.finding import Finding, Where
from k8snetlab.trace.patch import Iptables
from k8snetlab.trace.syntax import RuleSyntaxError, parse
from k8snetlab.trace.way import Decision


def of_rule(netns: str, decision: Decision, view: View, where: Where, family: Family, variant: str) -> Finding | None:
    """The finding on a stranger's rule or policy; None where it is not in the view any more."""
    command = Iptables(netns, family, variant)
    if decision.text.startswith("DROP by the policy of "):
        return of_policy(ChainKey("filter", decision.text.rpartition(" ")[2]), where, command)
    place = _place(decision.entry, view)
    if place is None:
        return None
    key, number = place
    rule = view.chains[key][number - 1]
    return Finding(
        "rule",
        "foreign",
        where.node,
        f"{key.table} {key.chain} {number}",
        f"{where.place}: rule {number} of {key.chain} (table {key.table}) is nobody's: {rule}",
        _done(rule),
        command(key.table, f"-S {key.chain}"),
        command(key.table, f"-D {key.chain} {rule}"),
        netns=netns,
    )


def of_policy(key: ChainKey, where: Where, command: Iptables) -> Finding:
    return Finding(
        "policy",
        "drop",
        where.node,
        f"{key.table} {key.chain}",
        f"{where.place}: the policy of {key.chain} (table {key.table}) is DROP",
        "what no rule accepts is dropped; pods' packets pass only as long as FLANNEL-FWD accepts them"
        if key.chain == "FORWARD"
        else "what no rule accepts is dropped, the tunnel's UDP packets and connections to NodePorts among it",
        command(key.table, f"-S {key.chain}"),
        command(key.table, f"-P {key.chain} ACCEPT"),
        netns=where.netns,
    )


def strangers(view: View) -> Iterator[tuple[ChainKey, int, str]]:
    """The rules in built-in chains that lead nowhere of kube-proxy's or flannel's: table and chain, number, rule."""
    for key, rules in view.chains.items():
        if key.chain not in BUILT_IN or " (" in key.table:
            continue
        for number, rule in enumerate(rules, 1):
            target = rule.rpartition("-j ")[2].partition(" ")[0]
            if not target.startswith(("KUBE-", "FLANNEL-", "CNI-HOSTPORT-", "CNI-DN-")):
                yield key, number, rule


def _place(entry: str, view: View) -> tuple[ChainKey, int] | None:
    """Where a rule "-A CHAIN …" stands."""
    _, _, rest = entry.partition(" ")
    chain, _, rule = rest.partition(" ")
    for key, rules in view.chains.items():
        if key.chain == chain and rule in rules:
            return key, rules.index(rule) + 1
    return None


def _done(rule: str) -> str:
    try:
        target = parse(rule).target
    except RuleSyntaxError:
        return "what it does to packets cannot be told"
    match target.name if target else "":
        case "DROP":
            return "packets that match it are lost"
        case "REJECT":
            return "packets that match it are refused"
        case "DNAT" | "REDIRECT":
            return "connections that match it are led elsewhere, before kube-proxy's rules are asked"
        case "SNAT" | "MASQUERADE":
            return (
                "packets that match it lose their source address: whoever is asked sees a node, not the pod that asks"
            )
        case "ACCEPT":
            return "packets that match it never come to the rules that follow, kube-proxy's among them"
        case "MARK":
            return "packets that match it are marked, and treated as if kube-proxy had meant them"
        case _:
            return "packets that match it are not treated as the lab's rules would"


def mixed(where: Where, variant: str) -> Finding:
    """Rules in the variant of iptables that the node does not use."""
    other = "legacy" if variant == "nft" else "nft"
    return Finding(
        "variant",
        "mixed",
        where.node,
        f"iptables-{other}",
        f"{where.place}: both variants of iptables hold rules; this node uses {variant}, and iptables-{other} has some",
        "packets pass through both, and what one accepts or translates the other may drop or translate again",
        f"ip netns exec {where.netns} iptables-{other}-save",
        "\n".join(
            f"ip netns exec {where.netns} {tool}-{other} -t {table} {what}"
            for tool in ("iptables", "ip6tables")
            for table in ("filter", "nat", "mangle")
            for what in ("-F", "-X")
        ),
        netns=where.netns,
    )
