"""A scenario's expectations set against its running lab: real packets, and the rules and ways that they take."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from k8snetlab.client.client import Client
from k8snetlab.controllers.deployments import TEMPLATE_HASH
from k8snetlab.errors import InputError, NotFoundError, RequestError
from k8snetlab.messages.probe import PROBE, ProbeQuestion, ProbeResult
from k8snetlab.messages.trace import TRACE, Trace, TraceQuestion
from k8snetlab.trace.way import Hop
from k8snetlab.wording import counted
from k8snetlab.workshop.expectations import OWN, Expectation, Placed, listed

AT_A_TIME = 8
"""Checks under way: one that waits for silence takes two seconds."""
DOUBT = 1e-9
"""What happens by chance so rarely is not taken for chance."""
TOLERANCE = 0.01
"""By which a rule's share may differ from an even one."""


class Checked(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """One expectation for one pair."""

    source: str
    """Who asked."""
    target: str
    """What was asked, with its port where one is written."""
    protocol: str
    """TCP, UDP, SCTP or ICMP."""
    expected: str
    """What is to be so, in words."""
    found: str
    """What was seen."""
    ok: bool
    """Whether it is so."""
    why: str
    """What is not, in a sentence; ""."""
    where: str
    """The expectation's place: file:line."""
    name: str
    """What it is about, where the file says that."""
    seconds: float
    """How long it took."""


class CheckReport(msgspec.Struct, frozen=True):
    """All of a scenario's expectations."""

    scenario: str
    """Its name or directory."""
    lab: str
    """The lab that was asked."""
    ok: bool
    """Whether all is as it should be."""
    checks: tuple[Checked, ...]
    """In the order of the file; each expectation once for every pair."""


def check(client: Client, placed: Sequence[Placed], scenario: str) -> CheckReport:
    """Asks the lab for all of them, several at a time. Raises DaemonError where it does not answer."""
    checker = _Checker(client)
    pairs = [
        (one, source, target)
        for one in placed
        for source in one.expectation.sources
        for target in one.expectation.targets
    ]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        checks = tuple(pool.map(lambda pair: checker.checked(*pair), pairs))
    return CheckReport(scenario, client.lab, all(one.ok for one in checks), checks)


class _WrongError(Exception):
    """Something is not as expected: what was seen, and why that is wrong."""

    def __init__(self, found: str, why: str) -> None:
        super().__init__(why)
        self.found, self.why = found, why


class _Checker:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._owners: dict[str, set[str]] | None = None

    def checked(self, placed: Placed, source: str, target: tuple[str, int | None]) -> Checked:
        expectation, began = placed.expectation, time.monotonic()
        why = ""
        try:
            found = self._found(expectation, source, target)
        except _WrongError as wrong:
            found, why = wrong.found, wrong.why
        except (NotFoundError, InputError, RequestError) as error:
            found, why = "not asked", error.message
        name, port = target
        return Checked(
            source=source,
            target=name if port is None else f"[{name}]:{port}" if ":" in name else f"{name}:{port}",
            protocol=expectation.protocol,
            expected=expected(expectation),
            found=found,
            ok=not why,
            why=why,
            where=placed.where,
            name=expectation.name,
            seconds=round(time.monotonic() - began, 3),
        )

    def _found(self, expectation: Expectation, source: str, target: tuple[str, int | None]) -> str:
        """What was seen, where all of it is right. Raises _WrongError."""
        asked = ProbeQuestion(source, target[0], target[1], (expectation.protocol,))
        results = []
        for _ in range(expectation.evenly or 1):
            results.append(result := self._probed(asked))
            self._judge(expectation, source, result)  # what is wrong at once need not be asked a thousand times
        found = seen(results[0]) if len(results) == 1 else shares(Counter(map(answerer, results)))
        if expectation.evenly:
            self._judge_shares(expectation, source, target, results)
        if expectation.way:
            self._judge_way(expectation, source, target)
            found += ", that way"
        return found

    def _probed(self, asked: ProbeQuestion) -> ProbeResult:
        results = self._client.call(PROBE, asked).results
        if not results:
            raise _WrongError("not asked", "nothing was asked")
        return results[0]

    def _judge(self, expectation: Expectation, source: str, result: ProbeResult) -> None:
        wanted, was = expectation.result, result.seen
        right = was != "not tried" and (was == wanted or (wanted == "closed" and was != "answered"))
        if not right:
            raise _WrongError(seen(result), result.why or result.error or f"it was {was}, and should be {wanted}")
        if expectation.answeredBy and not self._may_answer(expectation, result):
            who = called(answerer(result)) or "something that does not say who it is"
            allowed = " or ".join(listed(expectation.answeredBy))
            raise _WrongError(seen(result), f"{who} answered, and only {allowed} may")
        if expectation.client:
            self._judge_client(expectation.client, source, result)

    def _judge_client(self, wanted: str, source: str, result: ProbeResult) -> None:
        networks = self._addresses(source) if wanted == OWN else [wanted]
        try:
            address = ipaddress.ip_address(result.client)
        except ValueError:
            raise _WrongError(seen(result), "what answered does not say which client it saw") from None
        if not any(address in ipaddress.ip_network(network) for network in networks):
            raise _WrongError(seen(result), f"it saw client {result.client}, and should see {' or '.join(networks)}")

    def _addresses(self, source: str) -> list[str]:
        """A pod's, or a node's."""
        for pod in self._client.list("pods"):
            if source in _names(pod["metadata"]):
                return [one["ip"] for one in pod["status"].get("podIPs", ())]
        for node in self._client.list("nodes"):
            if source == node["metadata"]["name"]:
                return [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        raise _WrongError("not asked", f"client: own: {source} is no pod or node whose addresses are known; write one")

    def _may_answer(self, expectation: Expectation, result: ProbeResult) -> bool:
        who = answerer(result)
        return any(who == name or who in self._pods_of(name) for name in listed(expectation.answeredBy))

    def _pods_of(self, name: str) -> set[str]:
        """The pods of a name, also as NAMESPACE/NAME, and those of a Deployment or another workload of that name."""
        if self._owners is None:
            owners: dict[str, set[str]] = {}
            for pod in self._client.list("pods"):
                metadata = pod["metadata"]
                above = [owner["name"] for owner in metadata.get("ownerReferences", ())]
                if template := metadata.get("labels", {}).get(TEMPLATE_HASH):  # a Deployment's ReplicaSet
                    above += [owner.removesuffix(f"-{template}") for owner in above]
                space = metadata.get("namespace", "default")
                said = {metadata["name"], f"{space}/{metadata['name']}"}  # some say their name alone
                for one in (metadata["name"], *above):
                    for word in _names({**metadata, "name": one}):
                        owners.setdefault(word, set()).update(said)
            self._owners = owners
        return self._owners.get(name, set())

    # --- shares and ways ---

    def _judge_shares(
        self, expectation: Expectation, source: str, target: tuple[str, int | None], results: Sequence[ProbeResult]
    ) -> None:
        """By the rules exactly, and by what answered as far as chance allows a judgement."""
        counts = Counter(map(answerer, results))
        said = shares(counts)
        trace = self._traced(expectation, source, target, predict=True)
        by_rules: Counter[str] = Counter()
        for way in trace.ways:
            by_rules[way.endpoint] += way.probability  # type: ignore[assignment]  # a Counter may count in parts
        even = 1 / max(1, len(by_rules))
        for endpoint, share in sorted(by_rules.items()):
            if abs(share - even) > TOLERANCE:
                why = f"the rules give {endpoint or 'one way'} {share:.1%}, and an even share is {even:.1%}"
                raise _WrongError(said, why)
        for who, count in counts.items():
            if unlikely(count, len(results), even):
                why = f"{called(who)} answered {count} of {len(results)}: no chance of {even:.1%} does that"
                raise _WrongError(said, why)
        missing = [name for name in listed(expectation.answeredBy) if not {name, *self._pods_of(name)} & set(counts)]
        if missing and unlikely(0, len(results), even):
            raise _WrongError(said, f"{' and '.join(missing)} never answered")

    def _judge_way(self, expectation: Expectation, source: str, target: tuple[str, int | None]) -> None:
        trace = self._traced(expectation, source, target, predict=False)
        hops = [hop for hop in trace.way.there if hop.interface]
        passed = " ".join(dict.fromkeys(f"{hop.place}:{hop.interface}" for hop in hops))
        rest: Iterator[Hop] = iter(hops)
        for point in listed(expectation.way):
            if not any(_is_at(hop, point) for hop in rest):
                raise _WrongError(f"by {passed or 'no device'}", f"it does not pass {point} there")
        if trace.observed and not trace.observed.agrees:
            raise _WrongError(f"by {passed}", f"it went otherwise: {'; '.join(trace.observed.differences)}")

    def _traced(self, expectation: Expectation, source: str, target: tuple[str, int | None], predict: bool) -> Trace:
        protocol = expectation.protocol.lower()
        return self._client.call(TRACE, TraceQuestion(source, target[0], target[1], protocol, predictOnly=predict))


def _is_at(hop: Hop, point: str) -> bool:
    place, _, device = point.partition(":")
    return hop.place == place and device in ("", hop.interface)


def _names(metadata: dict[str, str]) -> tuple[str, ...]:
    """How a pod is called: in namespace default also without that."""
    space, name = metadata.get("namespace", "default"), metadata["name"]
    return (name, f"{space}/{name}") if space == "default" else (f"{space}/{name}",)


def expected(expectation: Expectation) -> str:
    """In words."""
    said: str = expectation.result
    if expectation.answeredBy:
        said += f" by {' or '.join(listed(expectation.answeredBy))}"
    if expectation.evenly:
        said += f", {expectation.evenly} evenly"
    if expectation.client:
        said += f", client {expectation.client}"
    if expectation.way:
        said += f", by {' '.join(listed(expectation.way))}"
    return said


def answerer(result: ProbeResult) -> str:
    """NAMESPACE/NAME of the pod that answered, or all that it says of itself."""
    return "/".join(filter(None, (result.answeredNamespace, result.answeredBy)))


def called(who: str) -> str:
    """As a person writes it: in namespace default without that."""
    return who.removeprefix("default/")


def seen(result: ProbeResult) -> str:
    by = f" by {called(answerer(result))}" if result.answeredBy else ""
    return f"{result.seen}{by}" + (f", client {result.client}" if result.client else "")


def shares(counts: Counter[str]) -> str:
    return ", ".join(f"{called(who) or '?'} {count}" for who, count in sorted(counts.items())) or counted(0, "answer")


def unlikely(count: int, tries: int, chance: float) -> bool:
    """Whether a binomial count lies so far from its mean that nobody would call it chance."""

    def exactly(k: int) -> float:
        return math.comb(tries, k) * chance**k * (1 - chance) ** (tries - k)

    below = sum(exactly(k) for k in range(count + 1))
    above = sum(exactly(k) for k in range(count, tries + 1))
    return min(below, above) < DOUBT
