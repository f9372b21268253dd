"""A packet among one namespace's iptables rules and connections: its fate, and the rules that decided it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import msgspec

from k8snetlab.dataplane.names import CALI_CHAIN, CALI_SCRATCH_MARKS
from k8snetlab.dataplane.rules import BUILT_IN, ChainKey
from k8snetlab.dataplane.view import View
from k8snetlab.iptables.matching import Host, Packet, TraceError
from k8snetlab.iptables.syntax import RuleSyntaxError, parse
from k8snetlab.trace import sets
from k8snetlab.trace.owners import Owners
from k8snetlab.trace.tracer import ALL, Followed, Outcome, Step, Verdict, trace
from k8snetlab.trace.way import UNREAD, Decision, Flow

BEFORE_ROUTING = ("PREROUTING", "OUTPUT")
ACTING = ("ACCEPT", "DROP", "REJECT", "DNAT", "SNAT", "MASQUERADE", "REDIRECT", "MARK", "NOTRACK")


NOWHERE = "/"
"""In the place of the namespace that remembers a connection: none does."""


class Tracked(msgspec.Struct, frozen=True):
    """A connection that `netns` remembers: the packet as it came, the answer it waits for, and who owns the rule that
    translated it."""

    netns: str
    original: Flow
    reply: Flow
    owner: str = ""


class Passed(msgspec.Struct, frozen=True):
    """One way out of the rules: `flow` as it leaves, `routed` its destination when the route was chosen.

    `before` and `after` are the decisions on either side of routing; `unrouted`: it ended before its route was chosen.
    `reject` names the answer of a REJECT; `endpoint` is the "ip:port" that a Service's address became; `tracked` the
    connection that conntrack makes of it, None for the answer to one.
    """

    flow: Flow
    routed: str
    verdict: Verdict
    probability: float = 1.0
    before: tuple[Decision, ...] = ()
    after: tuple[Decision, ...] = ()
    unrouted: bool = False
    reject: str = ""
    endpoint: str = ""
    tracked: Tracked | None = None


def passages(
    view: View,
    owners: Owners,
    flow: Flow,
    known: Iterable[Tracked],
    *,
    arrived: str = "",
    bridged: bool = False,
    followed: Followed = ALL,
) -> Iterator[Passed]:
    """`arrived` is the device it came in by, "" for a packet of this namespace's own process; `bridged`: by a port of
    that bridge. `known` are the connections that are remembered."""
    if not view.chains:
        yield Passed(flow, flow.dst, "delivered" if view.owns(flow.dst) else "sent")
        return
    connection = next((t for t in known if t.netns == view.netns and _same(t.reply, flow)), None)
    entering, state = flow, "NEW"
    noted: tuple[Decision, ...] = ()
    if connection:
        back = connection.original.turned()
        entering = msgspec.structs.replace(flow, dst=back.dst, dport=back.dport)
        state, noted = "ESTABLISHED", tuple(_turned_back(connection, flow))
    elif flow.inner is None and any(_same(t.original.turned(), flow) for t in known) and flow.protocol != "udp":
        state = "INVALID"
    packet = Packet(
        entering.src, entering.dst, entering.protocol, entering.dport, entering.sport, arrived, "", state, 0, bridged
    )
    recent = view.recent.get(entering.src, frozenset())
    host = Host(view.own, lambda dst: _device(view, dst), recent, view.addresses, view.sets)
    try:
        ways = trace(view.chains, packet, host, view.policies, view.beside, choose=followed.first)
        outcomes = followed.last(ways)
    except (RuleSyntaxError, TraceError) as error:
        yield Passed(entering, entering.dst, "sent", before=(Decision("rule", f"{UNREAD}{error.message}"),))
        return
    if view.beside:
        text = f"both variants of iptables hold rules in {view.place}: those of iptables-{view.beside} are asked first"
        noted = (Decision("mixed", text), *noted)
    for outcome in outcomes:
        passed = _passed(view, owners, flow, outcome, connection)
        yield msgspec.structs.replace(passed, before=noted + passed.before)


def _passed(view: View, owners: Owners, flow: Flow, outcome: Outcome, connection: Tracked | None) -> Passed:
    packet = outcome.packet
    left = msgspec.structs.replace(flow, src=packet.src, dst=packet.dst, dport=packet.dport)
    if connection:
        back = connection.original.turned()
        left = msgspec.structs.replace(left, src=back.src, sport=back.sport)
    ends = sets.Ends(flow.src, packet.dst, packet.protocol, flow.sport, packet.dport)
    before, after = _decisions(view, owners, outcome, ends)
    last = next((s.chain for s in reversed(outcome.steps) if s.chain in BUILT_IN), "")
    ended = outcome.verdict in ("dropped", "rejected")
    if ended and not any(d.text.startswith(("DROP", "REJECT")) for d in (*before, *after)):
        last = _policy(view, outcome)
        after += (Decision("rule", f"DROP by the policy of {last}"),)
    reject = parse(outcome.steps[-1].rule).target if outcome.verdict == "rejected" else None
    return Passed(
        flow=left,
        routed=packet.dst,
        verdict=outcome.verdict,
        probability=outcome.probability,
        before=before,
        after=after,
        unrouted=ended and last == "PREROUTING",
        reject=(reject.option("reject-with") or "") if reject else "",
        endpoint=outcome.endpoint,
        tracked=None if connection else _remembered(view.netns, flow, left, outcome, _translator(before + after)),
    )


def _remembered(netns: str, flow: Flow, left: Flow, outcome: Outcome, owner: str) -> Tracked:
    """What conntrack makes of a packet. Of one that a rule kept from it no namespace remembers anything: the answer is
    told by its kind alone (a SYN-ACK before any SYN is INVALID)."""
    return Tracked(NOWHERE if outcome.packet.state == "UNTRACKED" else netns, flow, left.turned(), owner)


def _translator(decisions: Iterable[Decision]) -> str:
    """Who owns the first rule that changed an address."""
    changing = (d for d in decisions if d.text.startswith(("DNAT", "REDIRECT", "SNAT", "MASQUERADE")))
    return next((d.owner for d in changing), "")


def _policy(view: View, outcome: Outcome) -> str:
    """The built-in chain whose policy dropped the packet: the first on its way that has one."""
    forward = "INPUT" if view.owns(outcome.packet.dst) else "FORWARD"
    hooks = ("PREROUTING", forward, "POSTROUTING") if outcome.packet.in_interface else ("OUTPUT", "POSTROUTING")
    dropping = {key.chain for key, policy in view.policies.items() if policy == "DROP"}
    return next((hook for hook in hooks if hook in dropping), "a built-in chain")


def _decisions(
    view: View, owners: Owners, outcome: Outcome, ends: sets.Ends
) -> tuple[tuple[Decision, ...], tuple[Decision, ...]]:
    """Those of PREROUTING and OUTPUT, and those of the later hooks: a decision for each rule that did something, and
    for the sets that policies' rules look into. `ends` are what those see."""
    found: dict[bool, list[Decision]] = {True: [], False: []}
    entered: dict[tuple[str, str], list[str]] = {}
    stack: list[Step] = []
    for number, step in enumerate(outcome.steps):
        while stack and (step.chain in BUILT_IN or _target(stack[-1]) != step.chain):
            stack.pop()
        stack.append(step)
        hook, target = (step.table, stack[0].chain), _target(step)
        passed = entered.setdefault(hook, [])
        if target in ACTING and not _only_clears(step):
            passed.append("")
            decision = _decision(view, owners, stack, outcome.probability)
            found[hook[1] in BEFORE_ROUTING] += [*sets.asked(view, ends, step, decision.owner), decision]
        elif ChainKey(step.table, target) in view.chains and target not in passed:
            passed.append(target)
        owner = partial(_owner_in, owners, [*(one.chain for one in stack), target])
        found[hook[1] in BEFORE_ROUTING] += sets.missed(view, ends, outcome.steps, number, owner)
    for (table, hook_chain), passed in entered.items():
        if passed and "" not in passed:
            text = f"{table} {hook_chain} > {', '.join(passed)}: no rule there decides"
            found[hook_chain in BEFORE_ROUTING].append(Decision("chains", text))
    return tuple(found[True]), tuple(found[False])


def _only_clears(step: Step) -> bool:
    """Whether it is one of Felix' that take marks away, or note that a part of a rule matches: nothing comes of it by
    itself."""
    if not step.chain.startswith(CALI_CHAIN):
        return False
    target = parse(step.rule).target
    value = (target.option("set-xmark") or "" if target else "").partition("/")[0]
    return value in ("0x0", *(f"{bit:#x}" for bit in CALI_SCRATCH_MARKS))


def _decision(view: View, owners: Owners, stack: list[Step], chance: float) -> Decision:
    step = stack[-1]
    target = parse(step.rule).target
    assert target is not None
    options = " ".join(value for _, value in target.options if value)
    chains = [s.chain for s in stack]
    held = view.counters.get(ChainKey(step.table, step.chain), ())
    return Decision(
        what="rule",
        text=f"{target.name}{f' {options}' if options else ''}: {step.table} {' > '.join(chains)}, rule {step.number}"
        + (f", by chance ({chance:.0%})" if target.name == "DNAT" and chance < 1 else ""),
        entry=f"-A {step.chain} {step.rule}",
        owner=owners.of_rule(chains, [parse(s.rule).comment for s in stack[::-1]], [s.rule for s in stack[::-1]]),
        counters=held[step.number - 1] if step.number <= len(held) else None,
    )


def _owner_in(owners: Owners, chains: list[str], rule: str) -> str:
    return owners.of_rule(chains, [parse(rule).comment], [rule])


def _turned_back(connection: Tracked, flow: Flow) -> Iterator[Decision]:
    back = connection.original.turned()
    if not _same(back, flow):
        yield Decision("conntrack", f"the answer is turned back: {flow} becomes {back}", owner=connection.owner)


def _target(step: Step) -> str:
    target = parse(step.rule).target
    return target.name if target else ""


def _device(view: View, dst: str) -> str:
    route, _ = view.route(dst)
    if route is None:
        return ""
    return "lo" if route.kind == "local" else route.dev


def _same(one: Flow, other: Flow) -> bool:
    return (one.src, one.dst, one.protocol, one.sport, one.dport) == (
        other.src,
        other.dst,
        other.protocol,
        other.sport,
        other.dport,
    )
