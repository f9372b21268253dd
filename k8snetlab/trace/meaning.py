"""What a rule means, in one plain sentence: every kind that kube-proxy, kubelet and flannel write, in both layouts.

A sentence is who (from the rule's matches), what (its target), and why where the chain it stands in tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from k8snetlab.dataplane.families import parted
from k8snetlab.dataplane.names import (
    CALI_ACCEPT_MARK,
    CALI_CHAIN,
    CALI_DROP_MARK,
    CALI_PASS_MARK,
    CALI_SCRATCH_MARKS,
    CNI,
    CNI_DN,
    CNI_HOSTPORT_DNAT,
    CNI_HOSTPORT_MASQ,
    CNI_HOSTPORT_SETMARK,
    DROP_MARK,
    FLANNEL_FWD,
    FLANNEL_POSTRTG,
    KUBE_CNPLCY,
    KUBE_CNPLCY_DENY,
    KUBE_EXT,
    KUBE_EXTERNAL_SERVICES,
    KUBE_FIREWALL,
    KUBE_FORWARD,
    KUBE_FW,
    KUBE_MARK_DROP,
    KUBE_MARK_MASQ,
    KUBE_NODEPORTS,
    KUBE_NWPLCY,
    KUBE_NWPLCY_COMMON,
    KUBE_NWPLCY_DEFAULT,
    KUBE_POD_FW,
    KUBE_POSTROUTING,
    KUBE_PROXY_CANARY,
    KUBE_PROXY_FIREWALL,
    KUBE_ROUTER,
    KUBE_SEP,
    KUBE_SERVICES,
    KUBE_SV,
    KUBE_SVC,
    KUBE_SVL,
    KUBE_XLB,
    MASQUERADE_MARK,
)
from k8snetlab.dataplane.rules import ChainKey
from k8snetlab.iptables.syntax import RANDOM_UNIT, Match, ParsedRule, RuleSyntaxError, Target, parse

"""The bits that kube-proxy and kubelet set by default; where another one is configured it is named by number only."""

PURPOSES = {
    "PREROUTING": "every packet that arrives",
    "INPUT": "every packet for a process of the node",
    "FORWARD": "every packet that passes through the node",
    "OUTPUT": "every packet that a process of the node sends",
    "POSTROUTING": "every packet that leaves",
    f"nat {KUBE_SERVICES}": "the addresses of all Services",
    f"nat {KUBE_NODEPORTS}": "the NodePorts of all Services",
    f"filter {KUBE_SERVICES}": "Services that nobody can answer for inside the cluster",
    f"filter {KUBE_NODEPORTS}": "health check ports",
    KUBE_EXTERNAL_SERVICES: "Services that nobody can answer for from outside",
    KUBE_PROXY_FIREWALL: "what loadBalancerSourceRanges keep out",
    KUBE_MARK_MASQ: "marks packets for masquerade",
    KUBE_MARK_DROP: "marks packets for KUBE-FIREWALL to drop",
    KUBE_POSTROUTING: "masquerades what was marked",
    KUBE_FORWARD: "lets Service traffic through the node",
    KUBE_FIREWALL: "drops what must not come in",
    KUBE_PROXY_CANARY: "empty: when it is gone, kube-proxy knows that someone flushed the rules",
    KUBE_SVC: "the Service's endpoints on any node",
    KUBE_SVL: "the Service's endpoints on this node",
    KUBE_EXT: "the Service's traffic from outside",
    KUBE_XLB: "the Service's traffic from outside, with externalTrafficPolicy Local",
    KUBE_FW: "the Service's load balancer address",
    KUBE_SEP: "one endpoint",
    FLANNEL_POSTRTG: "masquerades pods that talk to the world outside",
    FLANNEL_FWD: "lets pod traffic through the node",
    CNI_HOSTPORT_DNAT: "the hostPorts of all pods on this node",
    CNI_HOSTPORT_SETMARK: "marks packets for masquerade by CNI-HOSTPORT-MASQ",
    CNI_HOSTPORT_MASQ: "masquerades what was marked on its way to a hostPort",
    CNI_DN: "one pod's hostPorts",
    KUBE_ROUTER: "NetworkPolicies, pod by pod",
    KUBE_POD_FW: "what policies say of one pod",
    KUBE_NWPLCY: "one policy, in one direction",
    KUBE_CNPLCY: "one ClusterNetworkPolicy, in one direction",
    KUBE_CNPLCY_DENY: "refuses what a ClusterNetworkPolicy denies",
    KUBE_NWPLCY_COMMON: "what no policy is asked about",
    KUBE_NWPLCY_DEFAULT: "for a direction in which no policy selects the pod",
    "cali-nat-outgoing": "masquerades pods that talk to the world outside all pools",
    "cali-fip-dnat": "floating addresses of pods; none here",
    "cali-fip-snat": "floating addresses of pods; none here",
    "cali-INPUT": "what comes to the node, also from its pods",
    "cali-FORWARD": "what passes through the node: first the policies of who sends it, then of who gets it",
    "cali-OUTPUT": "what the node sends; to its own pods unasked",
    "cali-wl-to-host": "what a pod sends to its own node, by its egress policies",
    "cali-from-wl-dispatch": "from a pod's device to the chain of what it sends",
    "cali-to-wl-dispatch": "from a pod's device to the chain of what goes to it",
    "cali-from-wl-dispatch-": "devices that begin with one letter more",
    "cali-to-wl-dispatch-": "devices that begin with one letter more",
    "cali-tw-": "what policies let in to one pod",
    "cali-fw-": "what policies let one pod send",
    "cali-pi-": "one policy, of what it lets in",
    "cali-po-": "one policy, of what it lets out",
    "cali-gi-": "policies of one selector, of what they let in",
    "cali-go-": "policies of one selector, of what they let out",
    "cali-pri-": "a profile: what a namespace or a ServiceAccount lets in that no policy is about",
    "cali-pro-": "a profile: what a namespace or a ServiceAccount lets out that no policy is about",
    "cali-cidr-block": "Service addresses that nobody answers for; none here",
    **dict.fromkeys(
        (
            "cali-from-hep-forward",
            "cali-to-hep-forward",
            "cali-from-host-endpoint",
            "cali-to-host-endpoint",
        ),
        "policies of the node's own devices (HostEndpoints); none here",
    ),
    CALI_CHAIN: "Calico's",
}
"""What a chain is for, by "TABLE CHAIN", or by its name or the beginning of it."""

_MARKED = "is marked for masquerade"
_LEADS = {
    KUBE_MARK_MASQ: _MARKED,
    CNI_HOSTPORT_SETMARK: _MARKED,
    KUBE_MARK_DROP: "is marked to be dropped by KUBE-FIREWALL",
}

NO_POD = "because the answer to a client that is no pod must pass this node again"
OWN_CLIENT = "because an endpoint that calls its own Service would see its own address as the client's"
PODS_ANY = "because pods of the cluster may use every endpoint"

WHY = (
    # chain, target, a match it must have ("!" negated; "" any), why
    (KUBE_SEP, KUBE_MARK_MASQ, "source", OWN_CLIENT),
    (KUBE_SVC, KUBE_MARK_MASQ, "!source", NO_POD),
    (KUBE_SVL, KUBE_MARK_MASQ, "!source", NO_POD),
    (KUBE_SV, KUBE_MARK_MASQ, "!in-interface", "because it comes from no pod of this node"),
    (KUBE_SV, KUBE_MARK_MASQ, "", "because masqueradeAll is set"),
    (KUBE_SERVICES, KUBE_MARK_MASQ, "!source", NO_POD),
    (KUBE_SERVICES, KUBE_MARK_MASQ, "", "so that the answer passes this node again"),
    (KUBE_NODEPORTS, KUBE_MARK_MASQ, "", "so that the answer passes this node again"),
    (KUBE_FW, KUBE_MARK_MASQ, "", "so that the answer passes this node again"),
    (KUBE_EXT, KUBE_MARK_MASQ, "src-type", "because an endpoint elsewhere has to answer to the node"),
    (KUBE_XLB, KUBE_MARK_MASQ, "src-type", "because an endpoint elsewhere has to answer to the node"),
    (KUBE_EXT, KUBE_MARK_MASQ, "", "so that the answer of an endpoint on any node passes this one again"),
    (KUBE_EXT, KUBE_SVC, "source", PODS_ANY),
    (KUBE_EXT, KUBE_SVC, "in-interface", PODS_ANY),
    (KUBE_EXT, KUBE_SVC, "src-type", "because the node itself may use every endpoint"),
    (KUBE_XLB, KUBE_SVC, "source", PODS_ANY),
    (KUBE_XLB, KUBE_SVC, "in-interface", PODS_ANY),
    (KUBE_XLB, KUBE_SVC, "src-type", "because the node itself may use every endpoint"),
    (KUBE_EXT, KUBE_SVL, "", "as externalTrafficPolicy Local keeps the client's address"),
    (KUBE_XLB, KUBE_MARK_DROP, "", "as the Service has no endpoint on this node"),
    (KUBE_FW, KUBE_EXT, "source", "as loadBalancerSourceRanges let it in"),
    (KUBE_FW, KUBE_SVC, "source", "as loadBalancerSourceRanges let it in"),
    (KUBE_FW, KUBE_XLB, "source", "as loadBalancerSourceRanges let it in"),
    (KUBE_FW, KUBE_MARK_DROP, "", "as loadBalancerSourceRanges do not name its source"),
    (KUBE_PROXY_FIREWALL, "DROP", "", "as loadBalancerSourceRanges do not name its source"),
    (KUBE_NODEPORTS, "ACCEPT", "", "so that load balancers can ask whether this node has an endpoint"),
    (KUBE_FORWARD, "DROP", "ctstate", "as it would reach the client untranslated, and make it reset the connection"),
    (KUBE_FORWARD, "ACCEPT", "mark", "whatever the FORWARD policy is"),
    (KUBE_FORWARD, "ACCEPT", "", "whatever the FORWARD policy is"),
    (KUBE_FIREWALL, "DROP", "destination", "as route_localnet would let neighbours reach the node's own localhost"),
    (KUBE_POSTROUTING, "RETURN", "!mark", "as nothing in KUBE-* asked for masquerade"),
    (KUBE_POSTROUTING, "MARK", "", "so that a packet that comes here again is not masqueraded twice"),
    (FLANNEL_POSTRTG, "RETURN", "mark", "as kube-proxy's rules deal with it"),
    (FLANNEL_POSTRTG, "RETURN", "!source", "so that pods of this node see who calls"),
    (FLANNEL_POSTRTG, "RETURN", "", "as pods see each other's own addresses"),
    (FLANNEL_POSTRTG, "MASQUERADE", "!destination", "as nobody outside the cluster knows the way back to a pod"),
    (FLANNEL_POSTRTG, "MASQUERADE", "!source", "so that pods of other nodes answer through this node"),
    ("cali-nat-outgoing", "MASQUERADE", "", "as nobody outside the pools knows the way back to a pod"),
    ("cali-POSTROUTING", "MASQUERADE", "", "so that the answer comes back through the tunnel"),
    ("cali-tw-", "ACCEPT", "ctstate", "as what began it was allowed"),
    ("cali-fw-", "ACCEPT", "ctstate", "as what began it was allowed"),
    ("cali-fw-", "DROP", "protocol", "as a tunnel of a pod's own would pass its policies by"),
    ("cali-tw-", "DROP", "mark", "as no policy of the tier allows it"),
    ("cali-fw-", "DROP", "mark", "as no policy of the tier allows it"),
    ("cali-to-wl-dispatch", "DROP", "", "as no pod is known there"),
    ("cali-from-wl-dispatch", "DROP", "", "as no pod is known there"),
    ("cali-wl-to-host", "ACCEPT", "", "as a pod may reach its own node where its policies let it out"),
    ("cali-OUTPUT", "RETURN", "out-interface", "as a pod's own node always reaches it"),
    (CNI_DN, CNI_HOSTPORT_SETMARK, "source", "because the answer must pass this node again"),
    (FLANNEL_FWD, "ACCEPT", "", "whatever the FORWARD policy is"),
    (KUBE_POD_FW, "ACCEPT", "src-type", "as a pod's own node always reaches it"),
    (KUBE_POD_FW, "REJECT", "", "as no policy allows it"),
    (KUBE_ROUTER, "RETURN", "destination", "as policies are asked about the pod that a Service leads to"),
    (KUBE_ROUTER, "RETURN", "dst-type", "as policies are asked about the pod that a NodePort leads to"),
)
"""The first row that matches says why; rows for fewer chains come before those for more."""


class Facts(msgspec.Struct, frozen=True):
    """What the rules themselves do not say: `endpoints` has the "ip:port" that a KUBE-SEP chain leads to, `known` what
    an address or CIDR is ("pod default/client", "the pod network"). `felix`: marks are Felix'."""

    endpoints: Mapping[str, str] = {}
    known: Mapping[str, str] = {}
    felix: bool = False

    def named(self, address: str) -> str:
        """The address, and in brackets what it is."""
        what = self.known.get(address.removesuffix("/32").removesuffix("/128"))
        return f"{address.removesuffix('/32').removesuffix('/128')}{f' ({what})' if what else ''}"

    def named_end(self, end: str) -> str:
        """The same for "ip:port" and "[ip]:port"."""
        what = self.known.get(parted(end)[0])
        return f"{end} ({what})" if what else end


def purpose(key: ChainKey) -> str:
    """What a chain is for; "" for an unmanaged one."""
    felix = "-".join((*key.chain.split("-", 2)[:2], ""))
    for name in (f"{key.table} {key.chain}", key.chain, key.chain[: key.chain.rfind("-") + 1], felix):
        if name in PURPOSES:
            return PURPOSES[name]
    return ""


def endpoints(chains: Mapping[ChainKey, tuple[str, ...]]) -> dict[str, str]:
    """The "ip:port" of each chain that ends in a DNAT; a pod's hostPorts lead to more than one."""
    return {
        key.chain: rule.rpartition(" --to-destination ")[2].split(" ")[0]
        for key, rules in chains.items()
        for rule in rules
        if key.table == "nat" and " --to-destination " in rule and not key.chain.startswith(CNI)
    }


def meaning(key: ChainKey, rule: str, facts: Facts | None = None) -> str:
    """The sentence for `rule` (as after `-A CHAIN`) in chain `key`. One that cannot be read is said to be so."""
    try:
        parsed = parse(rule)
    except RuleSyntaxError:
        return "Neither kube-proxy nor flannel writes such a rule; somebody else put it in."
    facts = facts or Facts()
    if parsed.comment.startswith("cali:"):
        facts = msgspec.structs.replace(facts, felix=True)
    who = _who(key, parsed, facts)
    why = _why(key, parsed)
    sentence = f"{who} {_what(key, parsed, facts)}{', ' + why if why else ''}."
    return sentence[0].upper() + sentence[1:]


# --- who --------------------------------------------------------------------------------------------------------------


def _who(key: ChainKey, rule: ParsedRule, facts: Facts) -> str:
    protocol = next((m.value for m in rule.matches if m.option == "protocol" and not m.negated), "")
    phrases = [phrase for match in rule.matches if (phrase := _phrase(match, facts))]
    if any(m.option == "destination" for m in rule.matches):
        phrases = [phrase.removeprefix("to ") if phrase.startswith("to port ") else phrase for phrase in phrases]
    chance = next((m for m in rule.matches if m.option == "probability"), None)
    what = {"": "everything", "ipv6-icmp": "ICMPv6", "ipencap": "IP in IP"}.get(protocol, protocol.upper())
    if chance:
        what = f"{_share(chance)} of the {'' if what == 'everything' else f'{what} '}connections that get here"
    elif key.chain.startswith((KUBE_SVC, KUBE_SVL, KUBE_XLB)) and not phrases and what == "everything":
        what = "what is left"
    return " ".join([what, *phrases])


def _share(chance: Match) -> str:
    part = int(chance.value) / RANDOM_UNIT
    ones = 1 / part if part else 0.0
    return f"one in {round(ones)}" if ones and abs(ones - round(ones)) < 0.005 * ones else f"{part:.1%}"


def _phrase(  # noqa: C901, PLR0912 (a row for each match of iptables)
    match: Match, facts: Facts
) -> str:
    """One condition, as it stands after "everything" or "TCP"."""
    negation = "not " if match.negated else ""
    value = match.value
    match match.option:
        case "source":
            return f"from {'outside ' if match.negated else ''}{facts.named(value)}"
        case "destination":
            return f"to {'anything but ' if match.negated else ''}{facts.named(value)}"
        case "dport" | "sport":
            return f"{negation}{'to' if match.option == 'dport' else 'from'} port {value.replace(':', ' to ')}"
        case "dports":
            ports = value.replace(":", " to ").split(",")
            return f"{negation}to port{'s' if len(ports) > 1 else ''} {' or '.join(ports)}"
        case "sports":
            ports = value.replace(":", " to ").split(",")
            return f"{negation}from port{'s' if len(ports) > 1 else ''} {' or '.join(ports)}"
        case "in-interface":
            return f"{negation}in by {_interface(value)}"
        case "out-interface":
            return f"{negation}out by {_interface(value)}"
        case "src-type":
            of, other = (
                ("the device's own address", "another address") if " " in value else ("the node itself", "another host")
            )
            return f"from {other if match.negated else of}"
        case "dst-type":
            return f"{negation}to an address of the node"
        case "ctstate":
            return _states(value, match.negated)
        case "mark":
            plain, _, mask = value.partition("/")
            if plain == "0x0":
                return f"that bears {'a' if match.negated else 'no'} mark of {_bit(mask, facts)}"
            return f"{'that is not ' if match.negated else ''}marked {_bit(value, facts)}"
        case "rcheck":
            name, _, seconds = value.partition(" ")
            where = facts.endpoints.get(name)
            return f"from a client that was sent {f'to {where}' if where else 'here'} in the last {seconds} seconds"
    return _phrase_of_policies(match)


def _phrase_of_policies(match: Match) -> str:
    """Of those that only kube-router writes."""
    value = match.value
    match match.option:
        case "match-set":
            name, _, end = value.partition(" ")
            what = "address and port" if "," in end else "address"
            return (
                f"{'from' if end.startswith('src') else 'to'} {'no' if match.negated else 'an'} {what} in ipset {name}"
            )
        case "icmp-type":
            return f"{'not ' if match.negated else ''}of type {value}{_ICMP.get(value, '')}"
        case "limit":
            return f"(no more than {value})"
        case "physdev-is-bridged":
            return "that is not bridged" if match.negated else "that a bridge carries on"
        case "physdev-is-in":
            return "that came in by no bridge port" if match.negated else "that came in by a bridge port"
    return ""


_ICMP = {
    "8": " (echo request)",
    "11": " (time exceeded)",
    "128": " (echo request)",
    "129": " (echo reply)",
    "135": " (neighbour solicitation)",
    "136": " (neighbour advertisement)",
}
"""Where ICMP and ICMPv6 do not differ: 3 is unreachable of the one, and time exceeded of the other."""


def _interface(name: str) -> str:
    return f"an interface called {name[:-1]}…" if name.endswith("+") else name


def _states(states: str, negated: bool) -> str:
    match states:
        case "NEW":
            return "that belongs to a connection already" if negated else "that begins a connection"
        case "DNAT":
            return "whose destination is its own" if negated else "whose destination was translated"
        case "INVALID":
            return "that conntrack can place" if negated else "that conntrack cannot place"
        case "ESTABLISHED,RELATED":
            return "that belongs to no connection" if negated else "that belongs to a connection already"
        case "DNAT,ESTABLISHED,RELATED":
            return "that neither belongs to a connection nor was translated" if negated else "of a known connection"
    return f"{'not ' if negated else ''}in state {states}"


_BITS = {
    f"{MASQUERADE_MARK:#x}": " (for masquerade)",
    f"{DROP_MARK:#x}": " (to be dropped)",
    "0x10000": " (allowed by a policy)",
    "0x20000": " (allowed by all policies)",
    "0x40000": " (left to the next tier)",
    "0x50000": " (allowed, or left to the next tier)",
}


_FELIX_PARTS = CALI_SCRATCH_MARKS[0] | CALI_SCRATCH_MARKS[1]
_FELIX_OTHERS = CALI_PASS_MARK | CALI_DROP_MARK | _FELIX_PARTS
_FELIX_BITS = {
    f"{CALI_ACCEPT_MARK:#x}": " (accepted by a policy or profile)",
    f"{CALI_PASS_MARK:#x}": " (left to the next tier)",
    f"{CALI_ACCEPT_MARK | CALI_PASS_MARK:#x}": " (accepted, or left to the next tier)",
    f"{CALI_DROP_MARK:#x}": " (to be dropped)",
    f"{CALI_SCRATCH_MARKS[0]:#x}": " (all parts of the rule so far match)",
    f"{CALI_SCRATCH_MARKS[1]:#x}": " (this part of the rule matches)",
    f"{CALI_ACCEPT_MARK | _FELIX_OTHERS:#x}": " (all of Felix')",
    f"{_FELIX_OTHERS:#x}": " (all of Felix' but that of acceptance)",
    f"{_FELIX_PARTS:#x}": " (those of a rule's parts)",
}


def _bit(mark: str, facts: Facts) -> str:
    value = mark.partition("/")[0]
    return value + (_FELIX_BITS if facts.felix else _BITS).get(value, "")


# --- what -------------------------------------------------------------------------------------------------------------


def _what(key: ChainKey, rule: ParsedRule, facts: Facts) -> str:
    remembered = any(m.option == "set" for m in rule.matches)
    memory = ", and its client is remembered for session affinity" if remembered else ""
    return (_target(key, rule, rule.target, facts) if rule.target else _only_counts(rule)) + memory


def _only_counts(rule: ParsedRule) -> str:
    dropped = "will be dropped by KUBE-PROXY-FIREWALL" in rule.comment
    return "goes back, and KUBE-PROXY-FIREWALL drops it" if dropped else "is only counted"


def _target(  # noqa: C901 (a row for each target of iptables)
    key: ChainKey, rule: ParsedRule, target: Target, facts: Facts
) -> str:
    match target.name:
        case "ACCEPT":
            return "is let through"
        case "DROP":
            local = rule.comment.endswith("has no local endpoints")
            return "is dropped without a word" + (", as this node has no endpoint of the Service" if local else "")
        case "REJECT":
            none = rule.comment.endswith("has no endpoints")
            return "is refused at once" + (", as the Service has no endpoints" if none else "")
        case "RETURN":
            return "goes back to the chain it came from"
        case "LOG":
            return f"is told to the kernel's log, as {(target.option('log-prefix') or 'a line').strip(': ')}"
        case "NFLOG":
            return f"is told to NFLOG group {target.option('nflog-group') or 0}"
        case "TRACE":
            return "is shown rule by rule to xtables-monitor"
        case "DNAT":
            return f"gets {facts.named_end(target.option('to-destination') or '')} as its destination"
        case "SNAT":
            return f"gets {target.option('to-source')} as its source"
        case "MASQUERADE":
            return "gets the address of the interface it leaves by as its source"
        case "REDIRECT":
            return f"goes to port {target.option('to-ports')} of the node itself"
        case "MARK":
            return _set_mark(target.option("set-xmark") or "", facts)
    return _LEADS.get(target.name) or _leads(ChainKey(key.table, target.name), facts)


def _set_mark(xmark: str, facts: Facts) -> str:
    value, _, mask = xmark.partition("/")
    if value == "0x0" and mask != "0x0":
        return f"loses the mark {_bit(mask, facts)} again"
    if mask == "0x0":
        return f"loses the mark {_bit(value, facts)} again"
    return f"gets the mark {_bit(value, facts)}" if value == mask else f"gets the mark {xmark}"


def _leads(to: ChainKey, facts: Facts) -> str:
    end = facts.endpoints.get(to.chain)
    if end:
        return f"goes to endpoint {facts.named_end(end)}"
    what = purpose(to)
    return f"goes on to {to.chain}{f' ({what})' if what else ''}"


def _why(key: ChainKey, rule: ParsedRule) -> str:
    target = rule.target.name if rule.target else ""
    held = {""} | {f"{'!' if m.negated else ''}{m.option}" for m in rule.matches}
    return next(_fitting(key.chain, target, held), "")


def _fitting(chain: str, target: str, held: set[str]) -> Iterator[str]:
    for beginning, leads, needed, why in WHY:
        if chain.startswith(beginning) and target.startswith(leads) and needed in held:
            yield why
