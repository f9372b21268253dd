"""One policy's chains and sets: KUBE-NWPLCY- (of a ClusterNetworkPolicy KUBE-CNPLCY-), KUBE-SRC- and KUBE-DST-."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import msgspec

from k8snetlab.api.words import Path
from k8snetlab.dataplane.families import family_of
from k8snetlab.dataplane.names import ALLOWED_MARK, KUBE_CNPLCY_DENY, NEXT_TIER_MARK
from k8snetlab.dataplane.rules import ChainKey, Family, Rules
from k8snetlab.dataplane.sets import NOMATCH, IPSet, halves
from k8snetlab.policies.shapes import (
    FIRST,
    LAST,
    Action,
    Block,
    Direction,
    End,
    Ends,
    NamedPort,
    Policy,
    PortRange,
    Rule,
)
from k8snetlab.render.netpol import names

MARKS: Mapping[Action, str] = {"Accept": names.mark(ALLOWED_MARK), "Pass": names.mark(NEXT_TIER_MARK)}
DIRECTIONS: tuple[Direction, Direction] = ("ingress", "egress")
Numbered = tuple[str, int]
"""Protocol and number of a port."""


class PolicyRules(msgspec.Struct, frozen=True):
    """Of one policy and family. `paths` are the rules of the policy that its chains' rules are made of, by those."""

    chains: dict[ChainKey, Rules]
    sets: tuple[IPSet, ...]
    paths: Mapping[str, Path] = {}


def render(policy: Policy, family: Family, pods: Ends) -> PolicyRules:
    """The same value for the same policy. `pods` are all that there are: an egress rule without peers names ports of
    any."""
    return _rendered(_Asked(policy, family, pods))


def directions_of(policy: Policy) -> tuple[Direction, ...]:
    return tuple(one for one in DIRECTIONS if policy.rules(one) is not None)


class _Asked:
    """A policy by its identity: what is the same value need not be rendered for each node."""

    __slots__ = ("family", "pods", "policy")

    def __init__(self, policy: Policy, family: Family, pods: Ends) -> None:
        self.policy, self.family, self.pods = policy, family, pods

    def __hash__(self) -> int:
        return hash((id(self.policy), self.family))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and other.policy is self.policy and other.family == self.family


@lru_cache(maxsize=8192)
def _rendered(asked: _Asked) -> PolicyRules:
    chains: dict[ChainKey, Rules] = {}
    sets: dict[str, IPSet] = {}
    paths: dict[str, Path] = {}
    for direction in directions_of(asked.policy):
        writer = _Writer(asked, direction)
        writer.write()
        chain = names.policy_chain(*asked.policy.key, direction, asked.family)
        chains[ChainKey("filter", chain)] = tuple(writer.rules)
        sets |= writer.sets
        paths |= writer.paths
    return PolicyRules(chains, tuple(sets.values()), paths)


class _Writer:
    """One direction of one policy in one family."""

    def __init__(self, asked: _Asked, direction: Direction) -> None:
        self.policy, self.family, self.pods = asked.policy, asked.family, asked.pods
        self.direction: Direction = direction
        self.inward = direction == "ingress"
        self.rules: list[str] = []
        self.sets: dict[str, IPSet] = {}
        self.paths: dict[str, Path] = {}
        self.target = self._hash(names.target_set(*self.policy.key, direction, self.family), self.policy.selected)

    def write(self) -> None:
        for rule in self.policy.rules(self.direction) or ():
            number = rule.path[2]
            assert isinstance(number, int)
            for kind, found in self._peers(rule, number):
                self._numbers(kind, found, rule)
                if kind != "cidr" or self.inward:
                    self._names(kind, found, rule, number)

    def _peers(self, rule: Rule, number: int) -> Iterator[tuple[str, str]]:
        """What the comment calls them, and their set; "" for everybody."""
        who = (*self.policy.key, self.direction, number)
        if rule.peers is None:
            yield "any", ""
            return
        if any(peer.block is None for peer in rule.peers):
            yield "pods", self._hash(names.peer_set(*who, "pod", self.family), rule.pods)
        blocks = [block for block in rule.blocks if family_of(str(block.network)) == self.family]
        for place, some in enumerate(_apart(blocks)):
            name = names.peer_set(*who, f"ipblock{place or ''}", self.family)
            entries = frozenset(entry for block in some for entry in _entries(block))
            self.sets[name] = IPSet(name, "hash:net", self.family, entries)
            yield "cidr", name

    def _numbers(self, kind: str, peers: str, rule: Rule) -> None:
        comment = self._comment(kind)
        sets = self._both(peers, self.target)
        if rule.ports is None:
            self._say(rule, f"{comment}{sets}")
        for port in rule.ports or ():
            if isinstance(port, PortRange):
                self._say(rule, f"-p {port.protocol.lower()} {comment}{sets}{_range(port)}")

    def _names(self, kind: str, peers: str, rule: Rule, number: int) -> None:
        """Ports by name: the pods that have one number for it are a set."""
        found: dict[Numbered, dict[tuple[str, str], End]] = {}
        for port in rule.ports or ():
            if isinstance(port, NamedPort):
                for key, numbers in port.numbers.items():
                    for one in numbers:
                        found.setdefault((port.protocol.lower(), one), {})[key] = self.pods[key]
        for place, ((protocol, port_number), pods) in enumerate(sorted(found.items())):
            name = names.port_set(*self.policy.key, self.direction, number, place, self.family)
            self._hash(name, pods)
            # An egress rule's peers are pods here, and those that have the port are some of them.
            sets = self._both(peers, name) if self.inward else f"{_match(self.target, 'src')}{_match(name, 'dst')}"
            dport = f" -m {protocol} --dport {port_number}"
            self._say(rule, f"-p {protocol} {self._comment(f'{kind} np')}{sets}{dport}")

    def _both(self, peers: str, own: str) -> str:
        """The matches of both ends, the source's first."""
        ends = [(peers, "src"), (own, "dst")] if self.inward else [(own, "src"), (peers, "dst")]
        return "".join(_match(name, end) for name, end in ends if name)

    def _comment(self, kind: str) -> str:
        return names.comment(*self.policy.key, f"{self.direction} {kind}")

    def _say(self, rule: Rule, match: str) -> None:
        said: Rules
        if rule.action == "Deny":
            said = (f"{match} -j {KUBE_CNPLCY_DENY}",)
        else:
            mark = MARKS[rule.action]
            said = (f"{match} -j MARK --set-xmark {mark}", f"{match} -m mark --mark {mark} -j RETURN")
        self.rules += said
        for one in said:
            self.paths.setdefault(one, rule.path)

    def _hash(self, name: str, pods: Ends) -> str:
        version = 4 if self.family == "ipv4" else 6
        addresses = frozenset(address for end in pods.values() if (address := end.address(version)))
        self.sets[name] = IPSet(name, "hash:ip", self.family, addresses)
        return name


def _match(name: str, end: str) -> str:
    return f" -m set --match-set {name} {end}"


def _range(port: PortRange) -> str:
    """As iptables-save prints it."""
    if (port.first, port.last) == (FIRST, LAST):
        return ""
    numbers = str(port.first) if port.first == port.last else f"{port.first}:{port.last}"
    protocol = port.protocol.lower()
    return f" -m {protocol} --dport {numbers}"


def _entries(block: Block) -> Iterator[str]:
    """A half of all addresses that is excepted is an entry once: a set has no network twice."""
    out = {half for one in block.excepts for half in halves(str(one))}
    yield from (half for half in halves(str(block.network)) if half not in out)
    yield from (half + NOMATCH for half in out)


def _apart(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Into sets: blocks without exceptions share one; each with some has its own, as another may allow what it
    excepts. kube-router puts all into one set."""
    blocks = list(blocks)
    if plain := [block for block in blocks if not block.excepts]:
        yield plain
    for block in blocks:
        if block.excepts:
            yield [block]
