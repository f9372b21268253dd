"""Rules, policies and tables that the lab did not put there, as findings."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from k8snetlab.dataplane import names
from k8snetlab.dataplane.rules import BUILT_IN, ChainKey
from k8snetlab.dataplane.view import View
from k8snetlab.diagnose.finding import Finding, Where
from k8snetlab.iptables.patch import CommandLine
from k8snetlab.iptables.syntax import RuleSyntaxError, parse
from k8snetlab.render import nodelocal
from k8snetlab.render.felix import static as felix
from k8snetlab.trace.way import Decision

_NOBODYS = " is nobody's: "


def of_rule(decision: Decision, view: View, where: Where, command: CommandLine) -> Finding | None:
    """The finding on an unmanaged rule or policy; None where it is not in the view any more."""
    if decision.text.startswith("DROP by the policy of "):
        return of_policy(ChainKey("filter", decision.text.rpartition(" ")[2]), where, command)
    place = _place(decision.entry, view)
    if place is None:
        return None
    key, number = place
    return _foreign(key, number, view.chains[key][number - 1], where, command)


def unread(view: View, where: Where, command: CommandLine) -> Iterator[Finding]:
    """The unmanaged rules that cannot be read here: they may be why a packet is lost."""
    for key, number, rule in unmanaged_rules(view):
        try:
            parse(rule)
        except RuleSyntaxError:
            yield _foreign(key, number, rule, where, command)


def _foreign(key: ChainKey, number: int, rule: str, where: Where, command: CommandLine) -> Finding:
    return Finding(
        kind="rule",
        fault="foreign",
        node=where.node,
        object=f"{key.table} {key.chain} {number}",
        message=f"{where.place}: rule {number} of {key.chain} (table {key.table}){_NOBODYS}{rule}",
        consequence=_done(rule),
        show=command(key.table, f"-S {key.chain}"),
        mend=command(key.table, f"-D {key.chain} {rule}"),
        netns=where.netns,
    )


def named(found: Iterable[Finding]) -> set[tuple[str, str]]:
    """The rules that findings are about: (namespace, rule)."""
    return {(one.netns, one.message.rpartition(_NOBODYS)[2]) for one in found if _NOBODYS in one.message}


def of_policy(key: ChainKey, where: Where, command: CommandLine) -> Finding:
    return Finding(
        kind="policy",
        fault="drop",
        node=where.node,
        object=f"{key.table} {key.chain}",
        message=f"{where.place}: the policy of {key.chain} (table {key.table}) is DROP",
        consequence="what no rule accepts is dropped; pods' packets pass only as long as FLANNEL-FWD accepts them"
        if key.chain == "FORWARD"
        else "what no rule accepts is dropped, the tunnel's UDP packets and connections to NodePorts among it",
        show=command(key.table, f"-S {key.chain}"),
        mend=command(key.table, f"-P {key.chain} ACCEPT"),
        netns=where.netns,
    )


def unmanaged_rules(view: View) -> Iterator[tuple[ChainKey, int, str]]:
    """The rules in built-in chains that lead nowhere of kube-proxy's or flannel's: table and chain, number, rule. Those
    of a node's own DNS cache stand by themselves, where it has its device, and so do Felix' last of FORWARD."""
    known = [*nodelocal.RULES] if names.NODELOCALDNS in view.interfaces else []
    known += felix.LAST if any(key.chain.startswith(names.CALI_CHAIN) for key in view.chains) else ()
    written = {(hook.table, hook.chain, hook.rule) for hook in known}
    for key, rules in view.chains.items():
        if key.chain not in BUILT_IN or " (" in key.table:
            continue
        for number, rule in enumerate(rules, 1):
            target = rule.rpartition("-j ")[2].partition(" ")[0]
            if not target.startswith(names.CHAINS) and (*key, rule) not in written:
                yield key, number, rule


def plugged(view: View, where: Where, bridge: str, wanted: Container[str], reached: bool) -> Iterator[Finding]:
    """Ports of a node's bridge that nobody of the lab plugged in. `reached`: other nodes lead to every address of this
    node's subnet, and so to what is behind such a port; else it needs an entry of its own on each."""
    for device in view.interfaces.values():
        if device.master != bridge or device.name in wanted:
            continue
        macs = {f.lladdr for f in view.forwarding if f.dev == device.name and not f.permanent}
        held = sorted(n.dst for n in view.neighbours if n.dev == bridge and n.lladdr in macs)
        behind = f" (behind it {', '.join(held)})" if held else ""
        yield Finding(
            kind="link",
            fault="foreign",
            node=where.node,
            object=device.name,
            message=f"{where.place}: {device.name}{behind} is a port of {bridge}, and nobody of the lab made it",
            consequence="what is behind it takes part in this node's pod network, and no object knows of it"
            if reached
            else "what is behind it is reached on this node only: with routes: flat other nodes have a neighbour entry "
            "for each pod, and none for this address",
            show=f"bridge -n {where.netns} fdb show br {bridge} | grep {device.name}",
            mend=f"ip -n {where.netns} link set {device.name} nomaster",
            netns=where.netns,
            device=device.name,
        )


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
        case "NOTRACK":
            return (
                "conntrack knows nothing of packets that match it: no Service translates them, and answers are INVALID"
            )
        case _:
            return "packets that match it are not treated as the lab's rules would"


def mixed(where: Where, variant: str) -> Finding:
    """Rules in the variant of iptables that the node does not use."""
    other = "legacy" if variant == "nft" else "nft"
    return Finding(
        kind="variant",
        fault="mixed",
        node=where.node,
        object=f"iptables-{other}",
        message=(
            f"{where.place}: both variants of iptables hold rules; this node uses {variant}, and "
            f"iptables-{other} has some"
        ),
        consequence=(
            "packets pass through both, and what one accepts or translates the other may drop or translate again"
        ),
        show=f"ip netns exec {where.netns} iptables-{other}-save",
        mend="\n".join(
            f"ip netns exec {where.netns} {tool}-{other} -t {table} {what}"
            for tool in ("iptables", "ip6tables")
            for table in ("filter", "nat", "mangle")
            for what in ("-F", "-X")
        ),
        netns=where.netns,
    )
