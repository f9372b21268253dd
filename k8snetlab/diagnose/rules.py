"""iptables rules of kube-proxy and flannel that are not as desired, as findings: rule by rule, chain by chain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from k8snetlab.dataplane.names import (
    CALI_CHAIN,
    CNI_DN,
    CNI_HOSTPORT_DNAT,
    CNI_HOSTPORT_MASQ,
    CNI_HOSTPORT_SETMARK,
    FLANNEL_FWD,
    FLANNEL_POSTRTG,
    KUBE_CNPLCY,
    KUBE_CNPLCY_DENY,
    KUBE_EXT,
    KUBE_EXTERNAL_SERVICES,
    KUBE_FIREWALL,
    KUBE_FORWARD,
    KUBE_FW,
    KUBE_MARK_MASQ,
    KUBE_NODEPORTS,
    KUBE_NWPLCY,
    KUBE_NWPLCY_COMMON,
    KUBE_NWPLCY_DEFAULT,
    KUBE_POD_FW,
    KUBE_POSTROUTING,
    KUBE_PROXY_FIREWALL,
    KUBE_ROUTER,
    KUBE_ROUTER_CHAINS,
    KUBE_SEP,
    KUBE_SERVICES,
    KUBE_SVC,
    KUBE_SVL,
    KUBE_XLB,
    is_one_policys,
)
from k8snetlab.dataplane.rules import ChainKey, Hook, Rules, RuleSet
from k8snetlab.diagnose.finding import MOST_COMMANDS, Finding, Where
from k8snetlab.iptables.patch import CommandLine, commands, jump_numbers, same_rules, steps
from k8snetlab.iptables.syntax import RuleSyntaxError, canonical, parse
from k8snetlab.trace.owners import NOBODY, Owners

_DNAT = re.compile(r"--to-destination (\S+)")
_HASHED = (KUBE_SVC, KUBE_SVL, KUBE_SEP, KUBE_EXT, KUBE_XLB, KUBE_FW)
_MEANINGS = {
    KUBE_SERVICES: "connections to the addresses of Services are not translated: {what} cannot be reached",
    KUBE_NODEPORTS: "connections to NodePorts are not translated",
    KUBE_EXTERNAL_SERVICES: "connections to Services without endpoints are not refused, or others are",
    KUBE_POSTROUTING: "packets marked for masquerading keep their source: answers do not come back through the node, "
    "so NodePorts and pods that reach themselves through a Service hang",
    KUBE_MARK_MASQ: "packets that need masquerading are not marked: NodePorts and pods that reach themselves through "
    "a Service hang",
    FLANNEL_POSTRTG: "pods' packets leave the cluster with a pod's address, to which no answer finds back, or pods "
    "see a node where another pod is",
    FLANNEL_FWD: "pods' packets are forwarded only as long as the policy of FORWARD is ACCEPT",
    KUBE_FORWARD: "Services' packets are forwarded only as long as the policy of FORWARD is ACCEPT",
    KUBE_FIREWALL: "neighbours reach the node's own 127.0.0.1",
    KUBE_PROXY_FIREWALL: "load balancers' source ranges are not kept",
    KUBE_SEP: "connections that are given to this endpoint end at the Service's own address, where nobody is",
    KUBE_SVC: "{what} chooses other endpoints than it has, or none",
    KUBE_SVL: "{what} chooses other endpoints of this node than it has, or none",
    KUBE_EXT: "{what} is not reached from outside",
    KUBE_XLB: "{what} is not reached from outside",
    KUBE_FW: "the load balancer's source ranges of {what} are not kept",
    CNI_HOSTPORT_DNAT: "connections to hostPorts are not translated: no pod answers there",
    CNI_HOSTPORT_MASQ: "who calls a hostPort from the pods' network or from 127.0.0.1 gets no answer",
    CNI_HOSTPORT_SETMARK: "who calls a hostPort from the pods' network or from 127.0.0.1 gets no answer",
    CNI_DN: "connections to this pod's hostPorts do not reach it",
    "cali-wl-to-host": "what a pod sends to its own node is not judged by its egress policies",
    "cali-INPUT": "what pods send to their own node is not judged by their policies, and strangers' tunnels pass",
    "cali-FORWARD": "no policy is asked of what passes through the node, or of less than should be",
    "cali-OUTPUT": "what the node sends is not accepted by Felix: policies of OUTPUT decide",
    "cali-to-wl-dispatch": "what goes to pods of this node is dropped, or not judged by their policies",
    "cali-from-wl-dispatch": "what pods of this node send is dropped, or not judged by their policies",
    "cali-tw-": "what goes to {pod} is not judged as policies say",
    "cali-fw-": "what {pod} sends is not judged as policies say",
    "cali-pi-": "{policy} is not kept: what only it allows is refused, or more than it allows passes",
    "cali-po-": "{policy} is not kept: what only it allows is refused, or more than it allows passes",
    "cali-gi-": "policies are not asked, or not in their order",
    "cali-go-": "policies are not asked, or not in their order",
    "cali-pri-": "what no policy is about is dropped, where it should pass",
    "cali-pro-": "what no policy is about is dropped, where it should pass",
    "cali-POSTROUTING": "pods' packets leave the pools with a pod's address, to which no answer finds back",
    "cali-nat-outgoing": "pods' packets leave the pools with a pod's address, to which no answer finds back",
    KUBE_NWPLCY_COMMON: "answers to what policies allow are judged as if they began a connection, and refused",
    KUBE_NWPLCY_DEFAULT: "what no policy judges is refused to pods that a policy selects for the other direction",
    KUBE_NWPLCY: "{policy} is not kept: what only it allows is refused, or more than it allows passes",
    KUBE_CNPLCY_DENY: "what ClusterNetworkPolicies deny is not refused",
    KUBE_CNPLCY: "{policy} is not kept: what it accepts, denies or passes on is left to others",
    KUBE_POD_FW: "NetworkPolicies are not kept for {pod}",
    KUBE_ROUTER: "NetworkPolicies are not kept for {pod}",
}
_MISSING = {
    KUBE_NWPLCY: "{policy} is not kept: what only it allows is refused",
    KUBE_CNPLCY: "{policy} is not asked: what it accepts, denies or passes on is left to others",
    KUBE_POD_FW: "no NetworkPolicy is asked for {pod}: what they deny passes",
    KUBE_ROUTER: "no NetworkPolicy is asked for {pod}: what they deny passes",
}
"""Where a chain, or what leads to it, is not there."""
_LAST = {
    "ACCEPT": "what policies accept is forwarded only as long as the policy of FORWARD is ACCEPT",
    "MARK": "nothing here looks for this mark: HostEndpoints would know by it what is forwarded",
}
"""Felix' rules at the end of FORWARD, by their targets."""
_POD = re.compile(r"^(\S+/\S+) (?:in|out|reject|log-drop)$")
_POLICY = re.compile(r"^(\S+/\S+|ClusterNetworkPolicy \S+) (?:policy|(?:in|e)gress .*)$")
"""kube-router's comments."""


def rules(
    where: Where,
    wanted: Sequence[RuleSet],
    held: Mapping[ChainKey, Rules],
    variant: str,
    owners: Owners,
    *,
    alike: Callable[[Rules, Rules | None], bool] = same_rules,
) -> Iterator[Finding]:
    """A finding for each jump, table, Service or chain that differs, for the rule sets of one family. `alike` compares
    two chains: who looks at many nodes gives one that remembers, as most chains are the same on all."""
    if wanted:
        command = CommandLine(where.netns, wanted[0].family, variant)
        yield from _Compared(where, wanted, held, command, owners).findings(alike)


class _Compared:
    def __init__(
        self,
        where: Where,
        wanted: Sequence[RuleSet],
        held: Mapping[ChainKey, Rules],
        command: CommandLine,
        owners: Owners,
    ) -> None:
        self.where, self.command, self.owners = where, command, owners
        self.held = {key: r for key, r in held.items() if " (" not in key.table}  # the other variant's are not compared
        self.wanted: dict[ChainKey, Rules] = {key: r for ruleset in wanted for key, r in ruleset.chains.items()}
        self.hooks = [hook for ruleset in wanted for hook in ruleset.hooks]
        self.prefixes = tuple(prefix for ruleset in wanted for prefix in ruleset.prefixes)
        self.family = wanted[0].family

    def findings(self, alike: Callable[[Rules, Rules | None], bool]) -> Iterator[Finding]:
        flushed = self._flushed()
        yield from (self._table(table) for table in flushed)
        for hook in self.hooks:
            if hook.table not in flushed and not jump_numbers(hook, self.held):
                yield self._hook(hook)
        differing = [key for key, r in self.wanted.items() if not alike(r, self.held.get(key))]
        stale = [key for key in self.held if key.chain.startswith(self.prefixes) and key not in self.wanted]
        groups: dict[str, list[ChainKey]] = {}
        for key in (*differing, *stale):
            if key.table not in flushed:
                groups.setdefault(self._group(key), []).append(key)
        for keys in groups.values():
            yield from self._together(keys)

    def _flushed(self) -> list[str]:
        """The tables that should have many chains and have none left."""
        tables = {key.table for key, r in self.wanted.items() if r}
        found = []
        for table in sorted(tables):
            full = [key for key, r in self.wanted.items() if key.table == table and r]
            if len(full) > 2 and not any(self.held.get(key) for key in full):
                found.append(table)
        return found

    def _table(self, table: str) -> Finding:
        title = f"table {table}" if self.family == "ipv4" else f"IPv6 table {table}"
        policed = any(key.chain.startswith(KUBE_ROUTER) for key in self.wanted if key.table == table)
        refusing = "what must be refused or dropped is not" + ", no NetworkPolicy is asked" * policed
        consequences = {
            "nat": "no Service is translated, and nothing is masqueraded",
            "filter": f"{refusing}, and forwarding depends on the policy of FORWARD",
        }
        return Finding(
            kind="table",
            fault="flushed",
            node=self.where.node,
            object=table,
            message=(
                f"{self.where.place}: {title} has been flushed: nothing of kube-proxy's and flannel's is left in it"
            ),
            consequence=consequences.get(table, "what its rules did is not done"),
            show=self.command(table, "-S"),
            mend=f"k8snetlab resume {self.where.node}",
            netns=self.where.netns,
        )

    def _hook(self, hook: Hook) -> Finding:
        chain = parse(hook.rule).target
        target = chain.name if chain else ""
        if target in _LAST:
            object_, lacks, consequence = target, f"{hook.chain} lacks the rule {hook.rule}", _LAST[target]
        else:
            object_, lacks = f"-> {target}", f"the jump from {hook.chain} to {target} is missing"
            meaning = self._meaning(target, "every Service", "missing")
            consequence = f"packets of {hook.chain} never meet {target}: {meaning}"
        verb = f"-I {hook.chain} 1" if hook.prepend else f"-A {hook.chain}"
        return Finding(
            kind="hook",
            fault="missing",
            node=self.where.node,
            object=f"{hook.table} {hook.chain} {object_}",
            message=f"{self.where.place}: {lacks} in table {hook.table}",
            consequence=consequence,
            show=self.command(hook.table, f"-S {hook.chain}"),
            mend=self.command(hook.table, f"{verb} {hook.rule}"),
            owner="Felix" if target in _LAST else self.owners.of_rule([target], []),
            netns=self.where.netns,
        )

    # --- chains -----------------------------------------------------------------------------------------------------

    def _group(self, key: ChainKey) -> str:
        """Chains of one Service belong together; others stand for themselves."""
        owner = self._owner(key)
        return owner.partition(", port")[0] if key.chain.startswith(_HASHED) and owner else f"{key.table} {key.chain}"

    def _owner(self, key: ChainKey) -> str:
        comments = [_comment(rule) for rule in (*self.wanted.get(key, ()), *self.held.get(key, ()))]
        found = self.owners.of_rule([key.chain], comments)
        return found if found != NOBODY else ""

    def _together(self, keys: list[ChainKey]) -> Iterator[Finding]:
        """The chains of a group as one finding, the gravest first."""
        gone = {e for key in keys if key not in self.wanted for e in _endpoints(self.held[key])}
        new = {e for key in keys if key not in self.held for e in _endpoints(self.wanted[key])}
        whole = any(key.chain.startswith(KUBE_SVC) and (key not in self.held or key not in self.wanted) for key in keys)
        if (gone or new) and not whole:
            yield self._endpoints(keys, gone, new)
            return
        found = sorted((self._chain(key) for key in keys), key=lambda f: (_GRAVITY.index(f.fault), f.object))
        first, *others = found
        for other in others:
            first = first.explaining(other)
        yield first

    def _endpoints(self, keys: list[ChainKey], gone: set[str], new: set[str]) -> Finding:
        service = next((o for key in keys if (o := self._owner(key))), "a Service")
        title, said = service.partition(",")[0], []
        if gone:
            said.append(f"still lead to {', '.join(sorted(gone))}, no endpoint of {title} (any more)")
        if new:
            said.append(f"do not know {', '.join(sorted(new))}, an endpoint of {title}")
        chain = next((key for key in keys if key.chain.startswith((KUBE_SVC, KUBE_SVL))), keys[0])
        lost = "connections that chance gives to it are lost" if gone else "the other endpoints bear all the load"
        return Finding(
            kind="endpoint",
            fault="stale" if gone else "missing",
            node=self.where.node,
            object=sorted(gone or new)[0],
            message=f"{self.where.place}: the rules {' and '.join(said)}",
            consequence=lost,
            show=self.command(chain.table, f"-S {chain.chain}"),
            mend=self._written(keys),
            owner=service,
            netns=self.where.netns,
        )

    def _chain(self, key: ChainKey) -> Finding:
        wanted, held = self.wanted.get(key), self.held.get(key)
        name, owner = f"{key.table} {key.chain}", self._owner(key)
        what = owner.partition(",")[0] if owner.startswith("Service") else "every Service"
        both = (*(wanted or ()), *(held or ()))
        meaning = self._meaning(key.chain, what, "" if held else "missing", both)
        if wanted is None:
            fault, message, meaning = "stale", f"chain {key.chain} should not be in table {key.table}", "nobody uses it"
        elif held is None:
            fault, message = "missing", f"chain {key.chain} is missing in table {key.table}"
        elif not held:
            fault, message = (
                "empty",
                f"chain {key.chain} of table {key.table} is empty, {len(wanted)} rules are missing",
            )
        else:
            return self._edited(key, wanted, held, owner, meaning)
        show, mend = self.command(key.table, f"-S {key.chain}"), self._written([key])
        return Finding(
            kind="chain",
            fault=fault,
            node=self.where.node,
            object=name,
            message=f"{self.where.place}: {message}",
            consequence=meaning,
            show=show,
            mend=mend,
            owner=owner,
            netns=self.where.netns,
        )

    def _edited(self, key: ChainKey, wanted: Rules, held: Rules, owner: str, meaning: str) -> Finding:
        """The first rule in which a chain differs, and how to put all of them right."""
        if sorted(map(canonical, wanted)) == sorted(map(canonical, held)):
            return self._disordered(key, wanted, held, owner, meaning)
        differing = [*steps(wanted, held)]
        first, *others = differing
        fault, number, rule, instead = first
        faults = {"missing": f"missing: {rule}", "foreign": f"nobody's: {rule}", "wrong": f"`{instead}`, not `{rule}`"}
        message = f"rule {number} of {key.chain} is {faults[fault]}"
        if others:
            message += f" (and {len(others)} more)"
        if comment := next((c for c in (_comment(rule), _comment(instead)) if c), ""):
            owner = self.owners.of_rule([key.chain], [comment])
        if key.chain.startswith(KUBE_ROUTER_CHAINS):
            own = (rule, instead) if _POD.match(_comment(rule)) else wanted
            passed_by = fault == "missing" and not others and key.chain.startswith(KUBE_ROUTER)
            meaning = self._meaning(key.chain, "", fault if passed_by else "", own)
        return Finding(
            kind="rule",
            fault=fault,
            node=self.where.node,
            object=f"{key.table} {key.chain} {number}",
            message=f"{self.where.place}: {message} (table {key.table})",
            consequence=meaning,
            show=self.command(key.table, f"-S {key.chain}"),
            mend=self._written([key]),
            owner=owner,
            netns=self.where.netns,
        )

    def _meaning(self, chain: str, what: str, fault: str = "", held: Iterable[str] = ()) -> str:
        """`held` are rules whose comments name a pod or a policy."""
        comments = [*map(_comment, held)]
        pods = dict.fromkeys(found[1] for one in comments if (found := _POD.match(one)))
        policy = next((found[1] for one in comments if (found := _POLICY.match(one))), "")
        pod = f"pod {next(iter(pods))}" if len(pods) == 1 else "pods of this node"
        if chain.startswith(CALI_CHAIN):
            policy = self.owners.of_rule([chain], []).partition(",")[0] if is_one_policys(chain) else ""
            pod = self.owners.of_felix_pod(chain) or pod
            return _said(chain, fault).format(what=what, pod=pod, policy=policy)
        policy = policy if policy.startswith("Cluster") else f"NetworkPolicy {policy}".rstrip()
        return _said(chain, fault).format(what=what, pod=pod, policy=policy)

    def _disordered(self, key: ChainKey, wanted: Rules, held: Rules, owner: str, meaning: str) -> Finding:
        """All its rules are there, and another one is asked first."""
        pairs = enumerate(zip(map(canonical, wanted), map(canonical, held), strict=True))
        place = next(number for number, (one, other) in pairs if one != other)
        message = f"the rules of {key.chain} stand in another order: rule {place + 1} is `{held[place]}`"
        return Finding(
            kind="rule",
            fault="order",
            node=self.where.node,
            object=f"{key.table} {key.chain} {place + 1}",
            message=f"{self.where.place}: {message}, not `{wanted[place]}` (table {key.table})",
            consequence=f"the first rule that matches decides: {meaning}",
            show=self.command(key.table, f"-S {key.chain}"),
            mend=self._written([key]),
            owner=owner,
            netns=self.where.netns,
        )

    def _written(self, keys: Iterable[ChainKey]) -> str:
        """The commands; where they are too many, the one that has the agent do it."""
        found = commands(keys, self.wanted, self.held, self.command)
        return "\n".join(found) if len(found) <= MOST_COMMANDS else f"k8snetlab resume {self.where.node}"


def _said(chain: str, fault: str) -> str:
    if chain in _MEANINGS:
        return _MEANINGS[chain]
    texts = {**_MEANINGS, **(_MISSING if fault == "missing" else {})}
    known = next((text for name, text in texts.items() if name.endswith("-") and chain.startswith(name)), "")
    return known or "what the chain did is not done"


_GRAVITY = ("missing", "empty", "wrong", "order", "foreign", "stale")


def _comment(rule: str) -> str:
    try:
        return parse(rule).comment if rule else ""
    except RuleSyntaxError:
        return ""


def _endpoints(rules: Rules) -> list[str]:
    return [found[1] for rule in rules if (found := _DNAT.search(rule))]
