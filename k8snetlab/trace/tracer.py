"""What becomes of a packet among the rules of one node: every way it can go, with its probability.

Pure: rules, packet and node are values. Source: the order of hooks and tables in Linux (netfilter's packet flow).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

import msgspec

from k8snetlab.dataplane.rules import ChainKey, Rules, RuleSet, beside
from k8snetlab.errors import UnsupportedError
from k8snetlab.trace.syntax import RANDOM_UNIT, Match, Target, parse

Verdict = Literal["delivered", "sent", "dropped", "rejected"]
"""Delivered to a process of the node, sent on by one of its interfaces, or neither."""
MAX_DEPTH = 32


class TraceError(UnsupportedError):
    """The rules cannot be followed: they jump in a circle or to a chain that does not exist, or ask the unknown."""


class Packet(msgspec.Struct, frozen=True):
    """The first packet of a connection, unless `state` says ESTABLISHED, RELATED or INVALID.

    `in_interface` "" means that a process of the node sends it. `bridged`: it came in by a bridge port, and bridged
    frames are shown to iptables.
    """

    src: str
    dst: str
    protocol: str = "tcp"
    dport: int = 0
    sport: int = 40000
    in_interface: str = ""
    out_interface: str = ""
    state: str = "NEW"
    mark: int = 0
    bridged: bool = False


class Host(msgspec.Struct, frozen=True):
    """What the rules ask about the node: its own addresses (loopback is always one), and where a destination leaves.

    `interfaces` are the addresses by interface: a masqueraded packet gets one of the interface it leaves by. `recent`
    names the `recent` lists that hold the packet's source: it was sent to these endpoints before.
    """

    addresses: tuple[str, ...]
    route: Callable[[str], str] | None = None
    recent: frozenset[str] = frozenset()
    interfaces: Mapping[str, tuple[str, ...]] = {}

    def owns(self, address: str) -> bool:
        return address in self.addresses or _address(address).is_loopback


class Step(msgspec.Struct, frozen=True):
    """A rule that matched: the `number`-th of its chain, counted from 1 as iptables does."""

    table: str
    chain: str
    number: int
    rule: str


class Outcome(msgspec.Struct, frozen=True):
    """One way: `packet` as it left, `endpoint` "ip:port" it was translated to, or "", and the rules that matched."""

    probability: float
    verdict: Verdict
    packet: Packet
    endpoint: str
    masqueraded: bool
    steps: tuple[Step, ...]


class _Way(msgspec.Struct, frozen=True):
    """A branch under way."""

    packet: Packet
    probability: float = 1.0
    endpoint: str = ""
    masqueraded: bool = False
    steps: tuple[Step, ...] = ()
    verdict: str = ""
    """Of the chain just walked: "" fell through, ACCEPT, DROP, REJECT."""


def assemble(*rulesets: RuleSet) -> dict[ChainKey, Rules]:
    """The chains of rule sets with the built-in chains that their hooks make, put in one after the other."""
    chains: dict[ChainKey, Rules] = {}
    for ruleset in rulesets:
        chains.update(ruleset.chains)
        for hook in ruleset.hooks:
            key = ChainKey(hook.table, hook.chain)
            held = chains.get(key, ())
            chains[key] = (hook.rule, *held) if hook.prepend else (*held, hook.rule)
    return chains


def trace(
    chains: Mapping[ChainKey, Rules],
    packet: Packet,
    host: Host,
    policies: Mapping[ChainKey, str] | None = None,
    variant: str = "",
) -> tuple[Outcome, ...]:
    """Every way `packet` can go through `chains`, the likeliest first; their probabilities add up to 1.

    Built-in chains that are missing are empty; a policy is ACCEPT unless `policies` says DROP. `variant` is the other
    variant of iptables whose tables are among the chains too (`rules.beside`), "" for none. Raises RuleSyntaxError or
    TraceError.
    """
    walker = _Walker(chains, host, policies or {}, variant)
    outcomes = walker.local(_Way(packet)) if not packet.in_interface else walker.arriving(_Way(packet))
    return tuple(sorted(outcomes, key=lambda outcome: -outcome.probability))


class _Walker:
    def __init__(
        self, chains: Mapping[ChainKey, Rules], host: Host, policies: Mapping[ChainKey, str], variant: str
    ) -> None:
        self.chains, self.host, self.policies, self.variant = chains, host, policies, variant

    # --- the way through the hooks ----------------------------------------------------------------------------------

    def arriving(self, way: _Way) -> Iterator[Outcome]:
        for routed in self._hook("PREROUTING", ("raw", "mangle", "nat"), way):
            if routed.verdict:
                yield self._end(routed)
            elif self.host.owns(routed.packet.dst):
                yield from self._deliver(routed)
            else:
                for sent in self._hook("FORWARD", ("mangle", "filter"), self._route(routed)):
                    yield from self._leave(sent)

    def local(self, way: _Way) -> Iterator[Outcome]:
        for sent in self._hook("OUTPUT", ("raw", "mangle", "nat", "filter"), self._route(way)):
            yield from self._leave(sent)

    def _deliver(self, way: _Way) -> Iterator[Outcome]:
        for arrived in self._hook("INPUT", ("mangle", "filter", "nat"), way):
            yield self._end(arrived, "delivered")

    def _leave(self, way: _Way) -> Iterator[Outcome]:
        if way.verdict:
            yield self._end(way)
            return
        for sent in self._hook("POSTROUTING", ("mangle", "nat"), self._route(way)):
            if not sent.verdict and self.host.owns(sent.packet.dst):
                # Over loopback the packet comes in again; its translation is done, so nat is not asked twice.
                packet = msgspec.structs.replace(sent.packet, in_interface="lo", out_interface="")
                again = msgspec.structs.replace(sent, packet=packet)
                for back in self._hook("PREROUTING", ("raw", "mangle"), again):
                    if back.verdict:
                        yield self._end(back)
                    else:
                        for arrived in self._hook("INPUT", ("mangle", "filter"), back):
                            yield self._end(arrived, "delivered")
            else:
                yield self._end(sent)

    def _route(self, way: _Way) -> _Way:
        if self.host.route is None:
            return way
        packet = msgspec.structs.replace(way.packet, out_interface=self.host.route(way.packet.dst))
        return msgspec.structs.replace(way, packet=packet)

    def _end(self, way: _Way, passed: Verdict = "sent") -> Outcome:
        verdict: Verdict = {"DROP": "dropped", "REJECT": "rejected"}.get(way.verdict, passed)  # type: ignore[assignment]
        return Outcome(way.probability, verdict, way.packet, way.endpoint, way.masqueraded, way.steps)

    def _hook(self, chain: str, tables: Iterable[str], way: _Way) -> list[_Way]:
        """The ways after the built-in `chain` of each table; nat is asked for new connections only.

        At one hook the kernel asks of two variants first the one that was put in later, which is the other one here;
        and of nat no more once an address has changed.
        """
        ways = [way]
        for table in tables:
            if table == "nat" and way.packet.state != "NEW":
                continue
            if self.variant:
                key = ChainKey(beside(table, self.variant), chain)
                ways = [after for before in ways for after in self._built_in(key, before)]
            key = ChainKey(table, chain)
            ways = [
                after
                for before in ways
                for after in ([before] if table == "nat" and _changed(way, before) else self._built_in(key, before))
            ]
        return ways

    def _built_in(self, key: ChainKey, way: _Way) -> Iterator[_Way]:
        if way.verdict:
            yield way
            return
        for after in self._chain(key, way, 0):
            verdict = after.verdict or self.policies.get(key, "ACCEPT")
            yield msgspec.structs.replace(after, verdict="" if verdict == "ACCEPT" else verdict)

    # --- chains and rules -------------------------------------------------------------------------------------------

    def _chain(self, key: ChainKey, way: _Way, depth: int) -> list[_Way]:
        """The ways out of a chain: those with a verdict, and those that came to its end or returned."""
        if depth > MAX_DEPTH:
            raise TraceError(f"the chains of table {key.table} jump in a circle through {key.chain}")
        done: list[_Way] = []
        inside = [way]
        for number, rule in enumerate(self.chains.get(key, ()), 1):
            parsed = parse(rule)
            following: list[_Way] = []
            for here in inside:
                chance = self._chance(parsed.matches, here)
                if chance < 1:
                    following.append(msgspec.structs.replace(here, probability=here.probability * (1 - chance)))
                if chance > 0:
                    hit = msgspec.structs.replace(
                        here,
                        probability=here.probability * chance,
                        steps=(*here.steps, Step(key.table, key.chain, number, rule)),
                    )
                    stay, leave = self._apply(key, parsed.target, hit, depth)
                    following += stay
                    done += leave
            inside = following
            if not inside:
                break
        return done + inside

    def _apply(self, key: ChainKey, target: Target | None, way: _Way, depth: int) -> tuple[list[_Way], list[_Way]]:
        """The ways that go on with the next rule of this chain, and those that leave it."""
        packet = way.packet
        match target.name if target else "":
            case "" | "TRACE":
                return [way], []
            case "RETURN":
                return [], [way]
            case "ACCEPT" | "DROP" | "REJECT" as verdict:
                return [], [msgspec.structs.replace(way, verdict=verdict)]
            case "MARK":
                value, mask = (int(part, 16) for part in (_need(target, "set-xmark")).split("/"))
                marked = msgspec.structs.replace(packet, mark=packet.mark & ~mask ^ value)
                return [msgspec.structs.replace(way, packet=marked)], []
            case "DNAT":
                return [], [_translated(way, _need(target, "to-destination"))]
            case "REDIRECT":
                here = packet.dst if not packet.in_interface else _first(self.host.addresses, packet.dst)
                return [], [_translated(way, _join(here, _need(target, "to-ports")))]
            case "MASQUERADE" | "SNAT":
                source = target.option("to-source") if target else None
                own = (*self.host.interfaces.get(packet.out_interface, ()), *self.host.addresses)
                changed = msgspec.structs.replace(packet, src=source or _first(own, packet.src))
                return [], [msgspec.structs.replace(way, packet=changed, masqueraded=True, verdict="ACCEPT")]
            case name:
                into = ChainKey(key.table, name)
                if into not in self.chains:
                    raise TraceError(f"chain {key.chain} of table {key.table} jumps to {name}, which does not exist")
                out = self._chain(into, way, depth + 1)
                ended, fell = [w for w in out if w.verdict], [w for w in out if not w.verdict]
                return ([], out) if target and target.goto else (fell, ended)

    def _chance(self, matches: Iterable[Match], way: _Way) -> float:
        chance = 1.0
        for match in matches:
            holds = self._holds(match, way)
            chance *= 1 - holds if match.negated else holds
            if not chance:
                break
        return chance

    def _holds(self, match: Match, way: _Way) -> float:
        packet, value = way.packet, match.value
        match match.option:
            case "source":
                return _address(packet.src) in _network(value)
            case "destination":
                return _address(packet.dst) in _network(value)
            case "protocol":
                return packet.protocol == value
            case "sport":
                return _in_range(packet.sport, value)
            case "dport":
                return _in_range(packet.dport, value)
            case "in-interface":
                return _is_interface(packet.in_interface, value)
            case "out-interface":
                if self.host.route is None:
                    raise TraceError(f"a rule asks for the interface {value} and no routes are given")
                return _is_interface(packet.out_interface, value)
            case "ctstate":
                states = {packet.state} | ({"DNAT"} if way.endpoint else set())
                return bool(states & set(value.split(",")))
            case "mark":
                wanted, mask = (int(part, 16) for part in value.split("/"))
                return packet.mark & mask == wanted
            case "src-type":
                return self.host.owns(packet.src)
            case "dst-type":
                return self.host.owns(packet.dst)
            case "probability":
                return int(value) / RANDOM_UNIT
            case "rcheck":
                return value.split()[0] in self.host.recent
            case "set" | "nfacct":
                return True
            case "physdev-is-in":
                return packet.bridged
            case option:
                raise TraceError(f"the match {option} cannot be decided")


def _translated(way: _Way, endpoint: str) -> _Way:
    address, _, port = endpoint.rpartition(":")
    packet = msgspec.structs.replace(way.packet, dst=address.strip("[]"), dport=int(port))
    return msgspec.structs.replace(way, packet=packet, endpoint=endpoint, verdict="ACCEPT")


def _changed(before: _Way, after: _Way) -> bool:
    one, other = before.packet, after.packet
    return (one.src, one.dst, one.sport, one.dport) != (other.src, other.dst, other.sport, other.dport)


def _need(target: Target | None, option: str) -> str:
    value = target.option(option) if target else None
    if value is None:
        raise TraceError(f"{target.name if target else 'the rule'} lacks --{option}")
    return value


def _join(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _first(addresses: Iterable[str], like: str) -> str:
    """The node's first address of the family of `like`; `like` itself where there is none."""
    return next((a for a in addresses if (":" in a) == (":" in like)), like)


def _in_range(port: int, ports: str) -> bool:
    first, _, last = ports.partition(":")
    return int(first) <= port <= int(last or first)


def _is_interface(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address:
    return ip_address(text)


@lru_cache(maxsize=4096)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)
