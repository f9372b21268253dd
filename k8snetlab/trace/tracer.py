"""What becomes of a packet among the rules of one node: every way it can go, with its probability.

Pure: rules, packet and node are values. Source: the order of hooks and tables in Linux (netfilter's packet flow).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

import msgspec

from k8snetlab.dataplane.families import end, parted
from k8snetlab.dataplane.rules import ChainKey, Rules, beside
from k8snetlab.iptables.matching import Host, Packet, TraceError, chance
from k8snetlab.iptables.syntax import Target, parse

Verdict = Literal["delivered", "sent", "dropped", "rejected"]
"""Delivered to a process of the node, sent on by one of its interfaces, or neither."""
MAX_DEPTH = 32


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


class Branch(Protocol):
    """One of the ways of a packet: the "ip:port" it was translated to, and what became of it ("" while under way)."""

    @property
    def endpoint(self) -> str: ...
    @property
    def verdict(self) -> str: ...


AnyBranch = TypeVar("AnyBranch", bound=Branch)


class Choose(Protocol):
    """Which ways are followed: there is one for each endpoint of a Service."""

    def __call__(self, ways: Sequence[AnyBranch], /) -> Sequence[AnyBranch]: ...


def all_of(ways: Sequence[AnyBranch], /) -> Sequence[AnyBranch]:
    return ways


class Followed(NamedTuple):
    """`first` chooses among the ways out of a namespace's first hook, and `last` among those that came to an end: what
    the first leaves out is not walked any further, what the last does is not told of."""

    first: Choose = all_of
    last: Choose = all_of


ALL = Followed()


def trace(
    chains: Mapping[ChainKey, Rules],
    packet: Packet,
    host: Host,
    policies: Mapping[ChainKey, str] | None = None,
    variant: str = "",
    *,
    choose: Choose = all_of,
) -> tuple[Outcome, ...]:
    """Every way `packet` can go through `chains`, the likeliest first; their probabilities add up to 1.

    Built-in chains that are missing are empty; a policy is ACCEPT unless `policies` says DROP. `variant` is the other
    variant of iptables whose tables are among the chains too (`rules.beside`), "" for none. `choose` chooses among the
    ways out of the first hook: only those are followed further. Raises RuleSyntaxError or TraceError.
    """
    walker = _Walker(chains, host, policies or {}, variant, choose)
    outcomes = walker.local(_Way(packet)) if not packet.in_interface else walker.arriving(_Way(packet))
    return tuple(sorted(outcomes, key=lambda outcome: -outcome.probability))


class _Walker:
    def __init__(
        self,
        chains: Mapping[ChainKey, Rules],
        host: Host,
        policies: Mapping[ChainKey, str],
        variant: str,
        choose: Choose,
    ) -> None:
        self.chains, self.host, self.policies, self.variant = chains, host, policies, variant
        self.choose = choose

    # --- the way through the hooks ----------------------------------------------------------------------------------

    def arriving(self, way: _Way) -> Iterator[Outcome]:
        for routed in self.choose(self._hook("PREROUTING", ("raw", "mangle", "nat"), way)):
            if routed.verdict:
                yield self._end(routed)
            elif self.host.owns(routed.packet.dst):
                yield from self._deliver(routed)
            else:
                for sent in self._hook("FORWARD", ("mangle", "filter"), self._route(routed)):
                    yield from self._leave(sent)

    def local(self, way: _Way) -> Iterator[Outcome]:
        for sent in self.choose(self._hook("OUTPUT", ("raw", "mangle", "nat", "filter"), self._route(way))):
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
            ways = [after for before in ways for after in self._table(ChainKey(table, chain), way, before)]
        return ways

    def _table(self, key: ChainKey, entering: _Way, way: _Way) -> list[_Way]:
        """The ways after one table, of one that has come to it; `entering` is how it came to the hook."""
        if key.table == "nat" and way.packet.state != "NEW":
            return [way]
        other = ChainKey(beside(key.table, self.variant), key.chain)
        ways = [*self._built_in(other, way)] if self.variant else [way]
        done = [before for before in ways if key.table == "nat" and _changed(entering, before)]
        return [*done, *(after for before in ways if before not in done for after in self._built_in(key, before))]

    def _built_in(self, key: ChainKey, way: _Way) -> Iterator[_Way]:
        if way.verdict or not (self.chains.get(key) or key in self.policies):
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
                likely = chance(parsed.matches, here.packet, self.host, bool(here.endpoint))
                if likely < 1:
                    following.append(msgspec.structs.replace(here, probability=here.probability * (1 - likely)))
                if likely > 0:
                    hit = msgspec.structs.replace(
                        here,
                        probability=here.probability * likely,
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
        if target is None:
            return [way], []
        match target.name:
            case "TRACE" | "NFLOG" | "LOG":
                return [way], []
            case "RETURN":
                return [], [way]
            case "ACCEPT" | "DROP" | "REJECT" as verdict:
                return [], [msgspec.structs.replace(way, verdict=verdict)]
            case "MARK" | "NOTRACK":
                return [msgspec.structs.replace(way, packet=_noted(packet, target))], []
            case "DNAT":
                address, port = parted(_only(target, "to-destination"))
                return [], [_translated(way, address or packet.dst, port or packet.dport)]
            case "REDIRECT":
                port = int(_only(target, "to-ports") or packet.dport)
                return [], [_translated(way, self._redirected(packet), port)]
            case "SNAT":
                address, _ = parted(_only(target, "to-source"))
                return [], [_masqueraded(way, address or packet.src)]
            case "MASQUERADE":
                own = (*self.host.interfaces.get(packet.out_interface, ()), *self.host.addresses)
                return [], [_masqueraded(way, _first(own, packet.src))]
            case _:
                return self._jump(key, target, way, depth)

    def _jump(self, key: ChainKey, target: Target, way: _Way, depth: int) -> tuple[list[_Way], list[_Way]]:
        into = ChainKey(key.table, target.name)
        if into not in self.chains:
            raise TraceError(f"chain {key.chain} of table {key.table} jumps to {target.name}, which does not exist")
        out = self._chain(into, way, depth + 1)
        ended, fell = [w for w in out if w.verdict], [w for w in out if not w.verdict]
        return ([], out) if target.goto else (fell, ended)

    def _redirected(self, packet: Packet) -> str:
        """The node's own address that REDIRECT gives: loopback's to its processes, else that of where it came in.

        Source: nf_nat_redirect.c.
        """
        if not packet.in_interface:
            return "::1" if ":" in packet.dst else "127.0.0.1"
        return _first((*self.host.interfaces.get(packet.in_interface, ()), *self.host.addresses), packet.dst)


def _noted(packet: Packet, target: Target) -> Packet:
    """With what a rule writes on a packet, which then goes on."""
    if target.name == "NOTRACK":
        return msgspec.structs.replace(packet, state="UNTRACKED")
    value, mask = (int(part, 16) for part in (target.option("set-xmark") or "").split("/"))
    return msgspec.structs.replace(packet, mark=packet.mark & ~mask ^ value)


def _translated(way: _Way, address: str, port: int) -> _Way:
    packet = msgspec.structs.replace(way.packet, dst=address, dport=port)
    return msgspec.structs.replace(way, packet=packet, endpoint=end(address, port), verdict="ACCEPT")


def _changed(before: _Way, after: _Way) -> bool:
    one, other = before.packet, after.packet
    return (one.src, one.dst, one.sport, one.dport) != (other.src, other.dst, other.sport, other.dport)


def _masqueraded(way: _Way, source: str) -> _Way:
    packet = msgspec.structs.replace(way.packet, src=source)
    return msgspec.structs.replace(way, packet=packet, masqueraded=True, verdict="ACCEPT")


def _only(target: Target, option: str) -> str:
    """What a packet gets, "" where it keeps its own."""
    value = target.option(option) or ""
    if "-" in value:
        raise TraceError(f"{target.name} to one of {value}: which one cannot be told")
    return value


def _first(addresses: Iterable[str], like: str) -> str:
    """The node's first address of the family of `like`; `like` itself where there is none."""
    return next((a for a in addresses if (":" in a) == (":" in like)), like)
